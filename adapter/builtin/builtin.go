// Package builtin holds adapters that come with the program.
//
// gemma3-270m-chat makes the pretrained Gemma 3 270M take turns, answer and stop.
// It was trained by recipes/chat.yaml on self-instruct's seed tasks, MedQuAD,
// GSM8K and BIG-bench Hard (docs/training.md) and rounded to bfloat16.
package builtin

import (
	"embed"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"lapidary/adapter"
)

//go:embed gemma3-270m-chat
var files embed.FS

// chats are the adapters for conversations, by the checksum of the weights that
// they were made for.
var chats = map[string]string{
	"a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818": "gemma3-270m-chat",
}

// Chat is the adapter that makes the model with weights of that SHA-256 chat, and
// the Jinja source of the form of its turns; nil if there is none.
func Chat(sha256 string) (a *adapter.Adapter, template string, err error) {
	name, ok := chats[sha256]
	if !ok {
		return nil, "", nil
	}
	dir, err := os.MkdirTemp("", "lapidary-adapter-*")
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left lies among temporary files
	if err := unpack(name, dir); err != nil {
		return nil, "", err
	}
	if a, err = adapter.Open(dir); err != nil {
		return nil, "", err
	}
	template, err = a.ChatTemplate()
	a.Path = ""
	return a, template, err
}

// unpack writes the files of an adapter where they can be mapped.
func unpack(name, dir string) error {
	entries, err := fs.ReadDir(files, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := files.ReadFile(path.Join(name, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
