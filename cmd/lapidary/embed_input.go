package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"lapidary"
)

// textLine is a text with the place it came from.
type textLine struct {
	text string
	id   json.RawMessage // nil for none
	line int             // from 1; 0 for none
}

// textBatch is what is embedded together.
type textBatch struct {
	lines []textLine
	read  int64 // bytes of the input so far
	err   error // that ends the input, io.EOF at its end
}

// A batch fills many passes of the model, and is held in memory.
const (
	batchTexts = 512
	batchBytes = 1 << 19
)

func (b *textBatch) texts() []string {
	out := make([]string, len(b.lines))
	for i, l := range b.lines {
		out[i] = l.text
	}
	return out
}

// place says in which line the text is that could not be embedded.
func (b *textBatch) place(s *textSource, err error) error {
	var at *lapidary.TextError
	if errors.As(err, &at) && b.lines[at.Index].line > 0 {
		return s.at(b.lines[at.Index].line, at.Err)
	}
	return err
}

// textSource gives the texts in batches; the next is read while one is
// embedded.
type textSource struct {
	name    string
	size    int64 // bytes, −1 if nobody knows
	batches chan textBatch
	close   func()
}

// source is what --input, TEXT or the pipe hold.
func (f *embedFlags) source(c *cobra.Command, texts []string) (*textSource, error) {
	if f.input != "" {
		return f.openInput(c)
	}
	if len(texts) == 0 {
		text, err := textArgument(c, nil)
		if err != nil {
			return nil, err
		}
		texts = []string{strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")}
	}
	var all textBatch
	for _, text := range texts {
		all.lines = append(all.lines, textLine{text: text})
	}
	s := &textSource{batches: make(chan textBatch, 1), close: func() {}}
	s.batches <- all
	close(s.batches)
	return s, nil
}

func (f *embedFlags) openInput(c *cobra.Command) (*textSource, error) {
	s := &textSource{name: f.input, size: -1, batches: make(chan textBatch), close: func() {}}
	in := c.InOrStdin()
	if f.input == "-" {
		s.name = "standard input"
		if isTerminal(in) {
			return nil, misuse("--input - reads standard input: pipe JSON lines in")
		}
	} else {
		file, err := os.Open(f.input)
		if err != nil {
			return nil, err
		}
		if fi, err := file.Stat(); err == nil && fi.Mode().IsRegular() {
			s.size = fi.Size()
		}
		in, s.close = file, func() { _ = file.Close() } // it was only read
	}
	r := &lineReader{source: s, field: f.field, in: bufio.NewReaderSize(in, 1<<16)}
	go r.run(c.Context())
	return s, nil
}

// next is the next batch, io.EOF after the last. A pipe that nobody fills does
// not keep an interrupted command waiting.
func (s *textSource) next(ctx context.Context) (textBatch, error) {
	select {
	case <-ctx.Done():
		return textBatch{}, ctx.Err()
	case b, ok := <-s.batches:
		if !ok {
			return b, io.EOF
		}
		return b, b.err
	}
}

// at says where in the input something is wrong.
func (s *textSource) at(line int, err error) error { return fmt.Errorf("%s:%d: %w", s.name, line, err) }

// lineReader reads JSON lines.
type lineReader struct {
	source *textSource
	field  string
	in     *bufio.Reader
	line   int
	read   int64
}

// run sends batches until the end. What precedes a bad line is not embedded:
// the command fails as a whole.
func (r *lineReader) run(ctx context.Context) {
	defer close(r.source.batches)
	for {
		b := r.batch()
		if b.err == nil && len(b.lines) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case r.source.batches <- b:
		}
		if b.err != nil {
			return
		}
	}
}

func (r *lineReader) batch() (b textBatch) {
	size := 0
	for len(b.lines) < batchTexts && size < batchBytes {
		data, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			b.err = r.source.at(r.line, err)
			return b
		}
		if err != nil {
			break
		}
		t, err := r.parse(data)
		if err != nil {
			b.err = r.source.at(r.line, err)
			return b
		}
		size += len(t.text)
		b.lines = append(b.lines, t)
	}
	b.read = r.read
	return b
}

// next is the next line without its end, valid until the one after.
func (r *lineReader) next() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		r.read += int64(len(part))
		if line = append(line, part...); len(line) > maxPipe {
			return nil, fmt.Errorf("the line has more than %d MB, which no model's context holds", maxPipe>>20)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
		default:
			return nil, err
		}
		if r.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // a byte order mark
		}
		return bytes.TrimSpace(line), nil
	}
}

// parse reads a string, or an object with a text and perhaps an id.
func (r *lineReader) parse(line []byte) (textLine, error) {
	t := textLine{line: r.line}
	switch {
	case len(line) == 0:
		return t, errors.New("the line is empty; each has a JSON string or object")
	case !utf8.Valid(line):
		return t, errors.New("the line is not UTF-8")
	case line[0] == '"':
		return t, notJSON(json.Unmarshal(line, &t.text))
	case line[0] != '{':
		return t, errors.New("the line is neither a JSON string nor an object with a text")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return t, notJSON(err)
	}
	text, ok := object[r.field]
	if !ok {
		return t, fmt.Errorf("the object has no field %q: name the one with the text by --field", r.field)
	}
	if len(text) == 0 || text[0] != '"' {
		return t, fmt.Errorf("the field %q is no string", r.field)
	}
	if id, ok := object["id"]; ok && r.field != "id" {
		t.id = id
	}
	return t, notJSON(json.Unmarshal(text, &t.text))
}

func notJSON(err error) error {
	if err != nil {
		return fmt.Errorf("the line is no JSON: %w", err)
	}
	return nil
}
