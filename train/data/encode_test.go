package data_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"lapidary/chat"
	"lapidary/tokenizer"
	"lapidary/train/data"
)

// small is a vocabulary of bytes and of all control tokens that the built-in
// chat templates write, as a tokenizer.json.
func small(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	vocab := map[string]int{}
	var added []map[string]any
	add := func(piece string) {
		vocab[piece] = len(vocab)
	}
	for _, name := range []string{
		"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>",
		"<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|image|>", "<|audio|>", "<|video|>", `<|"|>`,
	} {
		added = append(added, map[string]any{"id": len(vocab), "content": name, "special": true, "normalized": false})
		add(name)
	}
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b))
	}
	b, err := json.Marshal(map[string]any{
		"version": "1.0", "added_tokens": added,
		"normalizer": map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []any{
			map[string]any{"SpecialToken": map[string]any{"id": "<bos>", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
		}},
		"model": map[string]any{"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true, "vocab": vocab, "merges": []any{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestChatLoss: through the real templates, the assistant's words and the
// tokens that end its turns are learnt, and nothing else.
func TestChatLoss(t *testing.T) {
	tok := small(t)
	conversation := []chat.Message{
		{Role: chat.User, Content: "one"}, {Role: chat.Assistant, Content: "two <end_of_turn> <turn|>"},
		{Role: chat.User, Content: "three"}, {Role: chat.Assistant, Content: "four"}, {Role: chat.User, Content: "five"},
	}
	for _, family := range []string{"gemma", "gemma3", "gemma4", "gemma4-large"} {
		a := data.NewTokenizer(tok, chat.BuiltIn(family))
		ids, loss, err := a.Chat(conversation)
		if err != nil {
			t.Errorf("%s: %v", family, err)
			continue
		}
		var learnt, given strings.Builder
		for i, id := range ids {
			if loss[i] {
				learnt.WriteString(piece(tok, id))
			} else {
				given.WriteString(piece(tok, id))
			}
		}
		end := "<end_of_turn>"
		if strings.HasPrefix(family, "gemma4") {
			end = "<turn|>"
		}
		if want := "two <end_of_turn> <turn|>" + end + "four" + end; learnt.String() != want {
			t.Errorf("%s learns %q, not %q", family, learnt.String(), want)
		}
		if !strings.Contains(given.String(), "one") || !strings.Contains(given.String(), "three") || strings.Contains(given.String(), "five") {
			t.Errorf("%s is given %q", family, given.String())
		}
	}
}

// piece is a control token's name, or the text.
func piece(tok *tokenizer.Tokenizer, id int32) string {
	if tok.Control(id) {
		return tok.Piece(id)
	}
	return string(tok.Bytes(id))
}

func TestTokenizerAdapter(t *testing.T) {
	tok := small(t)
	plain, gemma3 := data.NewTokenizer(tok, nil), data.NewTokenizer(tok, chat.BuiltIn("gemma3"))
	if _, _, err := plain.Chat([]chat.Message{{Role: chat.User, Content: "x"}, {Role: chat.Assistant, Content: "y"}}); err == nil {
		t.Error("a conversation without a template was written")
	}
	if plain.BOS() != 2 || plain.EOS() != 1 {
		t.Errorf("BOS %d, EOS %d", plain.BOS(), plain.EOS())
	}
	if got := plain.Encode("a<eos>"); len(got) != 6 {
		t.Errorf("a control token's name in a text became %d tokens", len(got))
	}
	if plain.Fingerprint() == gemma3.Fingerprint() || gemma3.Fingerprint() == data.NewTokenizer(tok, chat.BuiltIn("gemma4")).Fingerprint() {
		t.Error("different templates have one fingerprint")
	}
	if plain.Fingerprint() != data.NewTokenizer(small(t), nil).Fingerprint() {
		t.Error("one tokenizer has two fingerprints")
	}
}
