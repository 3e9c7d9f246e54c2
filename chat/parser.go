package chat

import (
	"fmt"
	"slices"
	"strings"

	"lapidary/tokenizer"
)

// EventKind says what a piece of an answer is.
type EventKind int

// The kinds of an [Event].
const (
	Answered EventKind = iota // text for the user
	Thought                   // text of a thought
	Called                    // a whole tool call
)

// Event is a piece of an answer.
type Event struct {
	Kind EventKind
	Text string // of a call, as the model wrote it
	Call ToolCall
}

// Parser takes a model's answer apart while it comes: into thoughts, text and
// tool calls. It never fails and loses no text: a call that is unfinished or
// that cannot be read is given back as text of the answer. What it leaves out
// is the control tokens, and the name and the newlines that stand around a
// thought.
//
// Of families other than Gemma 4 the whole answer is text.
type Parser struct {
	vocabulary vocabulary
	plain      bool // no channels, no calls
	state      state
	held       string          // a newline that may end the thought, or a header that isn't finished
	call       strings.Builder // with quoteByte for quotes
	calls      int
	events     []Event
}

type state int

const (
	inAnswer state = iota
	inHeader       // the name of a channel
	inThought
	inCall
)

const thoughtHeader = "thought\n"

// A call of more bytes than this is given back as text.
const maxCall = 1 << 20

// markers are the control tokens that answers may have.
var markers = []string{
	"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", quoteMark,
	"<|tool_response>", "<tool_response|>", "<|turn>", "<turn|>", "<|think|>",
}

// NewParser makes a parser for one answer. inThought is the prompt's
// [Prompt.InThought].
func (t *Template) NewParser(tok *tokenizer.Tokenizer, inThought bool) *Parser {
	p := t.parser(inThought)
	p.vocabulary = tok
	return p
}

func (t *Template) parser(thinking bool) *Parser {
	p := &Parser{plain: !t.family.tools}
	if thinking && !p.plain {
		p.state = inThought
	}
	return p
}

// Token takes the next token of the answer and the text that it released, and
// returns what is known now. Ordinary text that spells a marker is text.
func (p *Parser) Token(id int32, released string) []Event {
	p.text(released)
	if p.vocabulary.Control(id) {
		p.marker(p.vocabulary.Piece(id))
	}
	return p.take()
}

// Close ends the answer and returns what was held back.
func (p *Parser) Close() []Event {
	p.settle()
	p.state = inAnswer
	return p.take()
}

func (p *Parser) take() []Event {
	events := p.events
	p.events = nil
	return events
}

func (p *Parser) emit(kind EventKind, s string) {
	if s != "" {
		p.events = append(p.events, Event{Kind: kind, Text: s})
	}
}

// text takes ordinary text.
func (p *Parser) text(s string) {
	switch {
	case s == "":
	case p.state == inAnswer:
		p.emit(Answered, s)
	case p.state == inCall:
		p.call.WriteString(strings.ReplaceAll(s, string([]byte{quoteByte}), "\uFFFD"))
		if p.call.Len() > maxCall {
			p.abandon()
		}
	case p.state == inHeader:
		p.header(s)
	default:
		p.thought(s)
	}
}

// header reads a channel's name. There is one channel, of thoughts; another
// name is read as part of it.
func (p *Parser) header(s string) {
	s = p.held + s
	switch {
	case strings.HasPrefix(thoughtHeader, s) && s != thoughtHeader:
		p.held = s
		return
	case strings.HasPrefix(s, thoughtHeader):
		s = s[len(thoughtHeader):]
	}
	p.held, p.state = "", inThought
	p.thought(s)
}

// thought holds back one newline at the end: it may be the one that stands
// before the marker.
func (p *Parser) thought(s string) {
	s, p.held = p.held+s, ""
	if strings.HasSuffix(s, "\n") {
		s, p.held = s[:len(s)-1], "\n"
	}
	p.emit(Thought, s)
}

// marker takes a control token.
func (p *Parser) marker(s string) {
	if p.plain || !slices.Contains(markers, s) {
		return
	}
	if p.state == inCall {
		switch s {
		case quoteMark:
			p.call.WriteByte(quoteByte)
			return
		case "<tool_call|>":
			p.finish()
			return
		}
	}
	if s == quoteMark {
		p.text(s) // outside of a call it can only be meant as text
		return
	}
	if s == "<channel|>" && (p.state == inThought || p.held == strings.TrimSpace(thoughtHeader)) {
		p.held = ""
	}
	p.settle()
	p.state = inAnswer
	switch s {
	case "<|channel>":
		p.state = inHeader
	case "<|tool_call>":
		p.state = inCall
	}
}

// settle gives back what was held.
func (p *Parser) settle() {
	if p.state == inCall {
		p.abandon()
	}
	p.emit(Thought, p.held)
	p.held = ""
}

// finish ends a call.
func (p *Parser) finish() {
	c, err := readCall(p.call.String())
	if err != nil {
		p.abandon()
		return
	}
	c.ID = fmt.Sprintf("call_%d", p.calls)
	p.calls++
	p.events = append(p.events, Event{Kind: Called, Text: p.written(), Call: c})
	p.state = inAnswer
}

// abandon gives a call back as text.
func (p *Parser) abandon() {
	p.emit(Answered, p.written())
	p.state = inAnswer
}

// written is the call as the model wrote it; it is forgotten.
func (p *Parser) written() string {
	s := strings.ReplaceAll(p.call.String(), string([]byte{quoteByte}), quoteMark)
	p.call.Reset()
	return s
}
