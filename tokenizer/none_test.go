package tokenizer

import "testing"

func TestNone(t *testing.T) {
	n := None()
	if n.Len() != 0 || n.BOS() != -1 || n.AddBOS() || len(n.EOS()) != 0 {
		t.Errorf("a tokenizer of no tokens has %d, begins with %d and ends with %v", n.Len(), n.BOS(), n.EOS())
	}
	for _, text := range []string{"", "a", " ▁\x00\xff 日本"} {
		if got := n.Encode(text); len(got) != 0 {
			t.Errorf("Encode(%q) = %v, want nothing", text, got)
		}
		if got := n.EncodeSpecial(text); len(got) != 0 {
			t.Errorf("EncodeSpecial(%q) = %v, want nothing", text, got)
		}
	}
	if n.Bytes(0) != nil || n.Piece(5) != "" || n.Decode([]int32{0, 7}) != "" {
		t.Error("an id stands for something")
	}
	if _, ok := n.ID("a"); ok {
		t.Error(`"a" has an id`)
	}
}
