package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
)

// sameTokenizer fails unless two tokenizers agree in all they offer.
func sameTokenizer(t *testing.T, got, want *Tokenizer) {
	t.Helper()
	if got.Len() != want.Len() || got.BOS() != want.BOS() || !slices.Equal(got.EOS(), want.EOS()) ||
		got.AddBOS() != want.AddBOS() || got.AddEOS() != want.AddEOS() {
		t.Errorf("got Len %d, BOS %d, EOS %v, AddBOS %v, AddEOS %v; want %d, %d, %v, %v, %v",
			got.Len(), got.BOS(), got.EOS(), got.AddBOS(), got.AddEOS(), want.Len(), want.BOS(), want.EOS(), want.AddBOS(), want.AddEOS())
	}
	for id := range int32(want.Len()) {
		if got.Piece(id) != want.Piece(id) || got.Control(id) != want.Control(id) || string(got.Bytes(id)) != string(want.Bytes(id)) {
			t.Errorf("token %d: got %q, %v, want %q, %v", id, got.Piece(id), got.Control(id), want.Piece(id), want.Control(id))
		}
	}
	for _, c := range readCases(t, "small-agreement.json") {
		if a, b := got.EncodeSpecial(c.Text), want.EncodeSpecial(c.Text); !slices.Equal(a, b) {
			t.Fatalf("EncodeSpecial(%q)\n got %v\nwant %v", c.Text, a, b)
		}
	}
}

func TestSourcesAgree(t *testing.T) {
	want := smallTokenizer(t)
	t.Run("metadata", func(t *testing.T) {
		got, err := FromMetadata(smallMetadata(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		sameTokenizer(t, got, want)
	})
	t.Run("metadata with merges", func(t *testing.T) {
		got, err := FromMetadata(smallMetadata(t, withMerges(t)))
		if err != nil {
			t.Fatal(err)
		}
		sameTokenizer(t, got, want)
	})
	t.Run("json", func(t *testing.T) {
		got, err := FromJSON(smallJSON(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		sameTokenizer(t, got, want)
	})
	t.Run("json with joined merges", func(t *testing.T) {
		got, err := FromJSON(smallJSON(t, func(_, model map[string]any) { model["merges"] = joinedMerges(t) }))
		if err != nil {
			t.Fatal(err)
		}
		sameTokenizer(t, got, want)
	})
}

func joinedMerges(t *testing.T) []string {
	var joined []string
	for _, m := range merges(smallPieces(t)) {
		joined = append(joined, m[0]+" "+m[1])
	}
	return joined
}

// withMerges spells the vocabulary as Gemma 4's GGUF files do: merges, and
// scores that say nothing.
func withMerges(t *testing.T) func(map[string]any) {
	return func(m map[string]any) {
		m["tokenizer.ggml.model"] = "gemma4"
		m["tokenizer.ggml.scores"] = slices.Repeat([]float32{-1000}, len(m["tokenizer.ggml.scores"].([]float32)))
		m["tokenizer.ggml.merges"] = joinedMerges(t)
	}
}

// Ids need not order the merges: the same pieces under other ids must encode to
// the same pieces, from each source.
func TestIDsInAnyOrder(t *testing.T) {
	pieces := smallPieces(t)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(pieces)-4, func(i, j int) {
		pieces[4+i], pieces[4+j] = pieces[4+j], pieces[4+i]
	})
	shuffled, err := FromModel(encodeModel(pieces, gemmaSettings()))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := FromJSON(shuffledJSON(t, pieces))
	if err != nil {
		t.Fatal(err)
	}
	want := smallTokenizer(t)
	for _, c := range readCases(t, "small-agreement.json") {
		for name, tok := range map[string]*Tokenizer{"model": shuffled, "json": fromJSON} {
			if got := spell(tok, tok.Encode(c.Text)); !slices.Equal(got, spell(want, want.Encode(c.Text))) {
				t.Fatalf("%s: Encode(%q): %q", name, c.Text, got)
			}
		}
	}
}

func shuffledJSON(t *testing.T, pieces []testPiece) []byte {
	return smallJSON(t, func(file, model map[string]any) {
		vocab := map[string]int{}
		for id, p := range pieces {
			vocab[p.text] = id
		}
		model["vocab"] = vocab
		for _, added := range file["added_tokens"].([]map[string]any) {
			added["id"] = vocab[added["content"].(string)]
		}
	})
}

func spell(tok *Tokenizer, tokens []Token) []string {
	var out []string
	for _, x := range tokens {
		out = append(out, tok.Piece(x.ID))
	}
	return out
}

// Equal scores make ties, of which the leftmost merge wins.
func TestEqualScores(t *testing.T) {
	pieces := smallPieces(t)
	for i := range pieces {
		if pieces[i].kind == normal {
			pieces[i].score = -float32(len(pieces[i].text) % 3)
		}
	}
	tok, err := FromModel(encodeModel(pieces, gemmaSettings()))
	if err != nil {
		t.Fatal(err)
	}
	plain := newNaive(pieces)
	for _, c := range readCases(t, "small-agreement.json") {
		if got, want := IDs(tok.Encode(c.Text)), plain.encode(c.Text, false); !slices.Equal(got, want) {
			t.Errorf("Encode(%q)\n got %v\nwant %v", c.Text, got, want)
		}
	}
}

func TestMetadataSettings(t *testing.T) {
	tok, err := FromMetadata(smallMetadata(t, func(m map[string]any) {
		m["tokenizer.ggml.add_bos_token"] = false
		m["tokenizer.ggml.add_eos_token"] = true
		m["tokenizer.ggml.eot_token_id"] = uint32(7)
	}))
	if err != nil {
		t.Fatal(err)
	}
	endOfTurn, _ := tok.ID("<end_of_turn>")
	if tok.AddBOS() || !tok.AddEOS() || !slices.Equal(tok.EOS(), []int32{1, 7, endOfTurn}) {
		t.Errorf("AddBOS %v, AddEOS %v, EOS %v", tok.AddBOS(), tok.AddEOS(), tok.EOS())
	}
}

func TestSpacePrefix(t *testing.T) {
	s := gemmaSettings()
	s.normaliser[3] = 1
	model, err := FromModel(encodeModel(smallPieces(t), s))
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := FromMetadata(smallMetadata(t, func(m map[string]any) { m["tokenizer.ggml.add_space_prefix"] = true }))
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := FromJSON(smallJSON(t, func(file, _ map[string]any) {
		file["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "Prepend", "prepend": "▁"}, file["normalizer"]}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	without := smallTokenizer(t)
	for name, tok := range map[string]*Tokenizer{"model": model, "metadata": metadata, "json": fromJSON} {
		for _, text := range []string{"the fox", " the fox", "", "  ", "<table>", "的"} {
			tokens := tok.Encode(text)
			if text != "" && !slices.Equal(IDs(tokens), IDs(without.Encode(" "+text))) {
				t.Errorf("%s: Encode(%q) = %q", name, text, spell(tok, tokens))
			}
			if n := len(tokens); n > 0 && (tokens[0].From != 0 || tokens[n-1].To != len(text)) {
				t.Errorf("%s: the spans of %q are %v", name, text, tokens)
			}
			if got := tok.Decode(IDs(tokens)); got != text {
				t.Errorf("%s: %q decodes to %q", name, text, got)
			}
		}
	}
}

// Without byte tokens a stretch of unknown characters is one unknown token.
func TestUnknownToken(t *testing.T) {
	var pieces []testPiece
	for _, p := range smallPieces(t) {
		if p.kind != byteToken {
			pieces = append(pieces, p)
		}
	}
	tok, err := FromModel(encodeModel(pieces, gemmaSettings()))
	if err != nil {
		t.Fatal(err)
	}
	tokens := tok.Encode("the ξψω\xff fox")
	if want := []string{"the", "▁", "<unk>", "▁fox"}; !slices.Equal(spell(tok, tokens), want) {
		t.Fatalf("pieces %q, want %q", spell(tok, tokens), want)
	}
	if tokens[2].From != 4 || tokens[2].To != 11 {
		t.Errorf("the unknown token spans %d to %d", tokens[2].From, tokens[2].To)
	}
}

// folder is a Hugging Face folder in memory.
func folder(files map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
}

func TestFolder(t *testing.T) {
	model, tokenizerJSON := string(readTestdata(t, "small.model")), string(smallJSON(t, nil))
	n := smallTokenizer(t).Len()
	config := `{"add_bos_token": false, "add_eos_token": true, "added_tokens_decoder": {"0": {"content": "<pad>"}}}`
	for name, files := range map[string]map[string]string{
		"model": {"tokenizer.model": model, "tokenizer.json": "not read", "added_tokens.json": fmt.Sprintf(`{"<image_soft_token>": %d, "<table>": 20}`, n)},
		"json":  {"tokenizer.json": tokenizerJSON},
	} {
		files["tokenizer_config.json"] = config
		files["generation_config.json"] = `{"eos_token_id": [8, 1], "top_k": 64}`
		a, err := fromFolder(folder(files))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.AddBOS() || !a.AddEOS() || a.EOS()[0] != 1 || !slices.Contains(a.EOS(), 8) {
			t.Errorf("%s: AddBOS %v, AddEOS %v, EOS %v", name, a.AddBOS(), a.AddEOS(), a.EOS())
		}
		if id, ok := a.ID("<image_soft_token>"); name == "model" && (!ok || int(id) != n || !a.Control(id)) {
			t.Errorf("<image_soft_token>: id %d, found %v, control %v", id, ok, a.Control(id))
		}
	}
	if a, err := fromFolder(folder(map[string]string{"tokenizer.model": model, "generation_config.json": `{"eos_token_id": 1}`})); err != nil || !a.AddBOS() {
		t.Errorf("without tokenizer_config.json: %v", err)
	}
}

func TestFolderRefuses(t *testing.T) {
	model := string(readTestdata(t, "small.model"))
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":          {map[string]string{}, "neither tokenizer.model nor tokenizer.json"},
		"bad model":        {map[string]string{"tokenizer.model": "\x0a\xff"}, "tokenizer.model: offset"},
		"bad json":         {map[string]string{"tokenizer.json": "{"}, "tokenizer.json: offset"},
		"gap in the ids":   {map[string]string{"tokenizer.model": model, "added_tokens.json": `{"<x|>": 100000}`}, "the next free one"},
		"bad added tokens": {map[string]string{"tokenizer.model": model, "added_tokens.json": `[]`}, "added_tokens.json"},
		"bad config":       {map[string]string{"tokenizer.model": model, "tokenizer_config.json": `{"add_bos_token": "yes"}`}, "tokenizer_config.json"},
		"eos out of range": {map[string]string{"tokenizer.model": model, "generation_config.json": `{"eos_token_id": 100000}`}, "generation_config.json: a special token has the id 100000"},
	} {
		if _, err := fromFolder(folder(c.files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	broken := func(string) ([]byte, error) { return nil, errors.New("disk on fire") }
	if _, err := fromFolder(broken); err == nil || err.Error() != "disk on fire" {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	header := `{"norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	for name, data := range map[string][]byte{
		"model.safetensors": append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+"\x00\x00\x00\x00"...),
		"config.json":       []byte(`{"model_type": "gemma3_text"}`),
		"tokenizer.model":   readTestdata(t, "small.model"),
		"added_tokens.json": []byte(`{"<image_soft_token>": 756}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tok, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tok.ID("<image_soft_token>"); !ok || id != 756 || tok.Len() != 757 {
		t.Errorf("<image_soft_token> is %d, Len %d", id, tok.Len())
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "no-tokenizer.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(checkpoint.WriteGGUF(f, map[string]any{"general.architecture": "gemma3"}, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := Open(c); err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), "tokenizer.ggml.model") {
		t.Errorf("error %v", err)
	}
}

func TestMetadataRefuses(t *testing.T) {
	set := func(key string, v any) func(map[string]any) {
		return func(m map[string]any) { m["tokenizer.ggml."+key] = v }
	}
	remove := func(key string) func(map[string]any) {
		return func(m map[string]any) { delete(m, "tokenizer.ggml."+key) }
	}
	for _, c := range []struct {
		edit func(map[string]any)
		want string
	}{
		{set("model", "gpt2"), `tokenizer.ggml.model is "gpt2"`},
		{remove("tokens"), "tokenizer.ggml.tokens is missing"},
		{set("tokens", []string{}), "token_type does not have one integer for each of the 0 tokens"},
		{remove("token_type"), "tokenizer.ggml.token_type does not have"},
		{set("token_type", []int32{1, 2, 3}), "tokenizer.ggml.token_type does not have"},
		{func(m map[string]any) { m["tokenizer.ggml.token_type"].([]int32)[5] = 1 << 20 }, "entry 5 is 1048576"},
		{func(m map[string]any) { m["tokenizer.ggml.token_type"].([]int32)[5] = 9 }, "piece 5 has the unknown type 9"},
		{func(m map[string]any) { m["tokenizer.ggml.token_type"].([]int32)[5] = 6 }, "spelled"},
		{set("scores", []float32{1}), "tokenizer.ggml.scores has 1 numbers"},
		{remove("scores"), "neither tokenizer.ggml.scores nor tokenizer.ggml.merges"},
		{set("merges", []string{"a b", "x"}), "entry"},
		{set("merges", []string{"th e", "q q"}), "make no piece"},
		{set("bos_token_id", uint32(1<<31)), "id 2147483648"},
		{set("eos_token_id", uint64(1<<63)), "a special token has the id"},
		{func(m map[string]any) { m["tokenizer.ggml.tokens"].([]string)[7] = strings.Repeat("x", 5000) }, "piece 7 is 5000 bytes long"},
	} {
		_, err := FromMetadata(smallMetadata(t, c.edit))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q in one line", err, c.want)
		}
	}
	if _, err := FromMetadata(nil); err == nil {
		t.Error("no metadata: no error")
	}
}

func TestModelRefuses(t *testing.T) {
	edit := func(f func(*modelSettings)) []byte {
		s := gemmaSettings()
		f(&s)
		return encodeModel(smallPieces(t), s)
	}
	piece := func(p testPiece) []byte { return encodeModel(append(smallPieces(t), p), gemmaSettings()) }
	long := make([]testPiece, 1200)
	for i := range long {
		long[i] = testPiece{text: fmt.Sprintf("%04000d", i), kind: userDefined}
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "model_type is 1"},
		{edit(func(s *modelSettings) { s.trainer[3] = 1 }), "trainer_spec.model_type is 1"},
		{edit(func(s *modelSettings) { s.trainer[24] = 1 }), "treat_whitespace_as_suffix"},
		{edit(func(s *modelSettings) { s.normaliser[4] = 1 }), "remove_extra_whitespaces"},
		{edit(func(s *modelSettings) { s.normaliser[5] = 0 }), "escape_whitespaces"},
		{edit(func(s *modelSettings) { s.trainer[42] = 99999 }), "id 99999"},
		{append(edit(func(*modelSettings) {}), 0x1a, 3, 0x12, 1, 'x'), "character map"},
		{encodeModel(nil, gemmaSettings()), "the id 2, the vocabulary has 0 pieces"},
		{encodeModel(smallPieces(t)[:3], gemmaSettings()), "neither an unknown token nor all 256 byte tokens"},
		{piece(testPiece{"x", unused, 0}), "type 5"},
		{piece(testPiece{"x", 77, 0}), "unknown type 77"},
		{piece(testPiece{"<0xzz>", byteToken, 0}), `spelled "<0xzz>"`},
		{piece(testPiece{strings.Repeat("é", 3000), normal, 0}), "6000 bytes long"},
		{encodeModel(append(smallPieces(t), long...), gemmaSettings()), "take more than 4 MiB"},
		{[]byte("\x0a\x05\x0a\x7fabc"), "offset 3: bad field 1"},
		{[]byte("\x0a\xff\xff\xff\xff\x0f"), "offset 1: bad field 1"},
		{[]byte("{}"), "offset"},
	} {
		_, err := FromModel(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q in one line", err, c.want)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	edit := func(f func(file, model map[string]any)) []byte { return smallJSON(t, f) }
	added := func(key string, v any) []byte {
		return edit(func(file, _ map[string]any) { file["added_tokens"].([]map[string]any)[4][key] = v })
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "offset 0"},
		{[]byte("[]"), "offset 1"},
		{[]byte("{}"), "no model section"},
		{[]byte(`{"model": {"vocab": {"a": 0`), "offset"},
		{[]byte(`{"model": {"vocab": {"a": -1}}}`), `the id of piece "a" is -1`},
		{[]byte(`{"model": {"vocab": {"a": 1e3}}}`), `the id of piece "a" is 1e3`},
		{[]byte(`{"model": {"vocab": {"a": 4000000000}}}`), `the id of piece "a" is 4000000000`},
		{[]byte(`{"model": {"type": "BPE", "vocab": {"a": 2000000000}}}`), "id 2000000000 is out of place"},
		{[]byte(`{"model": {"vocab": ["a"]}}`), "where { should be"},
		{[]byte(`{"model": {"merges": [["a"]]}}`), "a merge has 1 parts"},
		{[]byte(`{"model": {"merges": [[1, 2]]}}`), "where a string should be"},
		{[]byte(`{"model": {"merges": ["a"]}}`), "not two pieces"},
		{[]byte(strings.Repeat(`{"model":`, 20000)), "offset"},
		{[]byte(strings.Repeat(`[`, 1<<20)), "offset"},
		{[]byte(`{"x":` + strings.Repeat(`[`, 1<<20)), "offset"},
		{edit(func(_, m map[string]any) { m["type"] = "Unigram" }), `model.type is "Unigram"`},
		{edit(func(_, m map[string]any) { m["dropout"] = 0.1 }), "model.dropout is 0.1"},
		{edit(func(_, m map[string]any) { m["ignore_merges"] = true }), "ignore_merges"},
		{edit(func(_, m map[string]any) { m["end_of_word_suffix"] = "</w>" }), "end_of_word_suffix"},
		{edit(func(_, m map[string]any) { m["merges"] = [][]string{{"q", "q"}} }), `model.merges: entry 0: "q" and "q" make no piece`},
		{[]byte(`{"model":{"type":"BPE","merges":["a b"]},"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"}}`), "make no piece"},
		{edit(func(f, _ map[string]any) { f["normalizer"] = nil }), "no normalizer"},
		{edit(func(f, _ map[string]any) { f["normalizer"] = map[string]any{"type": "NFC"} }), `normalizer "NFC"`},
		{edit(func(f, _ map[string]any) { f["pre_tokenizer"] = map[string]any{"type": "ByteLevel"} }), `pre_tokenizer "ByteLevel"`},
		{added("lstrip", true), "lstrip"},
		{added("id", -3), "out of place"},
		{added("content", "other"), "is both"},
	} {
		_, err := FromJSON(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: error %v, want %q in one line", c.data, err, c.want)
		}
	}
}

// An id that no piece has takes its place, so that the others keep theirs.
func TestJSONGap(t *testing.T) {
	n := smallTokenizer(t).Len()
	tok, err := FromJSON(smallJSON(t, func(file, _ map[string]any) {
		file["added_tokens"] = append(file["added_tokens"].([]map[string]any), map[string]any{"id": n + 2, "content": "<image_soft_token>", "special": true})
	}))
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tok.ID("<image_soft_token>"); !ok || int(id) != n+2 || tok.Len() != n+3 {
		t.Errorf("id %d, Len %d", id, tok.Len())
	}
	if tok.Piece(int32(n)) != "" || tok.Control(int32(n)) {
		t.Errorf("the id between is %q", tok.Piece(int32(n)))
	}
}
