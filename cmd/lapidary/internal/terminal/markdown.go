package terminal

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	gmtext "github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// block is a top-level piece of a document: a paragraph, a list, a table.
type block struct {
	start int // of its first line in the source; 0 if unknown
	lines []line
	// settled: what is shown of the block doesn't change when it grows, but
	// for its last lines. A table's columns get wider with every row.
	settled bool
}

// markdown renders CommonMark with tables, strikethrough and task lists. It is
// goldmark's parser with a renderer to terminal lines; glamour, which does
// both, costs 12 ms and 6.5 MB at every start of the program.
type markdown struct {
	parser parser.Parser
	source []byte
	width  int
}

func newMarkdown() *markdown {
	gm := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.TaskList))
	return &markdown{parser: gm.Parser()}
}

// render parses the document and renders its blocks for a terminal so wide.
func (m *markdown) render(source string, width int) []block {
	m.source = []byte(source)
	m.width = max(width, 1)
	var blocks []block
	doc := m.parser.Parse(gmtext.NewReader(m.source))
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		_, table := n.(*extast.Table)
		if lines := m.block(n, m.width); len(lines) > 0 {
			blocks = append(blocks, block{m.start(n), lines, !table})
		}
	}
	return blocks
}

// start is where a block's first line starts. A table that was split off a
// paragraph has the paragraph's position, so its first cell's is taken.
func (m *markdown) start(n ast.Node) int {
	at := n.Pos()
	if _, ok := n.(*extast.Table); ok {
		at = 0
		_ = ast.Walk(n, func(n ast.Node, _ bool) (ast.WalkStatus, error) { // the error is its function's
			if t, ok := n.(*ast.Text); ok {
				at = t.Segment.Start
				return ast.WalkStop, nil
			}
			return ast.WalkContinue, nil
		})
	}
	return bytes.LastIndexByte(m.source[:min(max(at, 0), len(m.source))], '\n') + 1
}

var (
	headingStyle = style{}.with(bold).in(cyan)
	codeStyle    = style{}.in(yellow)
	linkStyle    = style{}.with(underline)
	faintStyle   = style{}.with(dim)
)

// block renders one block and what is in it.
func (m *markdown) block(n ast.Node, width int) []line {
	switch n := n.(type) {
	case *ast.Heading:
		st := headingStyle
		if n.Level == 1 {
			st = st.with(underline)
		}
		return wrap(m.inline(n, st), width)
	case *ast.Paragraph, *ast.TextBlock:
		return wrap(m.inline(n, style{}), width)
	case *ast.List:
		return m.list(n, width)
	case *ast.Blockquote:
		bar := line{{"│ ", faintStyle}}
		return indent(m.children(n, width-2), bar, bar)
	case *ast.FencedCodeBlock:
		return m.code(string(n.Language(m.source)), n, width)
	case *ast.CodeBlock:
		return m.code("", n, width)
	case *ast.HTMLBlock:
		lines := m.raw(n)
		if n.HasClosure() {
			lines = append(lines, strings.TrimRight(string(n.ClosureLine.Value(m.source)), "\n"))
		}
		return plainLines(lines)
	case *ast.ThematicBreak:
		return []line{{{strings.Repeat("─", min(width, 40)), faintStyle}}}
	case *extast.Table:
		return m.table(n, width)
	}
	return m.children(n, width)
}

// children renders the blocks in n, with an empty line wherever the source has
// one. That it looks at nothing further on keeps lines as they are while a
// list grows.
func (m *markdown) children(n ast.Node, width int) []line {
	var out []line
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if len(out) > 0 && c.HasBlankPreviousLines() {
			out = append(out, line{})
		}
		out = append(out, m.block(c, width)...)
	}
	return out
}

func (m *markdown) list(n *ast.List, width int) []line {
	var out []line
	number := n.Start
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		marker := "• "
		if n.IsOrdered() {
			marker = fmt.Sprintf("%d%c ", number, n.Marker)
			number++
		}
		lines := m.children(item, width-len([]rune(marker)))
		if lines == nil {
			lines = []line{{}}
		}
		if len(out) > 0 && item.HasBlankPreviousLines() {
			out = append(out, line{})
		}
		pad := strings.Repeat(" ", len([]rune(marker)))
		out = append(out, indent(lines, line{{marker, faintStyle}}, text(pad))...)
	}
	return out
}

// code renders a code block between two rules. Its lines have no margin and
// are not broken, so that they can be copied as they are.
func (m *markdown) code(language string, n ast.Node, width int) []line {
	language = clean(language)
	head := "──"
	if language != "" {
		head += " " + language + " "
	}
	rule := func(s string) line {
		s += strings.Repeat("─", max(0, min(width, 40)-len([]rune(s))))
		return line{{s, faintStyle}}
	}
	lines := m.raw(n)
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\t", "    ")
	}
	out := append([]line{rule(head)}, highlight(language, lines)...)
	return append(out, rule(""))
}

// raw is the source lines of a block that holds text as it is.
func (m *markdown) raw(n ast.Node) []string {
	var out []string
	for _, s := range n.Lines().Sliced(0, n.Lines().Len()) {
		out = append(out, strings.TrimRight(string(s.Value(m.source)), "\r\n"))
	}
	return out
}

func plainLines(lines []string) []line {
	out := make([]line, len(lines))
	for i, l := range lines {
		out[i] = text(strings.ReplaceAll(l, "\t", "    "))
	}
	return out
}

// inline renders what stands in a line of text.
func (m *markdown) inline(n ast.Node, st style) []span {
	var out []span
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		out = append(out, m.span(c, st)...)
	}
	return out
}

func (m *markdown) span(n ast.Node, st style) []span {
	switch n := n.(type) {
	case *ast.Text:
		s := unescape(string(n.Value(m.source)), n.IsRaw())
		switch {
		case n.HardLineBreak():
			s += "\n"
		case n.SoftLineBreak():
			s += " "
		}
		return []span{{s, st}}
	case *ast.String:
		return []span{{string(n.Value), st}}
	case *ast.CodeSpan:
		st.colour = codeStyle.colour
		return []span{{plainOf(m.inline(n, st)), st}}
	case *ast.Emphasis:
		if n.Level >= 2 {
			return m.inline(n, st.with(bold))
		}
		return m.inline(n, st.with(italic))
	case *extast.Strikethrough:
		return m.inline(n, st.with(strike))
	case *extast.TaskCheckBox:
		if n.IsChecked {
			return []span{{"[x] ", st}}
		}
		return []span{{"[ ] ", st}}
	case *ast.Link:
		return m.link(m.inline(n, st.with(linkStyle.attrs)), string(n.Destination), st)
	case *ast.Image:
		return m.link(m.inline(n, st.with(italic)), string(n.Destination), st)
	case *ast.AutoLink:
		return []span{{string(n.URL(m.source)), st.with(linkStyle.attrs)}}
	case *ast.RawHTML:
		var b strings.Builder
		for _, s := range n.Segments.Sliced(0, n.Segments.Len()) {
			b.Write(s.Value(m.source))
		}
		return []span{{b.String(), st}}
	}
	return m.inline(n, st)
}

// link shows where a link leads unless its text says so.
func (m *markdown) link(label []span, to string, st style) []span {
	if to == "" || plainOf(label) == to {
		return label
	}
	return append(label, span{" (" + to + ")", st.with(dim)})
}

func plainOf(spans []span) string { return line(spans).plain() }

// unescape resolves backslashes and entities, which may spell a control
// character even where the source had none.
func unescape(s string, raw bool) string {
	if raw || !strings.ContainsAny(s, `\&`) {
		return s
	}
	b := util.UnescapePunctuations([]byte(s))
	b = util.ResolveNumericReferences(b)
	return clean(string(util.ResolveEntityNames(b)))
}
