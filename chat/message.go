package chat

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The roles of a conversation. Developer is the newer name of System and is
// taken as such; Model is Gemma's own name of Assistant.
const (
	System    = "system"
	Developer = "developer"
	User      = "user"
	Assistant = "assistant"
	Model     = "model"
	Tool      = "tool"
)

// roles maps every accepted role to the one templates know.
var roles = map[string]string{
	System: System, Developer: System,
	User: User, Tool: Tool,
	Assistant: Assistant, Model: Assistant,
}

// Message is one turn of a conversation. Its content is Content, or Parts
// where pictures or sounds stand among the text; never both.
type Message struct {
	Role    string
	Content string
	Parts   []Part
}

// Part is a piece of a message's content: text, or a place where a picture,
// sound or film is put (Type "image", "audio", "video").
type Part struct {
	Type string `json:"type"`
	Text string `json:"text,omitempty"`
}

// Text is what the message says, without its pictures and sounds.
func (m Message) Text() string {
	if m.Parts == nil {
		return m.Content
	}
	var b strings.Builder
	for _, p := range m.Parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

type messageJSON struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// MarshalJSON writes the message as OpenAI's API does: content is a string,
// or a list of parts.
func (m Message) MarshalJSON() ([]byte, error) {
	var content any = m.Content
	if m.Parts != nil {
		content = m.Parts
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return json.Marshal(messageJSON{m.Role, raw})
}

// UnmarshalJSON reads content as a string, a list of parts, or null (an empty
// message).
func (m *Message) UnmarshalJSON(data []byte) error {
	var j messageJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*m = Message{Role: j.Role}
	switch {
	case len(j.Content) == 0 || string(j.Content) == "null":
		return nil
	case j.Content[0] == '"':
		return json.Unmarshal(j.Content, &m.Content)
	case j.Content[0] == '[':
		return json.Unmarshal(j.Content, &m.Parts)
	}
	return fmt.Errorf("content of a %q message is neither text nor a list of parts", j.Role)
}

// check refuses what no template could render faithfully.
func (m Message) check() error {
	if _, ok := roles[m.Role]; !ok {
		return fmt.Errorf("unknown role %q: use system, user, assistant or tool", m.Role)
	}
	if m.Parts != nil && m.Content != "" {
		return fmt.Errorf("a %s message has both text and parts: put the text among the parts", m.Role)
	}
	for _, p := range m.Parts {
		switch p.Type {
		case "text", "image", "audio", "video":
		default:
			return fmt.Errorf("unknown part %q in a %s message: use text, image, audio or video", p.Type, m.Role)
		}
	}
	return nil
}

// value is the message as a template sees it.
func (m Message) value(mark func(string) string) map[string]any {
	v := map[string]any{"role": roles[m.Role]}
	if m.Parts == nil {
		v["content"] = mark(m.Content)
		return v
	}
	parts := make([]any, len(m.Parts))
	for i, p := range m.Parts {
		part := map[string]any{"type": p.Type}
		if p.Type == "text" {
			part["text"] = mark(p.Text)
		}
		parts[i] = part
	}
	v["content"] = parts
	return v
}
