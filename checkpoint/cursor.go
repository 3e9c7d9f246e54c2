package checkpoint

import (
	"encoding/binary"
	"fmt"
)

// cursor walks the bytes of a file from front to back. The first failure
// sticks: later reads return zeros, so a parser checks err once a record
// instead of once a field.
type cursor struct {
	path string
	data []byte
	at   int
	err  error

	// What is being read, for messages only: part "tensor", index 3 and its
	// name as soon as it is known.
	part  string
	index uint64
	name  string
}

// enter says which record the fields that follow belong to.
func (c *cursor) enter(part string, index uint64) {
	c.part, c.index, c.name = part, index, ""
}

// leave ends the record: the fields that follow belong to the file.
func (c *cursor) leave() { c.part = "" }

// fail records a problem with the field that starts at offset.
func (c *cursor) fail(offset int, field, format string, args ...any) {
	if c.err != nil {
		return
	}
	switch {
	case c.part != "" && c.name != "":
		field = fmt.Sprintf("%s %d %q %s", c.part, c.index, c.name, field)
	case c.part != "":
		field = fmt.Sprintf("%s %d %s", c.part, c.index, field)
	}
	c.err = &FormatError{c.path, int64(offset), field, fmt.Sprintf(format, args...)}
}

// left is the number of bytes not yet read.
func (c *cursor) left() int { return len(c.data) - c.at }

// take returns the next n bytes, aliasing the file.
func (c *cursor) take(n uint64, field string) []byte {
	if c.err != nil {
		return nil
	}
	if n > uint64(c.left()) {
		c.fail(c.at, field, "needs %d bytes and the file ends after %d; it is cut short or damaged, fetch it again", n, c.left())
		return nil
	}
	b := c.data[c.at : c.at+int(n) : c.at+int(n)]
	c.at += int(n)
	return b
}

func (c *cursor) u32(field string) uint32 {
	if b := c.take(4, field); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64(field string) uint64 {
	if b := c.take(8, field); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// str reads a length and that many bytes, aliasing the file. At most limit.
func (c *cursor) str(limit uint64, field string) []byte {
	at := c.at
	n := c.u64(field + " length")
	if n > limit {
		c.fail(at, field+" length", "%d bytes; at most %d are allowed", n, limit)
		return nil
	}
	return c.take(n, field)
}

// strings steps over n strings and returns the bytes they take.
//
// A Gemma vocabulary has 262,144 of them, so this loop is most of the time
// that opening a file takes: it reads the lengths only.
func (c *cursor) strings(n uint64, field string) []byte {
	if c.err != nil {
		return nil
	}
	data, start, at := c.data, c.at, c.at
	for i := range n {
		if len(data)-at < 8 {
			c.fail(at, field, "element %d of %d passes the end of the file", i, n)
			return nil
		}
		length := binary.LittleEndian.Uint64(data[at:])
		if length > uint64(len(data)-at-8) {
			c.fail(at, field, "element %d of %d is %d bytes long and passes the end of the file", i, n, length)
			return nil
		}
		at += 8 + int(length)
	}
	c.at = at
	return data[start:at:at]
}
