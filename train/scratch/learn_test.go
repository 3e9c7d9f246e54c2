package scratch

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lapidary/tokenizer"
)

var update = flag.Bool("update", false, "write testdata/tokenizer.json again")

// learnt is the vocabulary of testdata/texts.txt.
func learnt(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/texts.txt")
	if err != nil {
		t.Fatal(err)
	}
	out, err := Learn(slices.Values([]string{string(text[:700]), string(text[700:])}), 450, threeForm.special)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLearnGivesTheSameVocabularyAgain(t *testing.T) {
	got := learnt(t)
	if *update {
		if err := os.WriteFile("testdata/tokenizer.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("testdata/tokenizer.json is other than what is learnt from testdata/texts.txt")
	}
}

func TestIDsAreThoseOfHuggingFace(t *testing.T) {
	data, err := os.ReadFile("testdata/ids.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text, Back string
		IDs        []int32
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	tok := open(t, learnt(t))
	if len(cases) < 20 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		if got := tokenizer.IDs(tok.Encode(c.Text)); !slices.Equal(got, c.IDs) {
			t.Errorf("%q: %v, want %v", c.Text, got, c.IDs)
		}
		if got := tok.Decode(c.IDs); got != c.Back {
			t.Errorf("%v: %q, want %q", c.IDs, got, c.Back)
		}
	}
}

func open(t testing.TB, text []byte) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.FromJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestSpecialTokensHaveGemmasIDs(t *testing.T) {
	tok := open(t, learnt(t))
	for id, name := range []string{"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"} {
		if got := tok.Piece(int32(id)); got != name || !tok.Control(int32(id)) {
			t.Errorf("%d is %q, control %v; want %q", id, got, tok.Control(int32(id)), name)
		}
	}
	if got := tok.Piece(6 + 0xe2); got != "<0xE2>" {
		t.Errorf("byte 0xE2 is %q", got)
	}
	if tok.BOS() != 2 || !slices.Equal(tok.EOS(), []int32{1, 5}) || !tok.AddBOS() {
		t.Errorf("bos %d, eos %v", tok.BOS(), tok.EOS())
	}
	if tok.Len() != 450 {
		t.Errorf("%d pieces, want 450", tok.Len())
	}
}

func TestAnyBytesComeBack(t *testing.T) {
	tok := open(t, learnt(t))
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		if got := tok.Decode(tokenizer.IDs(tok.Encode(text))); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}

// naive counts every pair again for every merge.
func naive(chunks []chunk, room int) []string {
	l := newLearner(chunks, room)
	for len(l.names) < room {
		counts := map[pair]int64{}
		for _, w := range l.words {
			for j := 1; j < len(w.symbols); j++ {
				counts[pair{w.symbols[j-1], w.symbols[j]}] += w.count
			}
		}
		var all []entry
		for p, n := range counts {
			if n >= rarest && allowed(l.names[p.left]+l.names[p.right]) {
				all = append(all, entry{n, p})
			}
		}
		if len(all) == 0 {
			break
		}
		best := slices.MinFunc(all, func(a, b entry) int {
			return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
		})
		to := l.symbol(l.names[best.left] + l.names[best.right])
		for i := range l.words {
			l.words[i].symbols = merged(l.words[i].symbols, best.pair, to)
		}
	}
	return l.names
}

func merged(symbols []int32, p pair, to int32) []int32 {
	var out []int32
	for j := 0; j < len(symbols); j++ {
		if j+1 < len(symbols) && symbols[j] == p.left && symbols[j+1] == p.right {
			out = append(out, to)
			j++
		} else {
			out = append(out, symbols[j])
		}
	}
	return out
}

// Few letters make many repetitions, which is where counts go wrong: the third
// a of aaa, words that have a pair twice, pieces with two ways to be made.
func TestLearningIsCountingAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringMatching(`[ab c-d1.\n]{0,60}`), 1, 8).Draw(t, "texts")
		room := rapid.IntRange(2, 60).Draw(t, "room")
		counted := countChunks(slices.Values(texts))
		l := newLearner(counted, room)
		for len(l.names) < room && l.step() {
		}
		if want := naive(counted, room); !slices.Equal(l.names, want) {
			t.Fatalf("learnt %q, want %q", l.names, want)
		}
	})
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"one  two", []string{"one", "  two"}},
		{"a1b22 3", []string{"a", "1", "b", "2", "2", " ", "3"}},
		{"don't (x)", []string{"don", "'", "t", " (", "x", ")"}},
		{"\n\n\tx \n", []string{"\n\n", "\t", "x", " ", "\n"}},
		{"\xff\xfe é", []string{"\xff\xfe", " é"}},
	} {
		if got := slices.Collect(chunks(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestLearnRefuses(t *testing.T) {
	for want, f := range map[string]func() error{
		"from_scratch: a vocabulary of 200 pieces has no room beside 6 special tokens and 256 bytes; ask for at least 300": func() error {
			_, err := Learn(slices.Values([]string{"x"}), 200, threeForm.special)
			return err
		},
		"from_scratch: the texts that a tokenizer is to be learnt from are empty": func() error {
			_, err := Learn(slices.Values([]string{""}), 400, threeForm.special)
			return err
		},
	} {
		if got := fmt.Sprint(f()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
