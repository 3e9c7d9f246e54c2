package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"lapidary"
)

// lineSink writes a JSON object a line.
type lineSink struct{ to *json.Encoder }

func newLineSink(w io.Writer) *lineSink {
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	return &lineSink{to}
}

// vectorJSON is a line.
type vectorJSON struct {
	ID        json.RawMessage `json:"id,omitempty"`
	Embedding []float32       `json:"embedding"`
	Truncated bool            `json:"truncated,omitempty"`
}

func (s *lineSink) add(t textLine, e lapidary.Embedding) error {
	return s.to.Encode(vectorJSON{t.id, e.Vector, e.Cut})
}

// documentSink keeps everything for one document.
type documentSink struct {
	vectors [][]float32
	tokens  []int
	ids     []json.RawMessage // as many as texts once one has an id
}

func (s *documentSink) add(t textLine, e lapidary.Embedding) error {
	if t.id != nil && s.ids == nil {
		for range s.vectors {
			s.ids = append(s.ids, json.RawMessage("null"))
		}
	}
	if s.vectors, s.tokens = append(s.vectors, e.Vector), append(s.tokens, e.Tokens); t.id == nil && s.ids != nil {
		t.id = json.RawMessage("null")
	}
	if t.id != nil {
		s.ids = append(s.ids, t.id)
	}
	return nil
}

// npySink writes an array of NumPy's format 1.0 (numpy.lib.format): a header of
// fixed length, then rows of float32, little endian.
type npySink struct {
	to         *bufio.Writer
	rows, cols int
	row        []byte
}

// npyHead is the length of magic, version, length and header: a multiple of 64,
// with room for any number of rows.
const npyHead = 128

func (s *npySink) head() string {
	const magic = "\x93NUMPY\x01\x00"
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", s.rows, s.cols)
	length := binary.LittleEndian.AppendUint16(nil, npyHead-uint16(len(magic)+2))
	return magic + string(length) + text + strings.Repeat(" ", npyHead-len(magic)-2-len(text)-1) + "\n"
}

func (s *npySink) add(_ textLine, e lapidary.Embedding) error {
	s.rows, s.row = s.rows+1, s.row[:0]
	for _, x := range e.Vector {
		s.row = binary.LittleEndian.AppendUint32(s.row, math.Float32bits(x))
	}
	_, err := s.to.Write(s.row)
	return err
}

// checkOutput refuses a file that cannot be written as asked.
func checkOutput(path string, force bool) error {
	if ext := strings.ToLower(filepath.Ext(path)); ext != ".jsonl" && ext != ".npy" {
		return misuse("--output %q: want a name that ends in .jsonl or .npy", path)
	}
	switch fi, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case !force:
		return fmt.Errorf("%s is there already: name another file, or give --force to replace it", path)
	}
	return nil
}

// saveVectors lets fill write the vectors of a file, which is there once all
// are. Until then path is as it was, and after an error nothing is left.
func saveVectors(path string, force bool, width int, fill func(vectorSink) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		err = writeNPY(tmp, width, fill)
	} else {
		err = writeLines(tmp, fill)
	}
	if err == nil {
		err = errors.Join(tmp.Chmod(0o644), tmp.Sync())
	}
	if closing := tmp.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = checkOutput(path, force) // it may have come meanwhile
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // what went wrong before it matters more
	}
	return err
}

func writeLines(f *os.File, fill func(vectorSink) error) error {
	w := bufio.NewWriterSize(f, 1<<18)
	if err := fill(newLineSink(w)); err != nil {
		return err
	}
	return w.Flush()
}

// writeNPY writes the header last: only then the number of rows is known.
func writeNPY(f *os.File, width int, fill func(vectorSink) error) error {
	if _, err := f.Seek(npyHead, io.SeekStart); err != nil {
		return err
	}
	s := &npySink{to: bufio.NewWriterSize(f, 1<<18), cols: width}
	if err := fill(s); err != nil {
		return err
	}
	if err := s.to.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(s.head()), 0)
	return err
}
