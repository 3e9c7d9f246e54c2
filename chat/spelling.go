package chat

import "strings"

// Spelled parses an answer that comes as text with its control tokens spelled
// out, as other programs give it: there is no telling then what was a token
// and what was text that looks like one.
type Spelled struct {
	parser  *Parser
	waiting string // the beginning of a marker, perhaps
}

// NewSpelled makes a parser for the text of one answer. inThought is the
// prompt's [Prompt.InThought].
func (t *Template) NewSpelled(inThought bool) *Spelled {
	return &Spelled{parser: t.parser(inThought)}
}

// Write takes the next piece of text, cut anywhere, and returns what is known
// now.
func (s *Spelled) Write(piece string) []Event {
	rest := s.waiting + piece
	for !s.parser.plain {
		at, marker := firstMarker(rest)
		if marker == "" {
			break
		}
		s.parser.text(rest[:at])
		s.parser.marker(marker)
		rest = rest[at+len(marker):]
	}
	at := len(rest)
	if !s.parser.plain {
		at -= unfinished(rest)
	}
	s.parser.text(rest[:at])
	s.waiting = rest[at:]
	return s.parser.take()
}

// Close ends the answer and returns what was held back.
func (s *Spelled) Close() []Event {
	s.parser.text(s.waiting)
	s.waiting = ""
	return s.parser.Close()
}

func firstMarker(s string) (int, string) {
	for at := strings.IndexByte(s, '<'); at >= 0 && at < len(s); {
		for _, m := range markers {
			if strings.HasPrefix(s[at:], m) {
				return at, m
			}
		}
		next := strings.IndexByte(s[at+1:], '<')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return 0, ""
}

// unfinished is how much of the end of s may be the beginning of a marker.
func unfinished(s string) int {
	at := strings.LastIndexByte(s, '<')
	if at < 0 {
		return 0
	}
	for _, m := range markers {
		if len(s)-at < len(m) && strings.HasPrefix(m, s[at:]) {
			return len(s) - at
		}
	}
	return 0
}
