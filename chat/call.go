package chat

import (
	"encoding/json"
	"errors"
	"strings"
)

// quoteByte stands for Gemma 4's quote token while a call is read. No valid
// UTF-8 has it.
const quoteByte = 0xFF

// Values nested deeper than this aren't read.
const maxDepth = 64

var errCall = errors.New("not a tool call")

// readCall reads call:name{key:value,…}. It takes more than the model was
// taught to write: strings in JSON's quotes, white space, and words without
// quotes, which become strings.
func readCall(s string) (ToolCall, error) {
	s, ok := strings.CutPrefix(strings.TrimSpace(s), "call:")
	name, _, found := strings.Cut(s, "{")
	if !ok || !found || strings.TrimSpace(name) == "" || strings.IndexByte(name, quoteByte) >= 0 {
		return ToolCall{}, errCall
	}
	r := reader{rest: s[len(name):]}
	r.value(0)
	if r.space(); r.failed || r.rest != "" {
		return ToolCall{}, errCall
	}
	return ToolCall{Name: strings.TrimSpace(name), Arguments: json.RawMessage(r.out.String())}, nil
}

// reader turns Gemma 4's notation into JSON.
type reader struct {
	rest   string
	out    strings.Builder
	failed bool
}

func (r *reader) space() { r.rest = strings.TrimLeft(r.rest, " \t\r\n") }

// accept takes a byte if it is next.
func (r *reader) accept(b byte) bool {
	if r.space(); r.rest == "" || r.rest[0] != b {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *reader) fail() { r.rest, r.failed = "", true }

func (r *reader) value(depth int) {
	switch {
	case depth > maxDepth:
		r.fail()
	case r.accept('{'):
		r.sequence('{', '}', func() {
			r.key()
			r.value(depth + 1)
		})
	case r.accept('['):
		r.sequence('[', ']', func() { r.value(depth + 1) })
	default:
		r.scalar(",]}")
	}
}

// sequence reads items with commas between them, up to close.
func (r *reader) sequence(open, end byte, item func()) {
	r.out.WriteByte(open)
	for i := 0; !r.failed && !r.accept(end); i++ {
		if i > 0 {
			if !r.accept(',') {
				r.fail()
				return
			}
			r.out.WriteByte(',')
		}
		item()
	}
	r.out.WriteByte(end)
}

func (r *reader) key() {
	s, ok := r.quoted()
	if !ok {
		var found bool
		s, _, found = strings.Cut(r.rest, ":")
		if !found || strings.ContainsAny(s, "{}[],") || strings.IndexByte(s, quoteByte) >= 0 {
			r.fail()
			return
		}
		r.rest = r.rest[len(s):]
		s = strings.TrimSpace(s)
	}
	if !r.accept(':') || s == "" {
		r.fail()
		return
	}
	r.string(s)
	r.out.WriteByte(':')
}

func (r *reader) string(s string) {
	b, err := json.Marshal(s)
	if err != nil {
		r.fail()
	}
	r.out.Write(b)
}

// scalar reads a string, number, true, false or null up to one of the ends.
func (r *reader) scalar(ends string) {
	if s, ok := r.quoted(); ok {
		r.string(s)
		return
	}
	n := strings.IndexAny(r.rest, ends)
	if n < 0 {
		r.fail()
		return
	}
	word := strings.TrimSpace(r.rest[:n])
	if word == "" || strings.IndexByte(word, quoteByte) >= 0 {
		r.fail()
		return
	}
	r.rest = r.rest[n:]
	if json.Valid([]byte(word)) {
		r.out.WriteString(word)
		return
	}
	r.string(word)
}

// quoted reads a string between quote tokens, or one of JSON's.
func (r *reader) quoted() (string, bool) {
	if r.accept(quoteByte) {
		n := strings.IndexByte(r.rest, quoteByte)
		if n < 0 {
			r.fail()
			return "", true
		}
		s := r.rest[:n]
		r.rest = r.rest[n+1:]
		return s, true
	}
	if r.rest == "" || r.rest[0] != '"' {
		return "", false
	}
	d := json.NewDecoder(strings.NewReader(r.rest))
	var s string
	if d.Decode(&s) != nil {
		return "", false
	}
	r.rest = r.rest[d.InputOffset():]
	return s, true
}
