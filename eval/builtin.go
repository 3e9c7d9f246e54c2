package eval

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed tasks/*.yaml
var tasks embed.FS

// Builtins names the tasks that come with the program.
func Builtins() []string {
	files, _ := fs.Glob(tasks, "tasks/*.yaml") // the pattern is right
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	slices.Sort(names)
	return names
}

// BuiltinText is the YAML of a task that comes with the program.
func BuiltinText(name string) (string, error) {
	text, err := tasks.ReadFile("tasks/" + name + ".yaml")
	if err != nil {
		return "", fmt.Errorf("task %q, %w: %s", name, ErrTask, suggest(name, Builtins()))
	}
	return string(text), nil
}

// Builtin is a task that comes with the program.
func Builtin(name string) (*Task, error) {
	text, err := BuiltinText(name)
	if err != nil {
		return nil, err
	}
	t, err := ParseTask([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", name, err)
	}
	t.Name = name
	return t, nil
}
