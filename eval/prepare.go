package eval

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// item is an example made ready.
type item struct {
	id, group string
	prompt    string
	answer    string   // what a model should write
	expected  []string // what it is compared with
	choices   []string
	gold      int // the right choice
}

// layout is how the examples of a group are written.
type layout struct {
	instruction     string
	prompt, answer  template
	answers, choice string
}

// promptFile is read in place of the task's templates where it is there.
func (t *Task) layout(folder string) (*layout, error) {
	l := &layout{instruction: strings.TrimSpace(t.Instruction), answers: t.Answers, choice: t.Choices.Field}
	var err error
	if l.answer, err = parseTemplate(t.Answer); err != nil {
		return nil, err
	}
	if t.PromptFile != "" {
		path := filepath.Join(folder, t.PromptFile)
		content, err := os.ReadFile(path)
		if err == nil {
			l.instruction, l.prompt, err = parsePromptFile(string(content))
			if err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
			return l, err
		}
		if !os.IsNotExist(err) || t.Prompt == "" {
			return nil, err
		}
	}
	l.prompt, err = parseTemplate(strings.TrimRight(t.Prompt, " \t\r\n"))
	return l, err
}

// parsePromptFile takes a prompt of LegalBench apart: a first block that has not
// the form of the last one is the instruction, the block with the places is the
// prompt, and the worked examples between are left out.
func parsePromptFile(s string) (instruction string, prompt template, err error) {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
	place := strings.Index(s, "{{")
	if place < 0 {
		return "", nil, fmt.Errorf("%w: the prompt has no {{field}}", ErrTask)
	}
	start := 0
	if i := strings.LastIndex(s[:place], "\n\n"); i >= 0 {
		start = i + 2
	}
	if prompt, err = parseMustache(s[start:]); err != nil {
		return "", nil, err
	}
	first, _, _ := strings.Cut(s[:start], "\n\n")
	ask := s[strings.LastIndex(s, "\n")+1:]
	for line := range strings.SplitSeq(first, "\n") {
		if ask != "" && strings.HasPrefix(line, ask) {
			return "", prompt, nil
		}
	}
	return strings.TrimSpace(first), prompt, nil
}

// prepare writes every example of the data.
func (t *Task) prepare(s *Source) (map[string]*layout, []item, error) {
	extract, err := newExtractor(t.Extract)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	layouts := map[string]*layout{}
	for group, folder := range s.Folders {
		if layouts[group], err = t.layout(folder); err != nil {
			return nil, nil, err
		}
	}
	items := make([]item, len(s.Examples))
	for i, ex := range s.Examples {
		if items[i], err = t.item(layouts[ex.Group], ex, extract); err != nil {
			return nil, nil, fmt.Errorf("example %s: %w", ex.ID, err)
		}
	}
	return layouts, items, t.choose(items)
}

func (t *Task) item(l *layout, ex Example, extract extractor) (item, error) {
	it := item{id: ex.ID, group: ex.Group, gold: -1}
	var err error
	if it.prompt, err = l.prompt(ex.Fields); err != nil {
		return it, err
	}
	it.prompt = strings.TrimRight(it.prompt, " \t\r\n")
	if it.answer, err = l.answer(ex.Fields); err != nil {
		return it, err
	}
	it.answer = strings.TrimSpace(it.answer)
	if t.Answer != "" {
		it.expected = []string{extract.from(it.answer)}
	}
	if l.answers != "" {
		if it.expected, err = texts(ex.Fields, l.answers); err != nil {
			return it, err
		}
	}
	if l.choice != "" {
		it.choices, err = texts(ex.Fields, l.choice)
	}
	return it, err
}

// texts is the list at a path; something single is a list of one.
func texts(fields map[string]any, path string) ([]string, error) {
	v, err := lookUp(fields, strings.Split(path, "."))
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, item := range list {
		out = append(out, strings.TrimSpace(text(item)))
	}
	return out, nil
}

// choose gives every item its choices and finds the right one among them.
func (t *Task) choose(items []item) error {
	if t.Choices.IsZero() {
		return nil
	}
	labels := map[string][]string{}
	for _, it := range items {
		if !slices.Contains(labels[it.group], it.answer) {
			labels[it.group] = append(labels[it.group], it.answer)
		}
	}
	for i := range items {
		it := &items[i]
		switch {
		case t.Choices.Labels:
			it.choices = slices.Sorted(slices.Values(labels[it.group]))
		case t.Choices.Field == "":
			it.choices = t.Choices.Texts
		}
		if v, ok := t.Choices.Values[it.answer]; ok {
			it.answer = v
		}
		if err := it.findGold(); err != nil {
			return fmt.Errorf("example %s: %w", it.id, err)
		}
	}
	return nil
}

// findGold takes the answer for a choice's text, or, where the choices are the
// example's own, for its place or letter.
func (it *item) findGold() error {
	if len(it.choices) < 2 {
		return fmt.Errorf("there is nothing to choose but %q: give choices, or leave this file out", it.choices)
	}
	it.gold = slices.Index(it.choices, it.answer)
	if it.gold < 0 {
		if n, err := strconv.Atoi(it.answer); err == nil && n >= 0 && n < len(it.choices) {
			it.gold = n
		} else if a := it.answer; len(a) == 1 && a[0] >= 'A' && int(a[0]-'A') < len(it.choices) {
			it.gold = int(a[0] - 'A')
		}
	}
	if it.gold < 0 {
		return fmt.Errorf("the answer %q is none of the choices %q", shorten(it.answer), it.choices)
	}
	if slices.Contains(it.choices, "") {
		return fmt.Errorf("one of the choices %q is empty", it.choices)
	}
	it.answer = it.choices[it.gold]
	it.expected = []string{it.answer}
	return nil
}

// sample draws the examples to evaluate and keeps them in order.
func (t *Task) sample(items []item) []item {
	if t.Limit == 0 || t.Limit >= len(items) {
		return items
	}
	rng := rand.New(rand.NewPCG(t.Seed, limitStream))
	at := rng.Perm(len(items))[:t.Limit]
	slices.Sort(at)
	out := make([]item, t.Limit)
	for i, k := range at {
		out[i] = items[k]
	}
	return out
}

// pools draws, for each group, the items that may be worked examples: one more
// than are shown, since none is shown before itself. Where there are choices,
// their labels take turns.
func (t *Task) pools(items []item) map[string][]item {
	byGroup := map[string][]item{}
	if t.Shots == 0 {
		return byGroup
	}
	for _, it := range items {
		byGroup[it.group] = append(byGroup[it.group], it)
	}
	for group, all := range byGroup {
		rng := rand.New(rand.NewPCG(t.Seed, shotStream))
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if !t.Choices.IsZero() && t.Choices.Field == "" {
			all = takeTurns(all)
		}
		byGroup[group] = all[:min(len(all), t.Shots+1)]
	}
	return byGroup
}

func takeTurns(all []item) []item {
	var labels []string
	byLabel := map[string][]item{}
	for _, it := range all {
		if byLabel[it.answer] == nil {
			labels = append(labels, it.answer)
		}
		byLabel[it.answer] = append(byLabel[it.answer], it)
	}
	var out []item
	for len(out) < len(all) {
		for _, l := range labels {
			if rest := byLabel[l]; len(rest) > 0 {
				out, byLabel[l] = append(out, rest[0]), rest[1:]
			}
		}
	}
	return out
}

// shotsFor are the worked examples before an item.
func (t *Task) shotsFor(it *item, pool []item) []item {
	var shots []item
	for _, s := range pool {
		if len(shots) < t.Shots && s.id != it.id {
			shots = append(shots, s)
		}
	}
	return shots
}
