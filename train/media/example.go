package media

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Example is a line of a data file: a picture, or a sound, or both, and what is
// said about them.
type Example struct {
	Image  string `json:"image"` // paths of files, or of files in zip archives
	Audio  string `json:"audio"`
	Prompt string `json:"prompt"`
	Answer string `json:"answer"`

	// Place is where it was read, for errors about it.
	Place string `json:"-"`
}

// longestLine bounds what is read for one example, in bytes.
const longestLine = 1 << 20

// Read reads a file of JSON lines. Empty lines are passed over; fields that are
// not an example's do no harm.
func Read(name string) ([]Example, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f, name)
}

func parse(r io.Reader, name string) ([]Example, error) {
	var out []Example
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		e := Example{Place: fmt.Sprintf("%s, line %d", name, n)}
		if err := e.parse(text, filepath.Dir(name)); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Place, err)
		}
		out = append(out, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: there are no examples in it", name)
	}
	return out, nil
}

func (e *Example) parse(text []byte, folder string) error {
	if err := json.Unmarshal(text, e); err != nil {
		return err
	}
	switch {
	case e.Image == "" && e.Audio == "":
		return errors.New("neither an image nor an audio: give the path of a file")
	case e.Answer == "":
		return errors.New("no answer")
	}
	for _, path := range []*string{&e.Image, &e.Audio} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, filepath.FromSlash(*path))
		}
	}
	return nil
}
