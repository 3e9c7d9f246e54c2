package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"lapidary/tokenizer"
)

// sources is what the measured text is assembled from. The same sources make
// the same text.
type sources struct {
	sentences []string // prose of many scripts
	code      []string // lines of Go
	scripts   []script // pieces of the vocabulary, for words outside it
}

// script is pieces that are written in one script, frequent ones first.
type script struct{ starts, parts []string }

// documentSize is about a page: what servers are asked about.
const documentSize = 4 << 10

// documents makes texts of size bytes together, give or take a page.
func (s *sources) documents(size int) []string {
	g := generator{sources: s, Rand: rand.New(rand.NewPCG(1, 2))}
	var all []string
	for size > 0 {
		g.text.Reset()
		for g.text.Len() < documentSize {
			g.paragraph()
		}
		all = append(all, g.text.String())
		size -= g.text.Len()
	}
	return all
}

type generator struct {
	*sources
	*rand.Rand
	text strings.Builder
}

// paragraph is one kind of text: code and prose of both sorts take three
// tenths each, signs the rest.
func (g *generator) paragraph() {
	switch n := g.IntN(10); {
	case n < 3:
		g.listing()
	case n < 6:
		g.prose()
	case n < 9:
		g.words(g.scripts[g.IntN(len(g.scripts))])
	default:
		g.signs()
	}
	g.text.WriteString(strings.Repeat("\n", 1+g.IntN(3)))
}

// listing copies neighbouring lines of code, tabs and all.
func (g *generator) listing() {
	at := g.IntN(len(g.code) - 20)
	for _, line := range g.code[at : at+5+g.IntN(15)] {
		g.text.WriteString(line)
	}
}

// prose has the words of a sentence in any order, so that no line is seen
// twice.
func (g *generator) prose() {
	words := strings.Fields(g.sentences[g.IntN(len(g.sentences))])
	g.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	g.text.WriteString(strings.Join(words, " "))
}

// words puts pieces of a script together: names, loans, typing errors, what no
// vocabulary holds whole.
func (g *generator) words(s script) {
	for range 10 + g.IntN(30) {
		g.text.WriteString(pick(g.Rand, s.starts))
		for range g.IntN(3) {
			g.text.WriteString(pick(g.Rand, s.parts))
		}
	}
}

// pick favours the first, as languages do (Zipf's law).
func pick(r *rand.Rand, from []string) string {
	return from[int(float64(len(from))*r.Float64()*r.Float64()*r.Float64())]
}

// signs are emoji, numbers, punctuation, and spaces in a row.
func (g *generator) signs() {
	for range 10 + g.IntN(20) {
		switch g.IntN(5) {
		case 0:
			g.text.WriteString(strings.Repeat(pick(g.Rand, emoji), 1+g.IntN(2)))
		case 1:
			fmt.Fprintf(&g.text, "%d", g.Uint64()>>g.IntN(64))
		case 2:
			fmt.Fprintf(&g.text, "%#x, %.3g;", g.Uint32(), g.NormFloat64())
		case 3:
			g.text.WriteString(strings.Repeat(pick(g.Rand, marks), 1+g.IntN(8)))
		case 4:
			g.text.WriteString(strings.Repeat(" ", 1+g.IntN(40)))
		}
	}
}

var (
	emoji = []string{"😀", "❤️", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇯🇵", "🫠", "1️⃣", "☺", "🧑‍🤝‍🧑", "🪿"}
	marks = []string{".", "-", "=", "!", "…", "—", "*", "#", "»", "、", "٪", "\t", "∀", "≠", "½"}
)

// gather reads the sources: sentences of the tokenizer's own tests, code of Go's
// standard library, pieces of the vocabulary.
func gather(t *tokenizer.Tokenizer, sentences, goroot string) (*sources, error) {
	s := &sources{scripts: scriptsOf(t)}
	data, err := os.ReadFile(sentences)
	if err != nil {
		return nil, err
	}
	var cases []struct{ Text string }
	if err := json.Unmarshal(data, &cases); err != nil {
		return nil, fmt.Errorf("%s: %w", sentences, err)
	}
	for _, c := range cases {
		if len(strings.Fields(c.Text)) >= 5 && len(t.EncodeSpecial(c.Text)) == len(t.Encode(c.Text)) {
			s.sentences = append(s.sentences, c.Text)
		}
	}
	files, err := filepath.Glob(filepath.Join(goroot, "src/net/http/*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s.code = append(s.code, strings.SplitAfter(string(data), "\n")...)
	}
	if len(s.code) < 100 || len(s.sentences) == 0 || len(s.scripts) == 0 {
		return nil, fmt.Errorf("too little to make a text of: %d lines below %s, %d sentences in %s, %d scripts in the vocabulary",
			len(s.code), goroot, len(s.sentences), sentences, len(s.scripts))
	}
	return s, nil
}

// scriptsOf sorts the vocabulary's pieces that are letters of one script.
func scriptsOf(t *tokenizer.Tokenizer) []script {
	byName := map[string]*script{}
	for id := range int32(t.Len()) {
		piece := string(t.Bytes(id))
		word := strings.TrimPrefix(piece, " ")
		name := scriptOf(word)
		if name == "" || t.Control(id) {
			continue
		}
		s := byName[name]
		if s == nil {
			s = &script{}
			byName[name] = s
		}
		if word == piece {
			s.parts = append(s.parts, piece)
		} else {
			s.starts = append(s.starts, piece)
		}
	}
	var all []script
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if s := byName[name]; len(s.starts) >= 20 && len(s.parts) >= 20 {
			all = append(all, *s)
		}
	}
	return all
}

// scriptOf names the script that all of a word's letters are written in.
func scriptOf(word string) string {
	for name, table := range unicode.Scripts {
		if name != "Common" && name != "Inherited" && word != "" && strings.IndexFunc(word, func(r rune) bool { return !unicode.Is(table, r) }) < 0 {
			return name
		}
	}
	return ""
}
