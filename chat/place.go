package chat

import (
	"fmt"
	"strings"
)

// Mark is where a user's text says that media of a type stand: <image>,
// <audio>, <video>.
func Mark(mediaType string) string { return "<" + mediaType + ">" }

// Place puts media into a text that a user typed. Where the text has the mark
// of a type, there must be as many as there are media of that type, and they
// take those places in order. Media of a type without a mark stand before the
// text, in order. Marks of types of which there are no media stay text.
func Place(typed string, media ...Part) ([]Part, error) {
	queue := map[string][]Part{}
	var front []Part
	for _, p := range media {
		if strings.Contains(typed, Mark(p.Type)) {
			queue[p.Type] = append(queue[p.Type], p)
		} else {
			front = append(front, p)
		}
	}
	for t, parts := range queue {
		if n := strings.Count(typed, Mark(t)); n != len(parts) {
			return nil, fmt.Errorf("the prompt has %s %d times, for %d of that type: write it once for each, or not at all", Mark(t), n, len(parts))
		}
	}
	return cut(front, typed, queue), nil
}

// cut appends the text and the media that stand in it to parts.
func cut(parts []Part, typed string, queue map[string][]Part) []Part {
	for {
		at, next := len(typed), ""
		for t := range queue {
			if i := strings.Index(typed, Mark(t)); i >= 0 && i < at {
				at, next = i, t
			}
		}
		if at > 0 {
			parts = append(parts, Part{Type: Text, Text: typed[:at]})
		}
		if next == "" {
			return parts
		}
		parts = append(parts, queue[next][0])
		queue[next] = queue[next][1:]
		typed = typed[at+len(Mark(next)):]
	}
}
