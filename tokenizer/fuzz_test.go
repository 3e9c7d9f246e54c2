package tokenizer

import (
	"runtime"
	"slices"
	"strings"
	"testing"
)

// allocated is the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// checkSource uses a tokenizer that came of arbitrary data: whatever its
// vocabulary, its tokens must tile the text and stand for it.
func checkSource(t *testing.T, tok *Tokenizer) {
	t.Helper()
	for id := range int32(tok.Len()) {
		if got, ok := tok.ID(tok.Piece(id)); ok && tok.Piece(got) != tok.Piece(id) {
			t.Errorf("ID(%q) is %d, which is %q", tok.Piece(id), got, tok.Piece(got))
		}
	}
	const text = "the <table> ▁ \xff<end_of_turn>\n\n  x"
	for _, tokens := range [][]Token{tok.Encode(text), tok.EncodeSpecial(text)} {
		if tok.byteFallback && !tok.spacePrefix {
			if err := checkTokens(tok, text, tokens); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzModelProto(f *testing.F) {
	f.Add(readTestdata(f, "small.model"))
	f.Add(encodeModel([]testPiece{{"<unk>", unknown, 0}, {"a", normal, -1}, {"aa", normal, 0}, {"▁", normal, -2}, {"<b>", userDefined, 0}}, gemmaSettings()))
	f.Add([]byte("\x0a\xff\xff\xff\xff\x07"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tok *Tokenizer
		var err error
		if n := allocated(func() { tok, err = FromModel(data) }); n > 1<<16+uint64(len(data))*32 {
			t.Errorf("%d bytes allocated for %d", n, len(data))
		}
		if err == nil {
			checkSource(t, tok)
		}
	})
}

func FuzzTokenizerJSON(f *testing.F) {
	f.Add(smallJSON(f, nil))
	f.Add([]byte(`{"added_tokens":[{"id":0,"content":"<unk>","special":true}],"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},"model":{"type":"BPE","vocab":{"<unk>":0,"a":1,"b":2,"ab":3},"merges":["a b"]}}`))
	f.Add([]byte(`{"model":{"vocab":{"a":2147483647}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tok *Tokenizer
		var err error
		if n := allocated(func() { tok, err = FromJSON(data) }); n > 1<<18+uint64(len(data))*256 {
			t.Errorf("%d bytes allocated for %d", n, len(data))
		}
		if err == nil {
			checkSource(t, tok)
		}
	})
}

func FuzzEncode(f *testing.F) {
	tok := smallTokenizer(f)
	plain := newNaive(smallPieces(f))
	for _, c := range readCases(f, "small-agreement.json")[:100] {
		f.Add(c.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens := tok.Encode(text)
		if err := checkTokens(tok, text, tokens); err != nil {
			t.Error(err)
		}
		if got := tok.Decode(IDs(tokens)); got != unmarked(text) {
			t.Errorf("%q decodes to %q", text, got)
		}
		if err := checkTokens(tok, text, tok.EncodeSpecial(text)); err != nil {
			t.Error(err)
		}
		if one := newEncoder(&tok.vocab, pairsOf(text)); !strings.Contains(text, spaceMark) && !slices.Equal(one.encode(text, true), tok.EncodeSpecial(text)) {
			t.Errorf("%q: an encoder of its own makes %v of it", text, one.encode(text, true))
		}
		if len(text) > 500 {
			return // the naive tokenizer is quadratic
		}
		if want := plain.encode(text, false); !slices.Equal(IDs(tokens), want) {
			t.Errorf("%q: got %v, want %v", text, IDs(tokens), want)
		}
		if got, want := IDs(tok.EncodeSpecial(text)), plain.encode(text, true); !slices.Equal(got, want) {
			t.Errorf("%q with special tokens: got %v, want %v", text, got, want)
		}
	})
}
