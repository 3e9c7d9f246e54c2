package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// A Function is a tool that a model may ask to be called.
type Function struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Parameters is a JSON schema of type object.
	Parameters json.RawMessage `json:"parameters,omitempty"`
	// Response describes what comes back, as a JSON schema too.
	Response json.RawMessage `json:"response,omitempty"`
}

// ToolCall is a model's request to call a function.
type ToolCall struct {
	ID        string
	Name      string
	Arguments json.RawMessage // a JSON object; empty for none
}

// plainFunction is Function without its methods.
type plainFunction Function

type functionJSON struct {
	Type     string        `json:"type"`
	Function plainFunction `json:"function"`
}

// MarshalJSON writes {"type":"function","function":{…}}, as OpenAI's API does.
func (f Function) MarshalJSON() ([]byte, error) {
	return json.Marshal(functionJSON{"function", plainFunction(f)})
}

// UnmarshalJSON reads that, or the inner object alone.
func (f *Function) UnmarshalJSON(data []byte) error {
	var j struct {
		Type     string
		Function *plainFunction
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if j.Function != nil {
		*f = Function(*j.Function)
		return nil
	}
	if j.Type != "" && j.Type != "function" {
		return fmt.Errorf("a tool of type %q: only functions are known", j.Type)
	}
	return json.Unmarshal(data, (*plainFunction)(f))
}

type callJSON struct {
	ID       string `json:"id,omitempty"`
	Type     string `json:"type"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// MarshalJSON writes the call as OpenAI's API does, its arguments a string
// that holds JSON.
func (c ToolCall) MarshalJSON() ([]byte, error) {
	j := callJSON{ID: c.ID, Type: "function"}
	j.Function.Name = c.Name
	arguments := string(c.Arguments)
	if arguments == "" {
		arguments = "{}"
	}
	var err error
	if j.Function.Arguments, err = json.Marshal(arguments); err != nil {
		return nil, err
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads arguments as a string that holds JSON, or as an object.
func (c *ToolCall) UnmarshalJSON(data []byte) error {
	var j callJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*c = ToolCall{ID: j.ID, Name: j.Function.Name, Arguments: j.Function.Arguments}
	var s string
	if len(c.Arguments) > 0 && c.Arguments[0] == '"' {
		if err := json.Unmarshal(c.Arguments, &s); err != nil {
			return err
		}
		c.Arguments = json.RawMessage(s)
	}
	return nil
}

func (c ToolCall) check() error {
	if c.Name == "" {
		return errors.New("a tool call names no function")
	}
	if _, err := object(c.Arguments); err != nil {
		return fmt.Errorf("arguments of the call of %s: %w", c.Name, err)
	}
	return nil
}

func (f Function) check() error {
	if f.Name == "" {
		return errors.New("a tool has no name")
	}
	for what, schema := range map[string]json.RawMessage{"parameters": f.Parameters, "response": f.Response} {
		if _, err := object(schema); err != nil {
			return fmt.Errorf("%s of the tool %s: %w", what, f.Name, err)
		}
	}
	return nil
}

// object decodes a JSON object; nothing and null are an empty one. Numbers
// keep their spelling.
func object(raw json.RawMessage) (map[string]any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if d.More() {
		return nil, errors.New("more than one JSON object")
	}
	return v, nil
}
