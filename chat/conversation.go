package chat

import (
	"errors"
	"fmt"
	"slices"
)

// ErrEmpty says that there is no message to answer.
var ErrEmpty = errors.New("the conversation has no message")

// Conversation is what a prompt is made of.
type Conversation struct {
	Messages []Message
	// Tools may be called by the model.
	Tools []Function
	// Thinking lets the model think before it answers.
	Thinking bool
}

// check refuses what no template could render faithfully.
func (c Conversation) check() error {
	if len(c.Messages) == 0 {
		return ErrEmpty
	}
	for i, m := range c.Messages {
		if err := m.check(); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	for _, f := range c.Tools {
		if err := f.check(); err != nil {
			return err
		}
	}
	return nil
}

// numbered is the conversation with each part knowing its place. Without
// media its parts take no soft tokens.
func (c Conversation) numbered(media bool) Conversation {
	c.Messages = slices.Clone(c.Messages)
	for i := range c.Messages {
		m := &c.Messages[i]
		m.Parts = slices.Clone(m.Parts)
		for j := range m.Parts {
			m.Parts[j].message, m.Parts[j].part = i, j
			if !media {
				m.Parts[j].Tokens, m.Parts[j].Times = nil, nil
			}
		}
	}
	return c
}

// usesTools reports whether tools are declared, called or answer.
func (c Conversation) usesTools() bool {
	return len(c.Tools) > 0 || slices.ContainsFunc(c.Messages, func(m Message) bool {
		return m.Role == Tool || len(m.ToolCalls) > 0
	})
}

// system splits the conversation into its first message, if that is the
// system's, and the others.
func (c Conversation) system() (*Message, []Message) {
	if roles[c.Messages[0].Role] == System {
		return &c.Messages[0], c.Messages[1:]
	}
	return nil, c.Messages
}

// fold puts the system text before the first user message's, for templates
// without a system role.
func (c Conversation) fold() (Conversation, error) {
	system, messages := c.system()
	if system == nil {
		return c, nil
	}
	if len(messages) == 0 || messages[0].Role != User {
		return c, errNoUser
	}
	c.Messages = slices.Clone(messages)
	text, user := system.Text()+"\n\n", &c.Messages[0]
	if user.Parts == nil {
		user.Content = text + user.Content
	} else {
		user.Parts = slices.Insert(slices.Clone(user.Parts), 0, Part{Type: Text, Text: text})
	}
	return c, nil
}

var errNoUser = errors.New("this model has no system role: a user message must follow the system text")

// strings calls f with every text that comes from outside.
func (c Conversation) strings(f func(string)) {
	c.values(func(s string) string {
		f(s)
		return s
	})
}
