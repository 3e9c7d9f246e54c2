package adapter

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TemplateFile is where an adapter's folder has the chat template that it was
// trained with, as PEFT leaves the tokenizer's files beside an adapter.
const TemplateFile = "chat_template.jinja"

// ChatTemplate is the Jinja source of the chat template that the adapter was
// trained with; empty if its folder has none.
func (a *Adapter) ChatTemplate() (string, error) {
	f, err := os.Open(filepath.Join(a.Path, TemplateFile))
	if errors.Is(err, fs.ErrNotExist) || a.Path == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	return string(text), err
}
