package data

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Source says where documents come from and how a record becomes one. Exactly
// one of the forms Text, Prompt and Answer, Messages, Chosen and Rejected, Text
// and Label, Anchor and Positive is given.
//
// A form's values are field paths or templates; see [Template].
type Source struct {
	// Path is a file, a folder, a glob (** crosses folders), or a data set of
	// Hugging Face: hf:ORG/NAME[@REVISION]. A folder is read as the hub lays one
	// out when it has a README.md that names its data files, else all files of
	// it whose extension is known.
	Path string `yaml:"path" json:"path"`
	// Format is text, jsonl, json, csv, tsv or parquet; empty: by extension,
	// with .gz or .zst behind it if compressed.
	Format string `yaml:"format,omitempty" json:"format,omitempty"`
	// Config and Part choose among what a Hugging Face data set has: its
	// configuration (empty: the default one) and its part (empty: train).
	Config string `yaml:"config,omitempty" json:"config,omitempty"`
	Part   string `yaml:"part,omitempty" json:"part,omitempty"`
	// Blank splits text files at blank lines; otherwise a file is one document.
	Blank bool `yaml:"blank_lines,omitempty" json:"blank_lines,omitempty"`
	// Columns name the columns of a CSV or TSV file without a header line.
	Columns []string `yaml:"columns,omitempty" json:"columns,omitempty"`
	// Each is the path of arrays inside a record: each of their items is a
	// record, which sees the fields of what is around it too.
	Each string `yaml:"each,omitempty" json:"each,omitempty"`
	// Where keeps only the records in which each of these fields is one of the
	// values given.
	Where map[string][]string `yaml:"where,omitempty" json:"where,omitempty"`

	Text string `yaml:"text,omitempty" json:"text,omitempty"`

	Prompt string `yaml:"prompt,omitempty" json:"prompt,omitempty"`
	Answer string `yaml:"answer,omitempty" json:"answer,omitempty"`
	// PromptFile is a file beside each data file that holds the prompt, its
	// fields written {{field}}.
	PromptFile string `yaml:"prompt_file,omitempty" json:"prompt_file,omitempty"`
	// PromptBrief leaves out what stands in the prompt file between its first
	// paragraph and the first one with a field: solved examples, which may be
	// those that are learnt.
	PromptBrief bool `yaml:"prompt_brief,omitempty" json:"prompt_brief,omitempty"`
	// System is a system text for chat forms. With Chat, prompt and answer are
	// written as a conversation through the chat template.
	System string `yaml:"system,omitempty" json:"system,omitempty"`
	Chat   bool   `yaml:"chat,omitempty" json:"chat,omitempty"`

	// Messages is the path of a list of {role, content} or {from, value}.
	Messages string `yaml:"messages,omitempty" json:"messages,omitempty"`

	Chosen   string `yaml:"chosen,omitempty" json:"chosen,omitempty"`
	Rejected string `yaml:"rejected,omitempty" json:"rejected,omitempty"`

	Label string `yaml:"label,omitempty" json:"label,omitempty"`
	// Classes give the values of Label better names.
	Classes map[string]string `yaml:"classes,omitempty" json:"classes,omitempty"`

	Anchor   string `yaml:"anchor,omitempty" json:"anchor,omitempty"`
	Positive string `yaml:"positive,omitempty" json:"positive,omitempty"`
	// Negative is one text, or the path of a list of them.
	Negative string `yaml:"negative,omitempty" json:"negative,omitempty"`

	// Weight is the share of the tokens that come from here; sources have one
	// all or none. Without weights an epoch is every document once.
	Weight float64 `yaml:"weight,omitempty" json:"weight,omitempty"`
	// Split is the fraction of the documents that is held out for validation,
	// chosen by a hash of the document, or of SplitBy: a template, so that what
	// belongs together (questions about one table) stays on one side.
	Split   float64 `yaml:"split,omitempty" json:"split,omitempty"`
	SplitBy string  `yaml:"split_by,omitempty" json:"split_by,omitempty"`
	// DedupBy is a template of what near duplicates are told by, where documents
	// have much in common without being the same: questions about one table.
	// Empty: by all their text.
	DedupBy string `yaml:"dedup_by,omitempty" json:"dedup_by,omitempty"`
	// SkipBroken counts records that cannot be read instead of stopping there.
	SkipBroken bool `yaml:"skip_broken,omitempty" json:"skip_broken,omitempty"`
	// Limit is how many documents are taken at most; 0 is all.
	Limit int `yaml:"limit,omitempty" json:"limit,omitempty"`
}

// Kind is what a document is made of.
type Kind int

// The kinds of documents. Their documents have one sequence, but a preference
// has two (chosen, rejected) and a contrast an anchor, a positive and then its
// negatives.
const (
	Texts Kind = iota
	Labelled
	Preferences
	Contrasts
)

var kindNames = []string{"texts", "labelled texts", "preferences", "contrasts"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// form is a way a record becomes a document.
type form int

const (
	noForm form = iota
	textForm
	answerForm
	messagesForm
	labelForm
	preferenceForm
	contrastForm
)

// Kind is what the source's documents are.
func (s *Source) Kind() Kind {
	switch s.form() {
	case labelForm:
		return Labelled
	case preferenceForm:
		return Preferences
	case contrastForm:
		return Contrasts
	}
	return Texts
}

func (s *Source) form() form {
	prompted := s.Prompt != "" || s.PromptFile != ""
	switch {
	case s.Chosen != "" || s.Rejected != "":
		return preferenceForm
	case s.Anchor != "" || s.Positive != "" || s.Negative != "":
		return contrastForm
	case s.Label != "":
		return labelForm
	case s.Messages != "":
		return messagesForm
	case prompted || s.Answer != "":
		return answerForm
	case s.Text != "" || s.plain():
		return textForm
	}
	return noForm
}

// plain reports whether records are texts already.
func (s *Source) plain() bool {
	f := cmp.Or(s.Format, formatOf(s.Path))
	return f == "text"
}

// Chats reports whether documents are written through a chat template, which
// the tokenizer has to have then.
func (s *Source) Chats() bool { return s.Chat || s.form() == messagesForm }

// Check finds what is wrong with the settings, without looking at files.
func (s *Source) Check() error {
	if s.Path == "" {
		return errors.New("a source needs a path")
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("source %s: %w", s.Path, err)
	}
	return nil
}

func (s *Source) check() error {
	if s.Format != "" && !slices.Contains(formats, s.Format) {
		return fmt.Errorf("unknown format %q: it is one of %s", s.Format, strings.Join(formats, ", "))
	}
	if _, err := path.Match(s.Path, ""); err != nil && !strings.HasPrefix(s.Path, "hf:") {
		return fmt.Errorf("the path is no valid pattern: %w", err)
	}
	switch {
	case s.Split < 0 || s.Split > 1 || s.Split != s.Split:
		return fmt.Errorf("split %v is not between 0 and 1", s.Split)
	case s.Weight < 0 || s.Weight > 1e12 || s.Weight != s.Weight:
		return fmt.Errorf("weight %v is not a positive number", s.Weight)
	case s.Limit < 0:
		return fmt.Errorf("limit %d is negative", s.Limit)
	}
	if err := s.checkForm(); err != nil {
		return err
	}
	_, err := s.compile()
	return err
}

// checkForm refuses settings that do not belong together.
func (s *Source) checkForm() error {
	given := map[string]bool{
		"text": s.Text != "", "prompt": s.Prompt != "", "prompt_file": s.PromptFile != "", "answer": s.Answer != "",
		"messages": s.Messages != "", "chosen": s.Chosen != "", "rejected": s.Rejected != "", "label": s.Label != "",
		"anchor": s.Anchor != "", "positive": s.Positive != "", "negative": s.Negative != "",
		"system": s.System != "", "chat": s.Chat, "classes": len(s.Classes) > 0,
	}
	f := s.form()
	if f == noForm {
		return errors.New("say what a document is: text, prompt and answer, messages, chosen and rejected, text and label, or anchor and positive")
	}
	rule := rules[f]
	for _, name := range rule.needs {
		otherwise := name == "prompt" && given["prompt_file"] || name == "text" && s.plain()
		if !given[name] && !otherwise {
			return fmt.Errorf("%s needs %s", rule.name, name)
		}
	}
	for _, name := range sortedKeys(given) {
		if given[name] && !slices.Contains(rule.needs, name) && !slices.Contains(rule.takes, name) {
			return fmt.Errorf("%s does not go with %s", name, rule.name)
		}
	}
	switch {
	case given["prompt"] && given["prompt_file"]:
		return errors.New("prompt and prompt_file exclude each other")
	case s.PromptBrief && !given["prompt_file"]:
		return errors.New("prompt_brief is about a prompt_file, and none is given")
	case given["system"] && !s.Chats():
		return errors.New("system needs chat: true or messages")
	}
	return nil
}

var rules = map[form]struct {
	name         string
	needs, takes []string
}{
	textForm:       {"text", []string{"text"}, nil},
	answerForm:     {"answer", []string{"prompt", "answer"}, []string{"prompt_file", "chat", "system"}},
	messagesForm:   {"messages", []string{"messages"}, []string{"system"}},
	labelForm:      {"label", []string{"text", "label"}, []string{"classes"}},
	preferenceForm: {"chosen and rejected", []string{"chosen", "rejected"}, []string{"prompt", "prompt_file", "chat", "system"}},
	contrastForm:   {"anchor and positive", []string{"anchor", "positive"}, []string{"negative"}},
}
