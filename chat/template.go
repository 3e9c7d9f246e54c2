package chat

import (
	"errors"
	"slices"
	"strings"

	"github.com/ardanlabs/jinja"

	"lapidary/checkpoint"
)

// ErrNoTemplate says that a checkpoint has no chat template: it is a base
// model, which completes text and doesn't answer.
var ErrNoTemplate = errors.New("the model has no chat template: it completes text rather than chats")

// Template turns a conversation into a prompt the way the model was trained
// on it. It is safe for concurrent use.
type Template struct {
	source string
	family *family
	own    *jinja.Template // nil where the family's built-in form is used
	// fold: the template refuses the system role (Gemma 1 and 2), so system
	// text is put before the first user message, as Gemma 3's own does.
	fold bool
	// strips: the template takes thoughts out of an assistant's text.
	strips bool
	// soft are the ids of the soft tokens, by a part's type, that the
	// checkpoint's configuration gives.
	soft map[string]int32
}

// Open gives the chat template of a checkpoint: of a GGUF file the key
// tokenizer.chat_template, of a Hugging Face folder chat_template.jinja, else
// the entry "chat_template" of tokenizer_config.json or chat_template.json.
//
// Where it writes a fixed set of conversations as the built-in template of the
// model's family does, the built-in one is used. That is so too where the
// checkpoint brings none but says that it was tuned to chat ("it" or
// "instruct" in its name), and for ShieldGemma 2 and PaliGemma, whose prompts
// have a form of their own. Otherwise the error is ErrNoTemplate.
func Open(c *checkpoint.Checkpoint) (*Template, error) {
	about := inspect(c)
	source, err := find(c)
	switch {
	case errors.Is(err, ErrNoTemplate):
		f := about.builtIn()
		if f == nil {
			return nil, err
		}
		return &Template{family: f, soft: about.soft}, nil
	case err != nil:
		return nil, err
	}
	t, err := Parse(source)
	if err != nil {
		return nil, err
	}
	t.choose(candidates(about.modelType))
	t.soft = about.soft
	return t, nil
}

// Plain is how a checkpoint completes text: nothing is written around it, and
// media stand where they stand in it.
func Plain(c *checkpoint.Checkpoint) *Template {
	about := inspect(c)
	f := &family{name: "a model that completes text", write: (*family).plain, media: seeing[about.modelType]}
	for _, known := range candidates(about.modelType) {
		f.media = known.media
	}
	return &Template{family: f, soft: about.soft}
}

// BuiltIn is the built-in template of a family, by its name; nil for one that
// has none. [Families] lists the names.
func BuiltIn(name string) *Template {
	for _, f := range families {
		if f.name == name {
			return &Template{family: f}
		}
	}
	return nil
}

// Families are the names of the built-in templates. "gemma4" is that of E2B
// and E4B, "gemma4-large" of the bigger ones, whose answer is opened with an
// empty thought if they aren't to think.
func Families() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

// Parse compiles a template from its Jinja source.
func Parse(source string) (*Template, error) {
	own, err := compile(source)
	if err != nil {
		return nil, err
	}
	t := &Template{source: source, own: own, family: guess(source)}
	probe := Conversation{Messages: []Message{{Role: System, Content: "s"}, {Role: User, Content: "u"}}}
	if _, err := t.execute(probe, true, "", keep); err != nil {
		probe.Messages = probe.Messages[1:]
		_, err = t.execute(probe, true, "", keep)
		t.fold = err == nil
	}
	probe.Messages = []Message{{Role: User, Content: "u"}, {Role: Assistant, Content: "<|channel>thought\nx<channel|>y"}}
	out, err := t.execute(probe, false, "", keep)
	t.strips = err == nil && !strings.Contains(out, "thought\nx")
	return t, nil
}

// guess is the family whose tokens a template writes.
func guess(source string) *family {
	for _, mark := range [][2]string{{"<|turn>", "gemma4"}, {"<image_soft_token>", "gemma3n"}, {"<start_of_image>", "gemma3"}} {
		if strings.Contains(source, mark[0]) {
			return BuiltIn(mark[1]).family
		}
	}
	return BuiltIn("gemma").family
}

// choose settles between the checkpoint's own template and the built-in ones
// of its family.
func (t *Template) choose(fs []*family) {
	for _, f := range fs {
		if t.agrees(f) {
			t.own, t.family = nil, f
			return
		}
	}
	if len(fs) > 0 {
		t.family = fs[0]
	}
}

// Source is the template as the checkpoint has it; empty where it has none.
func (t *Template) Source() string { return t.source }

// Family is the name of the model's family, and whether its built-in form is
// used rather than the checkpoint's own template.
func (t *Template) Family() (name string, builtIn bool) { return t.family.name, t.own == nil }

// Takes reports whether media of a type have a place in the prompt.
func (t *Template) Takes(mediaType string) bool {
	_, ok := t.family.media[mediaType]
	return ok
}

// Thinks reports whether a conversation may ask for thinking.
func (t *Template) Thinks() bool {
	if t.own == nil {
		return t.family.tools
	}
	return strings.Contains(t.source, "enable_thinking")
}

// Tools reports whether a conversation may have tools.
func (t *Template) Tools() bool {
	if t.own == nil {
		return t.family.tools
	}
	return strings.Contains(t.source, "tools")
}

// prepare checks the conversation and gives the template what it can take.
func (t *Template) prepare(c Conversation) (Conversation, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	if t.own == nil {
		return c, nil
	}
	if len(c.Tools) > 0 && !t.Tools() {
		return c, errors.New("the model's chat template has no tools: leave them out")
	}
	if c.Thinking && !t.Thinks() {
		return c, errors.New("the model's chat template cannot turn thinking on: leave it off")
	}
	if t.strips {
		c.Messages = stripped(c.Messages)
	}
	if t.fold {
		return c.fold()
	}
	return c, nil
}

// stripped takes thoughts out of what assistants said: guarded as it is, the
// template would not find them.
func stripped(messages []Message) []Message {
	messages = slices.Clone(messages)
	for i := range messages {
		m := &messages[i]
		if roles[m.Role] != Assistant {
			continue
		}
		m.Content = withoutThoughts(m.Content)
		m.Parts = slices.Clone(m.Parts)
		for j := range m.Parts {
			m.Parts[j].Text = withoutThoughts(m.Parts[j].Text)
		}
	}
	return messages
}
