package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Record is one entry of a file.
type Record struct {
	File string
	// Place says where it stands: "line 12", "row 3".
	Place string
	Value any

	outer   *Record // what an item of Each stands in
	lenient bool    // a missing field is an empty one
}

// Broken is a record that cannot be used.
type Broken struct {
	File, Place string
	Reason      error
}

func (b *Broken) Error() string {
	return fmt.Sprintf("%s, %s: %v; mend it, or set skip_broken: true to leave such records out", b.File, b.Place, b.Reason)
}

func (b *Broken) Unwrap() error { return b.Reason }

func (r *Record) broken(err error) error { return &Broken{r.File, r.Place, err} }

// field finds a path in the record, then in what is around it.
func (r *Record) field(path []string) (any, error) {
	for at := r; at != nil; at = at.outer {
		if v, ok := lookup(at.Value, path); ok {
			return v, nil
		}
	}
	return nil, fmt.Errorf("no field %q%s", strings.Join(path, "."), r.known())
}

func (r *Record) known() string {
	m, ok := r.Value.(map[string]any)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" among %s", short(strings.Join(sortedKeys(m), ", ")))
}

// items are the records that the items of the arrays at path are; without a
// path the record itself.
func (r *Record) items(path []string) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) { r.walk(path, yield) }
}

func (r *Record) walk(path []string, yield func(*Record, error) bool) bool {
	if list, ok := r.Value.([]any); ok {
		for i, v := range list {
			item := &Record{File: r.File, Place: fmt.Sprintf("%s, item %d", r.Place, i+1), Value: v, outer: r.outer}
			if !item.walk(path, yield) {
				return false
			}
		}
		return true
	}
	if len(path) == 0 {
		return yield(r, nil)
	}
	v, ok := lookup(r.Value, path[:1])
	if !ok {
		return yield(nil, r.broken(fmt.Errorf("no field %q to iterate over%s", path[0], r.known())))
	}
	inner := &Record{File: r.File, Place: r.Place, Value: v, outer: r}
	return inner.walk(path[1:], yield)
}

// decodeJSON reads one JSON value; numbers keep their digits.
func decodeJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, jsonError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the JSON value at byte %d", dec.InputOffset())
	}
	return v, nil
}

// jsonError says where in its line JSON is broken.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON: %w at byte %d", err, syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not JSON: it ends in the middle of a value")
	}
	return fmt.Errorf("not JSON: %w", err)
}
