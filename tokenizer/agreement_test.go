package tokenizer

import (
	"slices"
	"testing"
)

// The oracle is the SentencePiece library; see testdata/README.md.
func TestAgreesWithSentencePiece(t *testing.T) {
	t.Run("real", func(t *testing.T) { checkAgreement(t, realTokenizer(t), "agreement.json") })
	t.Run("small", func(t *testing.T) { checkAgreement(t, smallTokenizer(t), "small-agreement.json") })
}

func checkAgreement(t *testing.T, tok *Tokenizer, name string) {
	cases := readCases(t, name)
	if len(cases) < 600 {
		t.Fatalf("%s has %d cases", name, len(cases))
	}
	for _, c := range cases {
		tokens := tok.Encode(c.Text)
		if got := IDs(tokens); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q)\n got %v\nwant %v", c.Text, got, c.IDs)
		}
		if err := checkTokens(tok, c.Text, tokens); err != nil {
			t.Error(err)
		}
		if got := tok.Decode(c.IDs); got != unmarked(c.Text) {
			t.Errorf("Decode: got %q, want %q", got, c.Text)
		}
		tokens = tok.EncodeSpecial(c.Text)
		if got := IDs(tokens); !slices.Equal(got, c.Special) {
			t.Errorf("EncodeSpecial(%q)\n got %v\nwant %v", c.Text, got, c.Special)
		}
		if err := checkTokens(tok, c.Text, tokens); err != nil {
			t.Error(err)
		}
	}
}

// The oracle is the tokenizers library, which recognises <bos> in a text too.
func TestAgreesWithTokenizers(t *testing.T) {
	tok := realTokenizer(t)
	for _, c := range readCases(t, "golden.json") {
		if got := IDs(tok.EncodeSpecial(c.Text)); !slices.Equal(got, c.IDs) {
			t.Errorf("EncodeSpecial(%q)\n got %v\nwant %v", c.Text, got, c.IDs)
		}
	}
}

func TestRealVocabulary(t *testing.T) {
	tok := realTokenizer(t)
	if tok.Len() != 262144 || tok.BOS() != 2 || !slices.Equal(tok.EOS(), []int32{1, 106}) || !tok.AddBOS() || tok.AddEOS() {
		t.Errorf("Len %d, BOS %d, EOS %v, AddBOS %v, AddEOS %v", tok.Len(), tok.BOS(), tok.EOS(), tok.AddBOS(), tok.AddEOS())
	}
	if tok.ranks != nil {
		t.Error("the ids of Gemma's vocabulary order merges, a table of ranks was made nevertheless")
	}
	control := 0
	for id := range int32(tok.Len()) {
		if got, ok := tok.ID(tok.Piece(id)); !ok || got != id {
			t.Fatalf("ID(%q) = %d, %v, want %d", tok.Piece(id), got, ok, id)
		}
		if tok.Control(id) {
			control++
		}
	}
	// The 6,249 of the file, and [multimodal], <start_of_image>, <end_of_image>.
	if control != 6252 {
		t.Errorf("%d control tokens", control)
	}
	for id, want := range map[int32][2]string{
		138: {"▁▁", "  "}, 107: {"\n", "\n"}, 464: {"<0xE2>", "\xe2"}, 106: {"<end_of_turn>", "<end_of_turn>"}, 168: {"<table>", "<table>"}, 506: {"▁the", " the"},
	} {
		if tok.Piece(id) != want[0] || string(tok.Bytes(id)) != want[1] {
			t.Errorf("token %d: piece %q, bytes %q, want %q", id, tok.Piece(id), tok.Bytes(id), want)
		}
	}
}
