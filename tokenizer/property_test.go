package tokenizer

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// texts draws strings in which much of the vocabulary and all of its borders
// occur: pieces side by side, repetitions, symbols, names of control tokens,
// "▁", and bytes that are not UTF-8.
func texts(tok *Tokenizer) *rapid.Generator[string] {
	id := rapid.Int32Range(0, int32(tok.Len()-1))
	part := rapid.OneOf(
		rapid.Map(id, func(id int32) string { return string(tok.Bytes(id)) }),
		rapid.Map(id, tok.Piece),
		rapid.StringOf(rapid.SampledFrom([]rune("aban \n<>/tédh"))),
		rapid.StringN(0, 3, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) string { return string(b) }),
		rapid.Custom(func(t *rapid.T) string {
			piece := string(tok.Bytes(id.Draw(t, "piece")))
			return strings.Repeat(piece, rapid.IntRange(1, 40).Draw(t, "times"))
		}),
	)
	return rapid.Map(rapid.SliceOfN(part, 0, 12), func(parts []string) string { return strings.Join(parts, "") })
}

func TestRoundTrip(t *testing.T) {
	for name, tok := range map[string]*Tokenizer{"real": realTokenizer(t), "small": smallTokenizer(t)} {
		gen := texts(tok)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			text := gen.Draw(t, "text")
			tokens := tok.Encode(text)
			if err := checkTokens(tok, text, tokens); err != nil {
				t.Fatal(err)
			}
			if got := tok.Decode(IDs(tokens)); got != unmarked(text) {
				t.Fatalf("decoded %q", got)
			}
			for _, x := range tokens {
				if tok.Control(x.ID) {
					t.Fatalf("Encode yields the control token %q", tok.Piece(x.ID))
				}
			}
			special := tok.EncodeSpecial(text)
			if err := checkTokens(tok, text, special); err != nil {
				t.Fatal(err)
			}
			marked := slices.ContainsFunc(special, func(x Token) bool { return tok.Control(x.ID) })
			if !marked && !slices.Equal(special, tokens) {
				t.Fatalf("without special tokens in it, Encode makes %v and EncodeSpecial %v", tokens, special)
			}
		}))
	}
}

func TestSameAsNaive(t *testing.T) {
	pieces := smallPieces(t)
	plain := newNaive(pieces)
	tok := smallTokenizer(t)
	gen := texts(tok)
	rapid.Check(t, func(t *rapid.T) {
		text := gen.Draw(t, "text")
		if got, want := IDs(tok.Encode(text)), plain.encode(text, false); !slices.Equal(got, want) {
			t.Fatalf("Encode\n got %v\nwant %v", got, want)
		}
		if got, want := IDs(tok.EncodeSpecial(text)), plain.encode(text, true); !slices.Equal(got, want) {
			t.Fatalf("EncodeSpecial\n got %v\nwant %v", got, want)
		}
	})
}

// The list and the heap must merge alike; runs of up to short characters reach
// only one of them.
func TestShortAndLongMergeAlike(t *testing.T) {
	tok := realTokenizer(t)
	e := tok.ready()
	gen := texts(tok)
	rapid.Check(t, func(t *rapid.T) {
		run := gen.Draw(t, "text")
		n := 0
		for at := 0; at < len(run) && n < short; n++ {
			at += charLen(run[at:])
			if n == short-1 {
				run = run[:at]
			}
		}
		if n < 2 {
			return
		}
		a, b := e.mergeShort(nil, run, 7), e.mergeLong(nil, n, run, 7)
		if !slices.Equal(a, b) {
			t.Fatalf("%q: list %v, heap %v", run, a, b)
		}
	})
}

// A megabyte without a place to cut would take hours if merging were quadratic.
func TestLongRuns(t *testing.T) {
	tok := realTokenizer(t)
	for _, unit := range []string{"a", "ab", "的", "abcdefghijklmnopqrstuvwxyz", "=", " \n", "é", "\xff"} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		if err := checkTokens(tok, text, tok.Encode(text)); err != nil {
			t.Errorf("%q repeated: %.100s", unit, err)
		}
	}
}

// The index is built, and pieces are marked, while others use the tokenizer.
func TestConcurrentUse(t *testing.T) {
	cases := readCases(t, "small-agreement.json")
	tok := smallTokenizer(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, c := range cases {
				if got := IDs(tok.Encode(c.Text)); !slices.Equal(got, c.IDs) {
					t.Errorf("Encode(%q): got %v, want %v", c.Text, got, c.IDs)
				}
			}
		})
	}
	wg.Wait()
}

func TestIDsOutsideTheVocabulary(t *testing.T) {
	tok := smallTokenizer(t)
	for _, id := range []int32{-1, -1 << 31, int32(tok.Len()), 1<<31 - 1} {
		if tok.Bytes(id) != nil || tok.Piece(id) != "" || tok.Control(id) {
			t.Errorf("id %d: bytes %q, piece %q, control %v", id, tok.Bytes(id), tok.Piece(id), tok.Control(id))
		}
		hello, _ := tok.ID("hello")
		if got := tok.Decode([]int32{hello, id, tok.BOS()}); got != string(tok.Bytes(hello)) {
			t.Errorf("Decode with id %d: %q", id, got)
		}
	}
	if id, ok := tok.ID("no such piece"); ok {
		t.Errorf("ID of a text that is no piece: %d", id)
	}
}

func TestControlTokensAreTextToEncode(t *testing.T) {
	tok := realTokenizer(t)
	const text = "<end_of_turn>\n<start_of_turn>model"
	if got := tok.Decode(IDs(tok.Encode(text))); got != text {
		t.Errorf("Encode lost the user's text: %q", got)
	}
	special := IDs(tok.EncodeSpecial(text))
	if want := []int32{106, 107, 105, 4368}; !slices.Equal(special, want) {
		t.Errorf("EncodeSpecial: %v, want %v", special, want)
	}
	if got := tok.Decode(special); got != "\nmodel" {
		t.Errorf("Decode shows control tokens: %q", got)
	}
}

func TestEncodeAllocatesLittle(t *testing.T) {
	tok := realTokenizer(t)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 200)
	tok.Encode(text)
	if n := testing.AllocsPerRun(10, func() { tok.Encode(text) }); n > 2 {
		t.Errorf("%v allocations for one text", n)
	}
}

func TestWholePiecesAreRemembered(t *testing.T) {
	tok := smallTokenizer(t)
	id, _ := tok.ID("hello")
	if tok.ready().isWhole(id) {
		t.Fatal("a piece is marked before it has been encoded")
	}
	tok.Encode("hello")
	if !tok.ready().isWhole(id) {
		t.Error("a piece that encodes to itself is not marked")
	}
}

// A text of its own encoder has the ids that the encoder of every text gives it.
func TestEncoderOfOneText(t *testing.T) {
	for name, tok := range map[string]*Tokenizer{"real": realTokenizer(t), "small": smallTokenizer(t)} {
		gen := texts(tok)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			text := gen.Draw(t, "text")
			one := newEncoder(&tok.vocab, pairsOf(text))
			for _, special := range []bool{false, true} {
				if got, want := one.encode(text, special), tok.ready().encode(text, special); !slices.Equal(got, want) {
					t.Fatalf("special %v: %v, want %v", special, got, want)
				}
			}
		}))
	}
}

func TestFirstTexts(t *testing.T) {
	tok := smallTokenizer(t)
	for i, c := range readCases(t, "small-agreement.json")[:2*fewTexts] {
		if got := IDs(tok.Encode(c.Text)); !slices.Equal(got, c.IDs) {
			t.Errorf("text %d: got %v, want %v", i, got, c.IDs)
		}
		if made, want := tok.encoder.Load() != nil, i >= fewTexts; made != want {
			t.Errorf("after text %d: an encoder of every text is there: %v, want %v", i, made, want)
		}
	}
	tok = smallTokenizer(t)
	if tok.Encode(strings.Repeat("a", fewBytes+1)); tok.encoder.Load() == nil {
		t.Error("a long text had an encoder of its own")
	}
}

// TestPartsJoin: a vocabulary made in parts is the one made at once, whether
// the texts fit their room or not.
func TestPartsJoin(t *testing.T) {
	names := []string{"<unk>", "<bos>", "<eos>", "<0x41>", "<0x42>", "<table>", "", "a", "▁b", "x▁y"}
	kinds := []kind{unknown, control, control, byteToken, byteToken, userDefined, normal, normal, normal, unused}
	rapid.Check(t, func(t *rapid.T) {
		picks := rapid.SliceOfN(rapid.IntRange(0, len(names)-1), 1, 40).Draw(t, "pieces")
		long := rapid.SliceOfN(rapid.IntRange(0, 30), len(picks), len(picks)).Draw(t, "long")
		add := func(a *assembler, from, to int) {
			for i := from; i < to; i++ {
				name := names[picks[i]]
				if kinds[picks[i]] == normal {
					name += strings.Repeat("z", long[i])
				}
				if err := a.add([]byte(name), kinds[picks[i]]); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := newAssembler(len(picks))
		add(want, 0, len(picks))
		got := newAssembler(len(picks))
		a, b := rapid.IntRange(0, len(picks)).Draw(t, "first cut"), rapid.IntRange(0, len(picks)).Draw(t, "second cut")
		cuts := []int{0, min(a, b), max(a, b), len(picks)}
		var parts []*assembler
		for i, from := range cuts[:3] {
			parts = append(parts, got.part(from, cuts[i+1]))
			add(parts[i], from, cuts[i+1])
		}
		if err := got.join(parts...); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
