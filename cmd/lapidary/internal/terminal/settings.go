package terminal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lapidary/generate"
)

// settings is what /set changes.
type settings struct {
	params   generate.Params
	system   string
	markdown bool
	stats    bool
	think    bool
	thoughts bool
}

// setting is one line of /set: a name, what it does, and how it is read and
// written as text.
type setting struct {
	name, help string
	get        func(*settings) string
	set        func(*settings, string) error
}

// settingList is a function so that nothing is built unless somebody chats.
func settingList() []setting {
	return []setting{
		float("temperature", "how freely to choose: 0 always takes the likeliest token", func(s *settings) *float32 { return &s.params.Temperature }),
		integer("top_k", "keep the k likeliest tokens; 0 keeps all", func(s *settings) *int { return &s.params.TopK }),
		float("top_p", "keep the likeliest tokens that add up to p; 1 keeps all", func(s *settings) *float32 { return &s.params.TopP }),
		float("min_p", "keep tokens at least p times as likely as the likeliest; 0 keeps all", func(s *settings) *float32 { return &s.params.MinP }),
		{"seed", "a number makes choices repeatable; random draws a new one each time", getSeed, setSeed},
		integer("max_tokens", "end answers after so many tokens; 0 sets no limit", func(s *settings) *int { return &s.params.MaxTokens }),
		{"stop", `end answers before this text; several are quoted: "###" "User:"; off for none`, getStop, setStop},
		float("repeat_penalty", "above 1 discourages what was said already; 1 is off", func(s *settings) *float32 { return &s.params.RepeatPenalty }),
		integer("repeat_last", "how many tokens repeat_penalty looks back; -1 is all", func(s *settings) *int { return &s.params.RepeatLast }),
		float("frequency_penalty", "taken from a token's score each time it was said; 0 is off", func(s *settings) *float32 { return &s.params.FrequencyPenalty }),
		float("presence_penalty", "taken from a token's score if it was said; 0 is off", func(s *settings) *float32 { return &s.params.PresencePenalty }),
		{"system", "text that says how to answer; off for none", getSystem, setSystem},
		toggle("markdown", "show answers formatted", func(s *settings) *bool { return &s.markdown }),
		toggle("think", "let the model think before it answers", func(s *settings) *bool { return &s.think }),
		toggle("thoughts", "show what it thinks", func(s *settings) *bool { return &s.thoughts }),
		toggle("stats", "tell the speed after each answer", func(s *settings) *bool { return &s.stats }),
	}
}

func settingNamed(name string) (setting, bool) {
	name = strings.ReplaceAll(name, "-", "_")
	for _, s := range settingList() {
		if s.name == name {
			return s, true
		}
	}
	return setting{}, false
}

func settingNames() []string {
	var names []string
	for _, s := range settingList() {
		names = append(names, s.name)
	}
	return names
}

// change sets one setting, or leaves all as they were and says why.
func (s *settings) change(name, value string) error {
	entry, ok := settingNamed(name)
	if !ok {
		return fmt.Errorf("no setting %q%s: /set lists them", name, suggestion(name, settingNames(), ""))
	}
	next := *s
	next.params.Stop = slices.Clone(s.params.Stop)
	if err := entry.set(&next, value); err != nil {
		return fmt.Errorf("%s: %w", entry.name, err)
	}
	if err := next.params.Check(); err != nil {
		return err
	}
	*s = next
	return nil
}

func float(name, help string, at func(*settings) *float32) setting {
	return setting{name, help,
		func(s *settings) string { return strconv.FormatFloat(float64(*at(s)), 'g', -1, 32) },
		func(s *settings, v string) error {
			f, err := strconv.ParseFloat(v, 32)
			if err != nil {
				return fmt.Errorf("%q is not a number", v)
			}
			*at(s) = float32(f)
			return nil
		}}
}

func integer(name, help string, at func(*settings) *int) setting {
	return setting{name, help,
		func(s *settings) string { return strconv.Itoa(*at(s)) },
		func(s *settings, v string) error {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				return fmt.Errorf("%q is not a whole number", v)
			}
			*at(s) = int(n)
			return nil
		}}
}

func toggle(name, help string, at func(*settings) *bool) setting {
	return setting{name, help + ": on or off",
		func(s *settings) string {
			if *at(s) {
				return "on"
			}
			return "off"
		},
		func(s *settings, v string) error {
			switch v {
			case "on", "true", "yes":
				*at(s) = true
			case "off", "false", "no":
				*at(s) = false
			default:
				return fmt.Errorf("%q is neither on nor off", v)
			}
			return nil
		}}
}

func getSeed(s *settings) string {
	if s.params.Seed == nil {
		return "random"
	}
	return strconv.FormatUint(*s.params.Seed, 10)
}

func setSeed(s *settings, v string) error {
	if v == "random" || v == "off" {
		s.params.Seed = nil
		return nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is neither a whole number nor random", v)
	}
	s.params.Seed = &n
	return nil
}

func getStop(s *settings) string {
	if len(s.params.Stop) == 0 {
		return "off"
	}
	quoted := make([]string, len(s.params.Stop))
	for i, t := range s.params.Stop {
		quoted[i] = strconv.Quote(t)
	}
	return strings.Join(quoted, " ")
}

func setStop(s *settings, v string) error {
	if v == "off" {
		s.params.Stop = nil
		return nil
	}
	if !strings.HasPrefix(v, `"`) {
		s.params.Stop = []string{v}
		return nil
	}
	var stop []string
	for v != "" {
		q, err := strconv.QuotedPrefix(v)
		if err != nil {
			return fmt.Errorf(`%s is not a quoted text: write "a" "b"`, v)
		}
		t, err := strconv.Unquote(q)
		if err != nil {
			return fmt.Errorf("%s is not a quoted text", q)
		}
		stop = append(stop, t)
		v = strings.TrimLeft(v[len(q):], " ")
	}
	s.params.Stop = stop
	return nil
}

func getSystem(s *settings) string {
	if s.system == "" {
		return "off"
	}
	return strconv.Quote(s.system)
}

func setSystem(s *settings, v string) error {
	if v == "off" {
		s.system = ""
		return nil
	}
	if strings.HasPrefix(v, `"`) {
		if t, err := strconv.Unquote(v); err == nil {
			v = t
		} else if len(v) > 1 && strings.HasSuffix(v, `"`) {
			v = v[1 : len(v)-1] // quotes within, or lines
		}
	}
	s.system = v
	return nil
}
