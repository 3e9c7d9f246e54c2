package tokenizer

import (
	"os"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/internal/realmodel"
)

// BenchmarkOpen is what a start waits for: 262,144 pieces from a mapped file.
func BenchmarkOpen(b *testing.B) {
	c, err := checkpoint.Open(realmodel.Path(b))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncoder is what the first text adds to that, and what the one does
// with which an encoder of all texts is made.
func BenchmarkEncoder(b *testing.B) {
	tok := realTokenizer(b)
	for name, within := range map[string]*pairs{"prompt": pairsOf("The capital of France is"), "all": allPairs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newEncoder(&tok.vocab, within)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	tok := realTokenizer(b)
	english, err := os.ReadFile("doc.go")
	if err != nil {
		b.Fatal(err)
	}
	var all strings.Builder
	cases := readCases(b, "agreement.json")
	for _, c := range cases {
		all.WriteString(c.Text)
	}
	for name, text := range map[string]string{
		"english": strings.Repeat(string(english), 100),
		"scripts": strings.Repeat(all.String(), 10),
		"chinese": strings.Repeat(cases[23].Text, 2000),
		"one-run": strings.Repeat("ab", 1<<19),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := realTokenizer(b)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000)
	ids := IDs(tok.Encode(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tok.Decode(ids)
	}
}
