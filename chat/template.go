package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ardanlabs/jinja"

	"lapidary/checkpoint"
)

// ErrNoTemplate says that a checkpoint has no chat template: it is a base
// model, which completes text and doesn't answer.
var ErrNoTemplate = errors.New("the model has no chat template: it completes text rather than chats")

// A template longer than this is refused; Gemma 4's has 17 kB.
const maxSource = 1 << 20

// A template that counts further than this is refused: none needs to, and
// the list would take 32 bytes a number.
const maxRange = 1 << 16

// Template turns a conversation into a prompt the way the model was trained
// on it. It is safe for concurrent use.
type Template struct {
	source   string
	compiled *jinja.Template
	// fold: the template refuses the system role (Gemma 1 and 2), so system
	// text is put before the first user message, as Gemma 3's own does.
	fold bool
}

// Open reads the chat template of a checkpoint: of a GGUF file the key
// tokenizer.chat_template, of a Hugging Face folder chat_template.jinja, else
// the entry "chat_template" of tokenizer_config.json or chat_template.json.
// The error is ErrNoTemplate where there is none.
func Open(c *checkpoint.Checkpoint) (*Template, error) {
	source, err := find(c)
	if err != nil {
		return nil, err
	}
	return Parse(source)
}

func find(c *checkpoint.Checkpoint) (string, error) {
	if meta := c.Metadata(); meta != nil {
		if s, ok := meta.String("tokenizer.chat_template"); ok && s != "" {
			return s, nil
		}
		return "", ErrNoTemplate
	}
	return findSibling(c.Sibling)
}

func findSibling(sibling func(string) ([]byte, error)) (string, error) {
	data, err := sibling("chat_template.jinja")
	if err == nil && len(data) > 0 {
		return string(data), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, name := range []string{"tokenizer_config.json", "chat_template.json"} {
		data, err := sibling(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		source, err := fromConfig(data)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if source != "" {
			return source, nil
		}
	}
	return "", ErrNoTemplate
}

// fromConfig finds the template of a tokenizer_config.json: text, or a list of
// named ones of which "default" is the one to chat with.
func fromConfig(data []byte) (string, error) {
	var config struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", err
	}
	if len(config.Template) == 0 || string(config.Template) == "null" {
		return "", nil
	}
	var source string
	if json.Unmarshal(config.Template, &source) == nil {
		return source, nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(config.Template, &named); err != nil {
		return "", errors.New("chat_template is neither text nor a list of named templates")
	}
	for _, t := range named {
		if t.Name == "default" {
			return t.Template, nil
		}
	}
	return "", errors.New(`chat_template has no template named "default"`)
}

// Parse compiles a template from its Jinja source.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("chat template of %d bytes is longer than %d", len(source), maxSource)
	}
	compiled, err := compile(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	t := &Template{source: source, compiled: compiled}
	probe := []Message{{Role: System, Content: "s"}, {Role: User, Content: "u"}}
	if _, err := t.execute(probe, true, "", keep); err != nil {
		_, err = t.execute(probe[1:], true, "", keep)
		t.fold = err == nil
	}
	return t, nil
}

// Source is the template as the checkpoint has it.
func (t *Template) Source() string { return t.source }

func keep(s string) string { return s }

func compile(source string) (t *jinja.Template, err error) {
	defer caught(&err)
	return jinja.Compile(source)
}

// caught turns a panic of the template engine into an error: a template is
// part of a model file, which may be anybody's.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("cannot be evaluated: %v", p)
	}
}

// execute renders the messages; every text of theirs goes through mark first.
func (t *Template) execute(messages []Message, prompt bool, bos string, mark func(string) string) (out string, err error) {
	list := make([]any, len(messages))
	for i, m := range messages {
		list[i] = m.value(mark)
	}
	defer caught(&err)
	return t.compiled.RenderValues(map[string]jinja.Value{
		"messages":              jinja.FromGoValue(list),
		"add_generation_prompt": jinja.NewBool(prompt),
		"bos_token":             jinja.NewString(bos),
		"range":                 jinja.NewCallable("range", boundedRange),
	})
}

// boundedRange is Jinja's range without the power to fill the memory.
func boundedRange(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	bounds := [3]int64{0, 0, 1}
	switch len(args) {
	case 1:
		bounds[1] = integer(args[0])
	case 2, 3:
		for i, a := range args {
			bounds[i] = integer(a)
		}
	default:
		return jinja.Undefined(), fmt.Errorf("range takes 1 to 3 numbers, not %d", len(args))
	}
	from, to, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		return jinja.Undefined(), errors.New("range with a step of 0")
	}
	var list []jinja.Value
	for i := from; (step > 0 && i < to) || (step < 0 && i > to); i += step {
		if len(list) == maxRange {
			return jinja.Undefined(), fmt.Errorf("range of more than %d numbers", maxRange)
		}
		list = append(list, jinja.NewInt(i))
	}
	return jinja.NewList(list), nil
}

func integer(v jinja.Value) int64 {
	if v.IsInt() {
		return v.AsInt()
	}
	return 0
}
