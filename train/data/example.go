package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lapidary/chat"
)

// Example is a record as the texts that a document is made of, before they
// are tokens.
type Example struct {
	Kind Kind
	// Texts are the sequences: one, or chosen and rejected, or anchor, positive
	// and negatives.
	Texts []Turns
	Label string
	// Group is what SplitBy says; empty: the document itself.
	Group string
	// Likeness is what DedupBy says; empty: all text.
	Likeness string
	// Place is where it was read, for errors about it.
	File, Place string
}

// Turns is a text in parts, of which some are to be learnt.
type Turns struct {
	// Chat has the parts as a conversation, to be written by the chat template.
	Chat []chat.Message
	// Otherwise Prompt stands before Answer, and only Answer is learnt.
	Prompt, Answer string
}

// compiled is a source with its templates.
type compiled struct {
	*Source
	form    form
	each    []string
	fields  map[string]*Template
	where   map[string][]string
	prompts map[string]*Template // of prompt files, by folder
}

func (s *Source) compile() (*compiled, error) {
	c := &compiled{Source: s, form: s.form(), fields: map[string]*Template{}, where: s.Where, prompts: map[string]*Template{}}
	values := map[string]string{
		"text": s.Text, "prompt": s.Prompt, "answer": s.Answer, "messages": s.Messages, "chosen": s.Chosen, "rejected": s.Rejected,
		"label": s.Label, "anchor": s.Anchor, "positive": s.Positive, "negative": s.Negative, "split_by": s.SplitBy, "dedup_by": s.DedupBy,
	}
	if values["text"] == "" && s.plain() {
		values["text"] = "text"
	}
	for _, name := range sortedKeys(values) {
		if values[name] == "" {
			continue
		}
		t, err := ParseTemplate(values[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.fields[name] = t
	}
	for _, name := range sortedKeys(s.Where) {
		t, err := ParseTemplate(name)
		if err != nil {
			return nil, fmt.Errorf("where: %w", err)
		}
		c.fields["where "+name] = t
	}
	if s.Each != "" {
		var err error
		if c.each, err = parsePath(s.Each); err != nil {
			return nil, fmt.Errorf("each: %w", err)
		}
	}
	if m := c.fields["messages"]; m != nil && !m.bare {
		return nil, errors.New("messages is the path of a list, without braces")
	}
	return c, nil
}

// Examples reads the documents of a source. With SkipBroken records that
// cannot be used come as errors of type *[Broken] and more may follow; without
// it the first error is the last thing that comes.
func (s *Source) Examples(ctx context.Context) iter.Seq2[*Example, error] {
	return func(yield func(*Example, error) bool) {
		if err := s.Check(); err != nil {
			yield(nil, err)
			return
		}
		files, err := s.Files(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, name := range files {
			for e, err := range s.FileExamples(ctx, name) {
				if !yield(e, err) || (err != nil && !s.goesOn(err)) {
					return
				}
			}
		}
	}
}

// goesOn reports whether reading continues behind an error.
func (s *Source) goesOn(err error) bool {
	var b *Broken
	return s.SkipBroken && errors.As(err, &b)
}

// FileExamples is [Source.Examples] of one of the source's files.
func (s *Source) FileExamples(ctx context.Context, name string) iter.Seq2[*Example, error] {
	return func(yield func(*Example, error) bool) {
		c, err := s.compile()
		if err != nil {
			yield(nil, err)
			return
		}
		for r, err := range s.records(name) {
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			if err != nil {
				if !yield(nil, err) || !s.goesOn(err) {
					return
				}
				continue
			}
			for item, err := range r.items(c.each) {
				var e *Example
				if err == nil {
					e, err = c.example(item)
				}
				if e == nil && err == nil {
					continue
				}
				if !yield(e, err) || (err != nil && !s.goesOn(err)) {
					return
				}
			}
		}
	}
}

// example makes the texts of a record; nil if it is not wanted.
func (c *compiled) example(r *Record) (*Example, error) {
	for _, name := range sortedKeys(c.where) {
		v, err := c.fields["where "+name].Execute(r)
		if err != nil {
			return nil, r.broken(err)
		}
		if !slices.Contains(c.where[name], v) {
			return nil, nil
		}
	}
	e := &Example{Kind: c.Kind(), File: r.File, Place: r.Place}
	err := c.fill(e, r)
	if err == nil && c.SplitBy != "" {
		e.Group, err = c.fields["split_by"].Execute(r)
	}
	if err == nil && c.DedupBy != "" {
		e.Likeness, err = c.fields["dedup_by"].Execute(r)
	}
	if err != nil {
		return nil, r.broken(err)
	}
	return e, nil
}

func (c *compiled) fill(e *Example, r *Record) error {
	switch c.form {
	case textForm, labelForm:
		text, err := c.text("text", r)
		if err != nil {
			return err
		}
		e.Texts = []Turns{{Answer: text}}
		if c.form == labelForm {
			e.Label, err = c.text("label", r)
			if name, ok := c.Classes[e.Label]; ok {
				e.Label = name
			} else if err == nil && len(c.Classes) > 0 {
				err = fmt.Errorf("the label %q is none of the classes", short(e.Label))
			}
		}
		return err
	case messagesForm:
		messages, err := c.messages(r)
		e.Texts = []Turns{{Chat: messages}}
		return err
	case answerForm:
		return c.fillPairs(e, r, "answer")
	case preferenceForm:
		return c.fillPairs(e, r, "chosen", "rejected")
	}
	return c.fillContrast(e, r)
}

// text is a field that must not be empty.
func (c *compiled) text(name string, r *Record) (string, error) {
	text, err := c.fields[name].Execute(r)
	if err == nil && text == "" {
		err = fmt.Errorf("%s is empty", name)
	}
	return text, err
}

// fillPairs makes an answer, or several, to one prompt.
func (c *compiled) fillPairs(e *Example, r *Record, answers ...string) error {
	prompt, err := c.prompt(r)
	if err != nil {
		return err
	}
	for _, name := range answers {
		answer, err := c.text(name, r)
		if err != nil {
			return err
		}
		t := Turns{Prompt: prompt, Answer: answer}
		if c.Chat {
			t = Turns{Chat: c.withSystem([]chat.Message{{Role: chat.User, Content: prompt}, {Role: chat.Assistant, Content: answer}})}
		}
		e.Texts = append(e.Texts, t)
	}
	return nil
}

func (c *compiled) withSystem(m []chat.Message) []chat.Message {
	if c.System == "" || (len(m) > 0 && m[0].Role == chat.System) {
		return m
	}
	return append([]chat.Message{{Role: chat.System, Content: c.System}}, m...)
}

func (c *compiled) prompt(r *Record) (string, error) {
	t := c.fields["prompt"]
	if c.PromptFile != "" {
		var err error
		if t, err = c.promptFile(r.File); err != nil {
			return "", err
		}
	}
	if t == nil { // preferences may go without
		return "", nil
	}
	return t.Execute(r)
}

func (c *compiled) promptFile(beside string) (*Template, error) {
	name := filepath.Join(filepath.Dir(beside), c.PromptFile)
	if t := c.prompts[name]; t != nil {
		return t, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("prompt_file: %w", err)
	}
	b = bytes.ReplaceAll(bytes.TrimPrefix(b, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	text := strings.TrimRight(string(b), "\n")
	if c.PromptBrief {
		text = brief(text)
	}
	t, err := parseMustache(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.prompts[name] = t
	return t, nil
}

// brief is the first paragraph, and all from the first one with a field on.
func brief(prompt string) string {
	paragraphs := regexp.MustCompile(`\n[ \t]*\n+`).Split(prompt, -1)
	fields := slices.IndexFunc(paragraphs, func(p string) bool { return strings.Contains(p, "{{") })
	if fields > 1 {
		paragraphs = slices.Delete(paragraphs, 1, fields)
	}
	return strings.Join(paragraphs, "\n\n")
}

func (c *compiled) fillContrast(e *Example, r *Record) error {
	for _, name := range []string{"anchor", "positive"} {
		text, err := c.text(name, r)
		if err != nil {
			return err
		}
		e.Texts = append(e.Texts, Turns{Answer: text})
	}
	if c.Negative == "" {
		return nil
	}
	negatives, err := c.fields["negative"].list(r)
	for _, text := range negatives {
		e.Texts = append(e.Texts, Turns{Answer: text})
	}
	if err == nil && len(e.Texts) > maxParts {
		err = fmt.Errorf("%d negatives: %d are the most", len(negatives), maxParts-2)
	}
	return err
}

// roleNames are what data sets call the roles.
var roleNames = map[string]string{
	"human": chat.User, "user": chat.User, "gpt": chat.Assistant, "assistant": chat.Assistant, "model": chat.Assistant,
	"bot": chat.Assistant, "system": chat.System, "developer": chat.System,
}

func (c *compiled) messages(r *Record) ([]chat.Message, error) {
	v, err := r.field(c.fields["messages"].parts[0].path)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("messages is no list")
	}
	var out []chat.Message
	for i, item := range list {
		m, _ := item.(map[string]any)
		role, text := m["role"], m["content"]
		if role == nil {
			role, text = m["from"], m["value"]
		}
		name, known := roleNames[written(role, "")]
		content, isText := text.(string)
		if !known || !isText {
			return nil, fmt.Errorf("message %d is not {role, content} with a role of user, assistant or system and a text", i+1)
		}
		out = append(out, chat.Message{Role: name, Content: content})
	}
	if !slices.ContainsFunc(out, func(m chat.Message) bool { return m.Role == chat.Assistant }) {
		return nil, errors.New("the conversation has no message of an assistant to learn from")
	}
	return c.withSystem(out), nil
}

// bytes is the example in a form that is the same for equal ones only.
func (e *Example) bytes() []byte {
	var b []byte
	add := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	add(e.Label)
	for _, t := range e.Texts {
		add(t.Prompt)
		add(t.Answer)
		for _, m := range t.Chat {
			add(m.Role)
			add(m.Content)
		}
	}
	return b
}

// text is all it says, for shingles and for telling the language.
func (e *Example) text() string {
	var b bytes.Buffer
	for _, t := range e.Texts {
		for _, s := range append([]string{t.Prompt, t.Answer}, contents(t.Chat)...) {
			if s != "" {
				b.WriteString(s)
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

func contents(messages []chat.Message) []string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Content)
	}
	return out
}
