package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"lapidary/checkpoint"
)

// find reads a checkpoint's own template.
func find(c *checkpoint.Checkpoint) (string, error) {
	if meta := c.Metadata(); meta != nil {
		if s, ok := meta.String("tokenizer.chat_template"); ok && s != "" {
			return s, nil
		}
		return "", ErrNoTemplate
	}
	return findSibling(c.Sibling)
}

func findSibling(sibling func(string) ([]byte, error)) (string, error) {
	data, err := sibling("chat_template.jinja")
	if err == nil && len(data) > 0 {
		return string(data), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, name := range []string{"tokenizer_config.json", "chat_template.json"} {
		data, err := sibling(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		source, err := fromConfig(data)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if source != "" {
			return source, nil
		}
	}
	return "", ErrNoTemplate
}

// fromConfig finds the template of a tokenizer_config.json: text, or a list of
// named ones of which "default" is the one to chat with.
func fromConfig(data []byte) (string, error) {
	var config struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", err
	}
	if len(config.Template) == 0 || string(config.Template) == "null" {
		return "", nil
	}
	var source string
	if json.Unmarshal(config.Template, &source) == nil {
		return source, nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(config.Template, &named); err != nil {
		return "", errors.New("chat_template is neither text nor a list of named templates")
	}
	for _, t := range named {
		if t.Name == "default" {
			return t.Template, nil
		}
	}
	return "", errors.New(`chat_template has no template named "default"`)
}
