package tokenizer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"lapidary/checkpoint"
	"lapidary/internal/realmodel"
)

// realTokenizer is the tokenizer of the real Gemma 3 270M.
func realTokenizer(tb testing.TB) *Tokenizer {
	tb.Helper()
	path := realmodel.Path(tb)
	t, err := openReal(path)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

var (
	realOnce sync.Once
	realTok  *Tokenizer
	realErr  error
)

func openReal(path string) (*Tokenizer, error) {
	realOnce.Do(func() {
		var c *checkpoint.Checkpoint
		if c, realErr = checkpoint.Open(path); realErr != nil {
			return
		}
		if realTok, realErr = Open(c); realErr == nil {
			realErr = c.Close() // the tokenizer must not need it
		}
	})
	return realTok, realErr
}

func smallTokenizer(tb testing.TB) *Tokenizer {
	tb.Helper()
	t, err := FromModel(readTestdata(tb, "small.model"))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func readTestdata(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// agreementCase is an entry of an agreement file; see testdata/agreement.py.
type agreementCase struct {
	Text    string
	Hex     string
	IDs     []int32
	Special []int32
}

func readCases(tb testing.TB, name string) []agreementCase {
	tb.Helper()
	var cases []agreementCase
	if err := json.Unmarshal(readTestdata(tb, name), &cases); err != nil {
		tb.Fatal(err)
	}
	for i := range cases {
		if raw, err := hex.DecodeString(cases[i].Hex); err == nil {
			cases[i].Text += string(raw)
		}
		if cases[i].Special == nil {
			cases[i].Special = cases[i].IDs
		}
	}
	return cases
}

// testPiece is a piece as a source spells it.
type testPiece struct {
	text  string
	kind  kind
	score float32
}

// smallPieces is the small vocabulary as its tokenizer.model spells it.
func smallPieces(tb testing.TB) []testPiece {
	tb.Helper()
	var pieces []testPiece
	err := eachField(readTestdata(tb, "small.model"), 0, func(x field, base int) error {
		if x.number != 1 {
			return nil
		}
		p := testPiece{kind: normal}
		err := eachField(x.data, base, func(x field, _ int) error {
			switch x.number {
			case 1:
				p.text = string(x.data)
			case 2:
				p.score = math.Float32frombits(uint32(x.num))
			case 3:
				p.kind = kind(x.num)
			}
			return nil
		})
		pieces = append(pieces, p)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return pieces
}

// modelSettings are Gemma's trainer_spec and normalizer_spec, field by field.
type modelSettings struct{ trainer, normaliser map[protowire.Number]uint64 }

func gemmaSettings() modelSettings {
	return modelSettings{
		map[protowire.Number]uint64{3: 2, 41: 2, 42: 1},
		map[protowire.Number]uint64{3: 0, 4: 0},
	}
}

// encodeModel writes a ModelProto.
func encodeModel(pieces []testPiece, s modelSettings) []byte {
	var out []byte
	message := func(number protowire.Number, data []byte) {
		out = protowire.AppendTag(out, number, protowire.BytesType)
		out = protowire.AppendBytes(out, data)
	}
	for _, p := range pieces {
		b := protowire.AppendTag(nil, 1, protowire.BytesType)
		b = protowire.AppendString(b, p.text)
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(p.score))
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		message(1, protowire.AppendVarint(b, uint64(p.kind)))
	}
	for i, fields := range []map[protowire.Number]uint64{s.trainer, s.normaliser} {
		var b []byte
		for number, v := range fields {
			b = protowire.AppendTag(b, number, protowire.VarintType)
			b = protowire.AppendVarint(b, v)
		}
		message(protowire.Number(2+i), b)
	}
	return out
}

// smallMetadata is the small vocabulary as GGUF files spell it, changed by edit.
func smallMetadata(tb testing.TB, edit func(map[string]any)) *checkpoint.Metadata {
	tb.Helper()
	var tokens []string
	var scores []float32
	var types []int32
	for _, p := range smallPieces(tb) {
		if p.kind == userDefined {
			// llama.cpp's converter spells them with spaces.
			p.text = string(appendPlain(nil, []byte(p.text)))
		}
		tokens = append(tokens, p.text)
		scores = append(scores, p.score)
		types = append(types, int32(p.kind))
	}
	m := map[string]any{
		"general.architecture":            "gemma3",
		"tokenizer.ggml.model":            "llama",
		"tokenizer.ggml.tokens":           tokens,
		"tokenizer.ggml.scores":           scores,
		"tokenizer.ggml.token_type":       types,
		"tokenizer.ggml.bos_token_id":     uint32(2),
		"tokenizer.ggml.eos_token_id":     uint32(1),
		"tokenizer.ggml.add_bos_token":    true,
		"tokenizer.ggml.add_space_prefix": false,
	}
	if edit != nil {
		edit(m)
	}
	return writeMetadata(tb, m)
}

func writeMetadata(tb testing.TB, m map[string]any) *checkpoint.Metadata {
	tb.Helper()
	var file bytes.Buffer
	if err := checkpoint.WriteGGUF(&file, m, nil); err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "small.gguf")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	c, err := checkpoint.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c.Metadata()
}

// merges lists, as tokenizer.json does, every pair of pieces that makes a
// piece, by the falling score of that piece.
func merges(pieces []testPiece) [][2]string {
	known := map[string]bool{}
	for _, p := range pieces {
		known[p.text] = p.kind == normal || p.kind == userDefined
	}
	byScore := slices.Clone(pieces)
	slices.SortStableFunc(byScore, func(a, b testPiece) int { return int(b.score - a.score) })
	var out [][2]string
	for _, p := range byScore {
		if !known[p.text] {
			continue
		}
		for i := range p.text {
			if known[p.text[:i]] && known[p.text[i:]] {
				out = append(out, [2]string{p.text[:i], p.text[i:]})
			}
		}
	}
	return out
}

// smallJSON is the small vocabulary as a tokenizer.json, changed by edit.
func smallJSON(tb testing.TB, edit func(file, model map[string]any)) []byte {
	tb.Helper()
	pieces := smallPieces(tb)
	vocab := map[string]int{}
	var added []map[string]any
	for id, p := range pieces {
		vocab[p.text] = id
		if p.kind == userDefined || p.kind == control || p.kind == unknown {
			added = append(added, map[string]any{"id": id, "content": p.text, "special": p.kind != userDefined, "normalized": false})
		}
	}
	model := map[string]any{"type": "BPE", "dropout": nil, "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true, "vocab": vocab, "merges": merges(pieces)}
	file := map[string]any{
		"version": "1.0", "truncation": nil, "added_tokens": added,
		"normalizer":    map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"},
		"pre_tokenizer": map[string]any{"type": "Split", "pattern": map[string]any{"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []any{
			map[string]any{"SpecialToken": map[string]any{"id": "<bos>", "type_id": 0}},
			map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
		}},
		"model": model,
	}
	if edit != nil {
		edit(file, model)
	}
	data, err := json.Marshal(file)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// checkTokens fails unless the spans tile text and the tokens stand for it.
func checkTokens(t *Tokenizer, text string, tokens []Token) error {
	at := 0
	for i, x := range tokens {
		if x.From != at || x.To <= x.From || x.To > len(text) {
			return fmt.Errorf("%q: token %d spans %d to %d, the one before ends at %d", text, i, x.From, x.To, at)
		}
		if got := string(t.Bytes(x.ID)); got != unmarked(text[x.From:x.To]) {
			return fmt.Errorf("%q: token %d stands for %q, its span is %q", text, i, got, text[x.From:x.To])
		}
		at = x.To
	}
	if at != len(text) {
		return fmt.Errorf("%q: the tokens end at %d of %d", text, at, len(text))
	}
	return nil
}

// unmarked is a text as it is read: "▁" is a space.
func unmarked(text string) string { return strings.ReplaceAll(text, "▁", " ") }
