package eval

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// ErrTask is wrapped by every refusal of a task.
var ErrTask = errors.New("no such evaluation")

// Task says how examples become prompts and what is measured. The zero value of
// each field is the default.
type Task struct {
	Name  string `yaml:"name" json:"name"`
	About string `yaml:"about" json:"-"`
	Data  Data   `yaml:"data" json:"data"`

	// Instruction stands once before everything else.
	Instruction string `yaml:"instruction" json:"instruction,omitempty"`
	// Prompt is a template over the fields of an example, in the syntax of
	// [lapidary/train/data.Template]: "Q: {question}", {nested.path}, {path|SEPARATOR} between the
	// items of a list. Space at its end is dropped.
	Prompt string `yaml:"prompt" json:"prompt,omitempty"`
	// PromptFile, if it lies in the folder of the data, is used in place of
	// Instruction and Prompt: blocks between blank lines, of which the last one
	// has {{field}} places and the first one may be an instruction. The worked
	// examples between them are left out: shots are drawn from the data.
	PromptFile string `yaml:"prompt_file" json:"prompt_file,omitempty"`
	// Answer is the template of what the model should write.
	Answer string `yaml:"answer" json:"answer,omitempty"`
	// Answers is the path of a list of answers, any of which is right. It takes
	// the place of Answer in what is compared.
	Answers string `yaml:"answers" json:"answers,omitempty"`
	// Choices are the answers to choose from.
	Choices Choices `yaml:"choices" json:"choices,omitzero"`
	// Join stands between prompt and answer in raw mode, by default a space;
	// Separator between worked examples, by default a blank line.
	Join      *string `yaml:"join" json:"join,omitempty"`
	Separator *string `yaml:"separator" json:"separator,omitempty"`

	// Shots is the number of worked examples before each prompt.
	Shots int `yaml:"shots" json:"shots,omitempty"`
	// Limit evaluates so many examples, drawn by Seed; 0 evaluates all.
	Limit int `yaml:"limit" json:"limit,omitempty"`
	// Seed draws examples, shots, tokens and resamples.
	Seed uint64 `yaml:"seed" json:"seed"`

	// Mode is "chat", "raw" or "auto", which chats with a model that has a chat
	// template.
	Mode        string   `yaml:"mode" json:"mode,omitempty"`
	MaxTokens   int      `yaml:"max_tokens" json:"max_tokens,omitempty"` // by default 128
	Stop        []string `yaml:"stop" json:"stop,omitempty"`             // beside Separator, which stops in raw mode
	Temperature float32  `yaml:"temperature" json:"temperature,omitempty"`
	// Window is the number of tokens that are scored together where there is no
	// prompt, by default 1024.
	Window int `yaml:"window" json:"window,omitempty"`

	// Extract takes the answer out of what was written, and out of the given
	// answer: the first step that finds something counts. A step is all,
	// first_line, last_number, letter, or a regular expression between slashes, of
	// which the first group counts.
	Extract []string `yaml:"extract" json:"extract,omitempty"`
	// Normalise is "squad" (the default), "plain", or "numbers".
	Normalise string    `yaml:"normalise" json:"normalise,omitempty"`
	Stem      bool      `yaml:"stem" json:"stem,omitempty"` // words for ROUGE
	Metrics   []string  `yaml:"metrics" json:"metrics,omitempty"`
	Verifier  *Verifier `yaml:"verifier" json:"verifier,omitempty"`
}

// Data says how examples lie in files.
type Data struct {
	// Format is jsonl, json, csv, tsv, txt (a file is an example, its field is
	// text), or lines (of Pattern).
	Format string `yaml:"format" json:"format,omitempty"`
	// Each is the path of the lists that examples are the items of, each step
	// a field's name or *, for all items or values. Fields of what is around an
	// item are an example's fields too, unless the item has its own.
	Each []string `yaml:"each" json:"each,omitempty"`
	// Columns names the columns of csv and tsv that have no header.
	Columns []string `yaml:"columns" json:"columns,omitempty"`
	// Pattern is a regular expression with named groups, the fields of a line.
	Pattern string `yaml:"pattern" json:"pattern,omitempty"`
	// Where keeps the examples whose fields have these values.
	Where map[string]string `yaml:"where" json:"where,omitempty"`
	// Files are the patterns of names that are looked for in a folder; all files
	// of the first pattern that has some are read.
	Files []string `yaml:"files" json:"files,omitempty"`
}

// Verifier says whether an answer passes.
type Verifier struct {
	// Kind is numeric (the same number as the given answer), boolean (the same
	// yes or no), regexp (Pattern is found), schema (JSON that is valid by Schema),
	// or command (Command, which reads the answer on standard input and the given
	// answer in $LAPIDARY_EXPECTED, exits with 0).
	Kind    string        `yaml:"kind" json:"kind"`
	Pattern string        `yaml:"pattern" json:"pattern,omitempty"`
	Schema  string        `yaml:"schema" json:"schema,omitempty"` // a file, beside the task's
	Command []string      `yaml:"command" json:"command,omitempty"`
	Timeout time.Duration `yaml:"timeout" json:"timeout,omitempty"` // by default 10 s
}

// Choices are the answers to choose from: a list; a map from what the answer
// field holds to what the model should write; "labels" for the distinct answers
// of each file; or "field: path" for a list in each example.
type Choices struct {
	Texts  []string          `json:"texts,omitempty"`
	Values map[string]string `json:"values,omitempty"`
	Labels bool              `json:"labels,omitempty"`
	Field  string            `json:"field,omitempty"`
}

// IsZero reports whether there are none.
func (c Choices) IsZero() bool { return len(c.Texts) == 0 && !c.Labels && c.Field == "" }

// UnmarshalYAML reads any of the four forms.
func (c *Choices) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.SequenceNode:
		return n.Decode(&c.Texts)
	case yaml.MappingNode:
		c.Values = map[string]string{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			text := n.Content[i+1].Value
			c.Values[n.Content[i].Value] = text
			c.Texts = append(c.Texts, text)
		}
		return nil
	}
	if n.Value == "labels" {
		c.Labels = true
		return nil
	}
	if field, ok := strings.CutPrefix(n.Value, "field "); ok && field != "" {
		c.Field = field
		return nil
	}
	return fmt.Errorf("line %d: choices %q: want a list, a map, labels, or field PATH", n.Line, n.Value)
}

// maxTask bounds a task's file.
const maxTask = 1 << 20

// ReadTask reads a task from a YAML file.
func ReadTask(path string) (*Task, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxTask {
		return nil, fmt.Errorf("%s has %d bytes, %w: a task has at most %d", path, info.Size(), ErrTask, maxTask)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := ParseTask(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if v := t.Verifier; v != nil && v.Schema != "" && !filepath.IsAbs(v.Schema) {
		v.Schema = filepath.Join(filepath.Dir(path), v.Schema)
	}
	if t.Name == "" {
		t.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return t, nil
}

// ParseTask reads a task. A key that is not known is refused with the nearest
// that is. The task is not yet checked: see [Task.Check].
func ParseTask(text []byte) (*Task, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	t := &Task{}
	if len(n.Content) == 0 {
		return t, nil
	}
	if err := checkKeys(n.Content[0], t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	if err := n.Decode(t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	return t, nil
}

// formats, modes and normalisations that there are.
var (
	formats        = []string{"jsonl", "json", "csv", "tsv", "txt", "lines"}
	modes          = []string{"auto", "chat", "raw"}
	normalisations = []string{"squad", "plain", "numbers"}
	verifiers      = []string{"numeric", "boolean", "regexp", "schema", "command"}
)

// Check says what of the task cannot be obeyed. The error wraps [ErrTask].
func (t *Task) Check() error {
	for _, check := range []func() error{t.checkWords, t.checkNumbers, t.checkMetrics, t.checkVerifier, t.checkTemplates} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrTask, err)
		}
	}
	return nil
}

func (t *Task) checkWords() error {
	words := []struct {
		name, value string
		known       []string
	}{
		{"format", t.Data.Format, formats},
		{"mode", t.Mode, append(modes, "")},
		{"normalise", t.Normalise, append(normalisations, "")},
	}
	for _, m := range t.Metrics {
		words = append(words, struct {
			name, value string
			known       []string
		}{"metric", m, Metrics()})
	}
	for _, w := range words {
		if !slices.Contains(w.known, w.value) {
			return fmt.Errorf("%s %q is none: %s", w.name, w.value, suggest(w.value, w.known))
		}
	}
	if len(t.Metrics) == 0 {
		return fmt.Errorf("no metric: give one of %s", strings.Join(Metrics(), ", "))
	}
	_, err := newExtractor(t.Extract)
	return err
}

func (t *Task) checkNumbers() error {
	for _, n := range []struct {
		name       string
		value, max int
	}{{"shots", t.Shots, 1000}, {"limit", t.Limit, 1 << 40}, {"max_tokens", t.MaxTokens, 1 << 20}, {"window", t.Window, 1 << 20}} {
		if n.value < 0 || n.value > n.max {
			return fmt.Errorf("%s %d: want 0 to %d", n.name, n.value, n.max)
		}
	}
	if t.Window == 1 {
		return errors.New("window 1: want 2 tokens or more")
	}
	if !(t.Temperature >= 0 && t.Temperature < 1000) {
		return fmt.Errorf("temperature %v: want 0 or more", t.Temperature)
	}
	return nil
}

// checkMetrics finds metrics that lack what they measure.
func (t *Task) checkMetrics() error {
	for _, name := range t.Metrics {
		switch metrics[name].way {
		case byChoice:
			if t.Choices.IsZero() {
				return fmt.Errorf("metric %s needs choices", name)
			}
		case byWriting:
			if t.Answer == "" && t.Answers == "" && (t.Verifier == nil || t.Verifier.needsAnswer()) {
				return fmt.Errorf("metric %s needs answer, the template of what is right", name)
			}
			if t.Prompt == "" && t.PromptFile == "" {
				return fmt.Errorf("metric %s needs prompt", name)
			}
		case byAnswer:
			if t.Answer == "" {
				return fmt.Errorf("metric %s needs answer, the template of the text to measure", name)
			}
		}
		if name == "pass" && t.Verifier == nil {
			return errors.New("metric pass needs verifier")
		}
	}
	if !t.Choices.IsZero() && t.Answer == "" {
		return errors.New("choices need answer, which says the right one")
	}
	if t.Shots > 0 && t.Answer == "" {
		return errors.New("shots need answer, the template of what a worked example says")
	}
	return nil
}

func (t *Task) checkTemplates() error {
	for _, s := range []string{t.Prompt, t.Answer} {
		if _, err := parseTemplate(s); err != nil {
			return err
		}
	}
	return nil
}

// needs reports whether a metric of the task is measured that way.
func (t *Task) needs(w way) bool {
	return slices.ContainsFunc(t.Metrics, func(name string) bool { return metrics[name].way == w })
}

func orDefault(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}
