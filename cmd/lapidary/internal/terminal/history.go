package terminal

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The history keeps this many inputs. The file is cut back to them when it has
// grown to twice as many.
const historyLimit = 1000

// An input longer than this isn't kept: it was pasted, and a thousand of them
// would be read at every start.
const historyEntry = 16 << 10

// history is what was typed, oldest first: a file with one JSON string a line,
// so that an input of several lines is one entry. Lines that aren't one are
// passed over, which is all that a damaged file costs.
type history struct {
	path    string
	entries []string
}

// openHistory reads the file, which need not exist.
func openHistory(path string) (*history, error) {
	h := &history{path: path}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	lines := 0
	for l := range strings.Lines(string(data)) {
		var s string
		if json.Unmarshal([]byte(l), &s) == nil && s != "" {
			h.entries = append(h.entries, s)
		}
		lines++
	}
	if lines > 2*historyLimit {
		h.entries = h.entries[max(0, len(h.entries)-historyLimit):]
		return h, h.rewrite()
	}
	return h, nil
}

func (h *history) rewrite() error {
	var b strings.Builder
	for _, s := range h.entries {
		b.Write(historyLine(s))
	}
	return replaceFile(h.path, []byte(b.String()))
}

func historyLine(s string) []byte {
	data, _ := json.Marshal(s) // a string can always be written
	return append(data, '\n')
}

// add appends an entry to the file as well, so that nothing is lost when the
// program is killed. What repeats the entry before it is left
// out, and so is what is very long.
func (h *history) add(s string) error {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > historyEntry || (len(h.entries) > 0 && h.entries[len(h.entries)-1] == s) {
		return nil
	}
	h.entries = append(h.entries, s)
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(historyLine(s))
	return errors.Join(err, f.Close())
}

// Len is the number of entries.
func (h *history) Len() int { return len(h.entries) }
