package chat

import (
	"cmp"
	"errors"
	"strings"
)

// channels writes conversations as Gemma 4 reads them: turns with a system
// role, thoughts in a channel of their own, tools declared, called and
// answered. Tool calls and their results stay inside the model's turn.
func (f *family) channels(w *writer, c Conversation, prompt bool) error {
	w.bos()
	system, messages := c.system()
	if system != nil || len(c.Tools) > 0 || c.Thinking {
		if err := f.systemTurn(w, c, system); err != nil {
			return err
		}
	}
	s := speech{family: f, writer: w, messages: messages, lastUser: -1}
	for i, m := range messages {
		if m.Role == User {
			s.lastUser = i
		}
	}
	for i := range messages {
		if err := s.turn(i); err != nil {
			return err
		}
	}
	if prompt {
		s.invite(c.Thinking)
	}
	return nil
}

func (f *family) systemTurn(w *writer, c Conversation, system *Message) error {
	w.markup("<|turn>")
	w.text("system\n")
	if c.Thinking {
		w.markup("<|think|>")
		w.text("\n")
	}
	if system != nil {
		// A system message in parts gets a space after each, one in a piece none.
		for i := range system.Parts {
			if err := f.put(w, &system.Parts[i], trim); err != nil {
				return err
			}
			w.text(" ")
		}
		w.text(trim(system.Content))
	}
	for _, t := range c.Tools {
		if err := declare(w, t); err != nil {
			return err
		}
	}
	w.markup("<turn|>")
	w.text("\n")
	return nil
}

// speech is a conversation being written.
type speech struct {
	*writer
	family   *family
	messages []Message // without the system's
	lastUser int
	// calls and answered tell how the last turn ended: with calls, and with
	// their results.
	calls, answered bool
}

// turn writes message i with the tools' answers to it.
func (s *speech) turn(i int) error {
	m := &s.messages[i]
	if m.Role == Tool {
		return s.orphan(i) // stands with the calls it answers
	}
	if roles[m.Role] != Assistant || s.neighbour(i, -1) != Assistant {
		s.markup("<|turn>")
		s.text(turnName(m.Role) + "\n")
	}
	if m.Thinking != "" && i > s.lastUser {
		s.thought(m.Thinking)
	}
	for _, call := range m.ToolCalls {
		if err := s.call(call); err != nil {
			return err
		}
	}
	answered, err := s.answers(i)
	if err != nil {
		return err
	}
	said, err := s.say(m)
	if err != nil {
		return err
	}
	s.calls, s.answered = len(m.ToolCalls) > 0, answered
	s.end(i, said)
	return nil
}

// neighbour is the role of the nearest message before or after i that is not
// a tool's; "" for none.
func (s *speech) neighbour(i, step int) string {
	for i += step; i >= 0 && i < len(s.messages); i += step {
		if role := roles[s.messages[i].Role]; role != Tool {
			return role
		}
	}
	return ""
}

func (s *speech) thought(t string) {
	s.markup("<|channel>")
	s.text("thought\n" + t + "\n")
	s.markup("<channel|>")
}

// answers writes the tool messages that follow message i, if it calls tools.
func (s *speech) answers(i int) (bool, error) {
	calls := s.messages[i].ToolCalls
	if len(calls) == 0 {
		return false, nil
	}
	found := false
	for j := i + 1; j < len(s.messages) && s.messages[j].Role == Tool; j++ {
		m := &s.messages[j]
		if err := s.respond(m, m.answering(calls, j-i-1)); err != nil {
			return false, err
		}
		found = true
	}
	return found, nil
}

// orphan refuses an answer to no call, which would be left out.
func (s *speech) orphan(i int) error {
	for j := i; j >= 0 && s.messages[j].Role == Tool; j-- {
		if j > 0 && len(s.messages[j-1].ToolCalls) > 0 {
			return nil
		}
	}
	return errors.New("a tool's message answers no call: put it behind the assistant's message that calls the tool")
}

// answering is the name of the tool whose n-th answer to the calls this is.
func (m *Message) answering(calls []ToolCall, n int) string {
	name := m.ToolName
	for i, c := range calls {
		if m.ToolCallID != "" && c.ID == m.ToolCallID || m.ToolCallID == "" && m.ToolName == "" && i == n {
			name = c.Name
		}
	}
	return cmp.Or(name, "unknown")
}

// respond writes one tool's answer, its media after it.
func (s *speech) respond(m *Message, name string) error {
	s.markup("<|tool_response>")
	s.text("response:" + name + "{value:")
	quote(s.writer, m.Text())
	s.text("}")
	s.markup("<tool_response|>")
	for i := range m.Parts {
		if m.Parts[i].Type == Text {
			continue
		}
		if err := s.family.put(s.writer, &m.Parts[i], keep); err != nil {
			return err
		}
	}
	return nil
}

// say writes what a message says, and whether that is anything.
func (s *speech) say(m *Message) (bool, error) {
	change := trim
	if roles[m.Role] == Assistant {
		change = withoutThoughts
	}
	before := len(s.pieces)
	parts := m.Parts
	if parts == nil {
		s.text(change(m.Content))
	}
	for i := range parts {
		if err := s.family.put(s.writer, &parts[i], change); err != nil {
			return false, err
		}
	}
	return trim(spelled(s.pieces[before:])) != "", nil
}

// end closes the turn, unless the model's goes on: where it waits for a
// tool, has just been answered, or speaks again.
func (s *speech) end(i int, said bool) {
	next := s.neighbour(i, 1)
	model := roles[s.messages[i].Role] == Assistant
	switch {
	case s.calls && !s.answered:
		s.markup("<|tool_response>")
	case model && next == Assistant:
	case s.answered && !said && next == "":
	default:
		s.markup("<turn|>")
		s.text("\n")
	}
}

// invite lets the model go on.
func (s *speech) invite(thinking bool) {
	switch {
	case s.answered && thinking:
		s.markup("<|channel>")
		s.text("thought\n")
	case s.calls:
	default:
		s.markup("<|turn>")
		s.text("model\n")
		if s.family.primes && !thinking {
			s.markup("<|channel>")
			s.text("thought\n")
			s.markup("<channel|>")
		}
	}
}

// withoutThoughts takes the thoughts out of an assistant's text that were
// left in it as the model spelled them.
func withoutThoughts(s string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(s, "<channel|>") {
		before, _, _ := strings.Cut(part, "<|channel>")
		b.WriteString(before)
	}
	return trim(b.String())
}
