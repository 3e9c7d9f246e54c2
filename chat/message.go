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

// The types of a [Part].
const (
	Text  = "text"
	Image = "image"
	Audio = "audio"
	Video = "video"
)

// Message is one turn of a conversation. Its content is Content, or Parts
// where pictures or sounds stand among the text; never both.
type Message struct {
	Role    string
	Content string
	Parts   []Part

	// Thinking is what an assistant thought before it answered. Templates
	// show a model the thoughts of its present turn and leave out older ones.
	Thinking string
	// ToolCalls are what an assistant asks for.
	ToolCalls []ToolCall
	// ToolCallID says which call a tool's message answers; ToolName the tool's
	// name where the call isn't among the messages.
	ToolCallID, ToolName string
}

// Part is a piece of a message's content: text, or a place where a picture,
// sound or film is put (Type "image", "audio", "video").
type Part struct {
	Type string `json:"type"`
	Text string `json:"text,omitempty"`

	// Tokens says how many soft tokens a media part takes: one number for a
	// picture or sound; for pan and scan the whole picture's and then each
	// crop's; for a video each frame's. [Template.Prompt] needs it.
	Tokens []int `json:"-"`
	// Times are when a video's frames are shown, in seconds from its start.
	// Only EmbeddingGemma 2 does without.
	Times []float64 `json:"-"`

	message, part int // where the caller's conversation has it
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

// parts is the content in one form.
func (m Message) parts() []Part {
	if m.Parts != nil {
		return m.Parts
	}
	return []Part{{Type: Text, Text: m.Content}}
}

type messageJSON struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Reasoning  string          `json:"reasoning_content,omitempty"`
	ToolCalls  []ToolCall      `json:"tool_calls,omitempty"`
	ToolCallID string          `json:"tool_call_id,omitempty"`
	ToolName   string          `json:"name,omitempty"`
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
	return json.Marshal(messageJSON{m.Role, raw, m.Thinking, m.ToolCalls, m.ToolCallID, m.ToolName})
}

// UnmarshalJSON reads content as a string, a list of parts, or null (an empty
// message).
func (m *Message) UnmarshalJSON(data []byte) error {
	var j messageJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*m = Message{Role: j.Role, Thinking: j.Reasoning, ToolCalls: j.ToolCalls, ToolCallID: j.ToolCallID, ToolName: j.ToolName}
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
		if err := p.check(m.Role); err != nil {
			return err
		}
	}
	if roles[m.Role] != Assistant && (len(m.ToolCalls) > 0 || m.Thinking != "") {
		return fmt.Errorf("a %s message has tool calls or thoughts: only an assistant's has", m.Role)
	}
	for _, c := range m.ToolCalls {
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}
