package lapidary_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary"
	"lapidary/chat"
	"lapidary/generate"
)

// tuned copies a golden checkpoint into a folder with the words of a tuned
// model: a character a token, control tokens from 100 on, media from 140 on.
func tuned(t *testing.T, name string, more map[string]string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), name+"-it")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("gemma", "testdata", "goldens", name))); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	longer := strings.ReplaceAll(string(config), `"max_position_embeddings": 256`, `"max_position_embeddings": 4096`)
	files := map[string]string{"config.json": longer, "tokenizer.json": tokenizerJSON(t, strings.Contains(name, "gemma4") || strings.Contains(name, "diffusion"))}
	for name, text := range more {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func tokenizerJSON(t *testing.T, four bool) string {
	t.Helper()
	vocab := map[string]int{"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "\n": 99}
	for c := ' '; c <= '~'; c++ {
		vocab[strings.ReplaceAll(string(c), " ", "▁")] = 4 + int(c-' ')
	}
	special := map[string]int{"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
	names := []string{"<start_of_image>", "<end_of_image>", "<image_soft_token>", "<video>", "<a>", "</a>", "<audio_soft_token>"}
	turns := []string{"<start_of_turn>", "<end_of_turn>"}
	if four {
		names = []string{"<|image>", "<image|>", "<|image|>", "<|video|>", "<|audio>", "<audio|>", "<|audio|>"}
		turns = []string{"<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>", "<|tool_response>"}
	}
	for i, n := range turns {
		special[n] = 100 + i
	}
	for i, n := range names {
		special[n] = 140 + i
	}
	var added []map[string]any
	for n, id := range special {
		vocab[n] = id
		added = append(added, map[string]any{"id": id, "content": n, "special": true})
	}
	taken := map[int]bool{}
	for _, id := range vocab {
		taken[id] = true
	}
	for id := range 160 {
		if !taken[id] {
			vocab[fmt.Sprintf("<unused%d>", id)] = id
		}
	}
	slices.SortFunc(added, func(a, b map[string]any) int { return a["id"].(int) - b["id"].(int) })
	text, err := json.Marshal(map[string]any{
		"added_tokens": added,
		"normalizer":   map[string]any{"type": "Replace", "pattern": map[string]string{"String": " "}, "content": "▁"},
		"model":        map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}, "unk_token": "<unk>"},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []any{
			map[string]any{"SpecialToken": map[string]any{"id": "<bos>", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
		}, "special_tokens": map[string]any{"<bos>": map[string]any{"id": "<bos>", "ids": []int{2}, "tokens": []string{"<bos>"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func opened(t *testing.T, folder string, opts ...lapidary.Option) *lapidary.Model {
	t.Helper()
	m, err := lapidary.Open(t.Context(), folder, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// drawing is a picture as the bytes of a PNG.
func drawing(t *testing.T, w, h, seed int) lapidary.Media {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, color.RGBA{uint8(x * seed), uint8(y * 7), uint8(x*y + seed), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return lapidary.Media{Type: chat.Image, Data: b.Bytes()}
}

// tone is a second of sound as the bytes of a WAV file.
func tone() lapidary.Media {
	const rate = 16000
	data := make([]byte, 0, 2*rate)
	for i := range rate {
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(12000*math.Sin(float64(i)*0.17))))
	}
	var b bytes.Buffer
	b.WriteString("RIFF")
	for _, v := range []any{uint32(36 + len(data)), []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate), uint16(2), uint16(16), []byte("data"), uint32(len(data))} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	b.Write(data)
	return lapidary.Media{Type: chat.Audio, Data: b.Bytes()}
}

// film is a moving picture as a GIF file.
func film(t *testing.T) lapidary.Media {
	t.Helper()
	g := &gif.GIF{}
	for i := range 3 {
		img := image.NewPaletted(image.Rect(0, 0, 32, 32), color.Palette{color.Black, color.White, color.RGBA{200, 30, 30, 255}})
		for p := range img.Pix {
			img.Pix[p] = uint8((p / (i + 3)) % 3)
		}
		g.Image, g.Delay = append(g.Image, img), append(g.Delay, 50)
	}
	path := filepath.Join(t.TempDir(), "film.gif")
	f, err := os.Create(path)
	if err == nil {
		err = gif.EncodeAll(f, g)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return lapidary.Video(path)
}

// asked is the prompt of a question about media.
func asked(t *testing.T, m *lapidary.Model, question string, media ...lapidary.Media) lapidary.Prompt {
	t.Helper()
	var parts []chat.Part
	var attached []*lapidary.Attachment
	for _, one := range media {
		a, err := m.Attach(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		parts, attached = append(parts, a.Parts...), append(attached, a)
	}
	parts = append(parts, chat.Part{Type: chat.Text, Text: question})
	var p lapidary.Prompt
	var err error
	if m.Completes() {
		p, err = m.PromptText(parts, attached...)
	} else {
		p, err = m.Prompt(lapidary.Conversation{Messages: []lapidary.Message{{Role: chat.User, Parts: parts}}}, attached...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// answered are the tokens of a greedy answer.
func answered(t *testing.T, s *lapidary.Session, p lapidary.Prompt, n int) ([]int32, *lapidary.Result) {
	t.Helper()
	params := lapidary.Defaults()
	seed := uint64(7)
	params.Temperature, params.MaxTokens, params.Seed = 0, n, &seed
	var ids []int32
	var end *lapidary.Result
	for tok, err := range s.GeneratePrompt(t.Context(), p, params) {
		if err != nil {
			t.Fatal(err)
		}
		ids, end = append(ids, tok.ID), tok.End
	}
	return ids, end
}

var gemma4Files = map[string]string{"processor_config.json": `{
	"image_processor": {"image_processor_type": "Gemma4ImageProcessor", "patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70},
	"video_processor": {"video_processor_type": "Gemma4VideoProcessor", "patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70, "num_frames": 3},
	"feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 16}}`}

var gemma3nFiles = map[string]string{"preprocessor_config.json": `{"image_processor_type": "SiglipImageProcessorFast", "do_normalize": false,
	"size": {"height": 64, "width": 64}, "resample": 2}`}

// TestMedia: pictures, sounds and videos reach the model, on every engine the
// same, and change what it says.
func TestMedia(t *testing.T) {
	for _, c := range []struct {
		golden string
		files  map[string]string
		media  func(t *testing.T) []lapidary.Media
		soft   int
	}{
		{"gemma3_mm", nil, func(t *testing.T) []lapidary.Media {
			return []lapidary.Media{drawing(t, 57, 131, 3), drawing(t, 20, 20, 9), film(t)} // which is three pictures
		}, 5 * 4},
		{"paligemma2", nil, func(t *testing.T) []lapidary.Media { return []lapidary.Media{drawing(t, 57, 31, 3)} }, 16},
		{"gemma3n_picture", gemma3nFiles, func(t *testing.T) []lapidary.Media {
			return []lapidary.Media{drawing(t, 57, 131, 3), drawing(t, 200, 90, 9)}
		}, 8},
		{"gemma4_e2b_mm", gemma4Files, func(t *testing.T) []lapidary.Media {
			return []lapidary.Media{drawing(t, 40, 40, 5), film(t), tone()}
		}, 64 + 3*64 + 25},
	} {
		t.Run(c.golden, func(t *testing.T) {
			folder := tuned(t, c.golden, c.files)
			var want []int32
			for _, e := range []string{"ref", "cpu"} {
				m := opened(t, folder, lapidary.WithEngine(e))
				p := asked(t, m, "What?", c.media(t)...)
				n := 0
				for _, s := range p.Soft {
					n += len(s.Vectors) / 32
				}
				if n != c.soft {
					t.Fatalf("%d soft tokens, want %d", n, c.soft)
				}
				s := m.NewSession()
				defer s.Close()
				got, _ := answered(t, s, p, 6)
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s says %v, ref says %v", e, got, want)
				}
			}
		})
	}
}

// TestPictureSettings: pan and scan shows parts too, a budget bounds soft
// tokens, and a model that has no such thing says so.
func TestPictureSettings(t *testing.T) {
	three, four := opened(t, tuned(t, "gemma3_mm", nil)), opened(t, tuned(t, "gemma4_31b_mm", gemma4Files))
	long := drawing(t, 700, 300, 3)
	long.PanAndScan = true
	a, err := three.Attach(t.Context(), long)
	if err != nil || !slices.Equal(a.Parts[0].Tokens, []int{4, 4, 4}) {
		t.Errorf("pan and scan: %+v, %v", a, err)
	}
	if _, err := four.Attach(t.Context(), long); !errors.Is(err, generate.ErrParams) {
		t.Errorf("pan and scan with Gemma 4: %v", err)
	}
	square := drawing(t, 200, 200, 3)
	square.SoftTokens = 70
	if a, err = four.Attach(t.Context(), square); err != nil || a.Parts[0].Tokens[0] != 64 {
		t.Errorf("a budget of 70: %+v, %v", a, err)
	}
	if _, err := three.Attach(t.Context(), square); !errors.Is(err, generate.ErrParams) {
		t.Errorf("a budget with Gemma 3: %v", err)
	}
	square.SoftTokens = -7
	if _, err := four.Attach(t.Context(), square); !errors.Is(err, generate.ErrParams) {
		t.Errorf("a budget of -7: %v", err)
	}
}

// TestMediaInSessions: the same picture again is not evaluated again, another
// one in its place is.
func TestMediaInSessions(t *testing.T) {
	m := opened(t, tuned(t, "gemma3_mm", nil))
	s := m.NewSession()
	defer s.Close()
	first, other := drawing(t, 40, 40, 3), drawing(t, 40, 40, 11)
	a := asked(t, m, "What?", first)
	at := a.Soft[0].At
	fresh := func(p lapidary.Prompt) []int32 {
		s := m.NewSession()
		defer s.Close()
		ids, _ := answered(t, s, p, 6)
		return ids
	}
	for i, c := range []struct {
		prompt   lapidary.Prompt
		min, max int // cached tokens
	}{
		{a, 0, 0},
		{a, len(a.Tokens) - 1, len(a.Tokens)},
		{asked(t, m, "Why?", first), at + 4, len(a.Tokens)},
		{asked(t, m, "What?", other), 1, at},
	} {
		got, end := answered(t, s, c.prompt, 6)
		if end.CachedTokens < c.min || end.CachedTokens > c.max {
			t.Errorf("prompt %d: %d tokens cached, want %d to %d", i, end.CachedTokens, c.min, c.max)
		}
		if want := fresh(c.prompt); !slices.Equal(got, want) {
			t.Errorf("prompt %d: %v, want %v as in a new session", i, got, want)
		}
	}
}

// TestDeafAndBlind: what a model cannot take is refused in one line.
func TestDeafAndBlind(t *testing.T) {
	text, pictures := opened(t, tuned(t, "gemma3_text", nil)), opened(t, tuned(t, "gemma3_mm", nil))
	broken := lapidary.Media{Type: chat.Image, Data: []byte("GIF89a?")}
	for _, c := range []struct {
		m     *lapidary.Model
		media lapidary.Media
		says  string
	}{
		{text, drawing(t, 8, 8, 1), "takes no pictures"},
		{pictures, tone(), "takes no sound"},
		{text, film(t), "takes no pictures"},
		{pictures, broken, "gif"},
		{pictures, lapidary.Picture("no/such.png"), "no/such.png: no such file"},
		{pictures, lapidary.Media{Type: "smell"}, `media of type "smell"`},
	} {
		_, err := c.m.Attach(t.Context(), c.media)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want one line with %q", err, c.says)
		}
	}
}

// TestOtherWays: encoder–decoders, recurrences and experts answer too, on every
// engine the same, and a second time as the first.
func TestOtherWays(t *testing.T) {
	for _, name := range []string{"t5gemma", "t5gemma2", "recurrent_gemma", "gemma3n_text", "gemma4_moe_text"} {
		t.Run(name, func(t *testing.T) {
			folder := tuned(t, name, nil)
			var want []int32
			for _, e := range []string{"ref", "cpu", "cpu"} {
				m := opened(t, folder, lapidary.WithEngine(e))
				s := m.NewSession()
				defer s.Close()
				for range 2 {
					got, end := answered(t, s, m.PromptTokens(m.Encode("A cat sat.")), 20)
					if want == nil {
						want = got
					}
					if len(got) == 0 || !slices.Equal(got, want) {
						t.Errorf("%s: %v (%+v), want %v", e, got, end, want)
					}
				}
			}
		})
	}
}

// TestBlocks: a diffusion model writes blocks, with one seed the same on one
// engine. (Random weights settle on nothing: the last digits of a sum decide.)
func TestBlocks(t *testing.T) {
	m := opened(t, tuned(t, "diffusion_gemma", nil))
	var want []int32
	for range 2 {
		s := m.NewSession()
		defer s.Close()
		got, end := answered(t, s, m.PromptTokens(m.Encode("A cat sat.")), 20)
		if want == nil {
			want = got
		}
		if len(got) == 0 || !slices.Equal(got, want) || end.Tokens != len(got) {
			t.Errorf("%v (%+v), want %v", got, end, want)
		}
	}
}

// TestBlockParams: what the schedule of a block leaves no place for is refused.
func TestBlockParams(t *testing.T) {
	m := opened(t, tuned(t, "diffusion_gemma", nil))
	for name, change := range map[string]func(p *lapidary.Params){
		"top-k": func(p *lapidary.Params) { p.TopK = 5 }, "top-p": func(p *lapidary.Params) { p.TopP = 0.5 }, "min-p": func(p *lapidary.Params) { p.MinP = 0.1 },
		"a penalty": func(p *lapidary.Params) { p.PresencePenalty = 1 }, "a context shift": func(p *lapidary.Params) { p.ContextShift = true },
	} {
		params := lapidary.Defaults()
		change(&params)
		var got error
		for _, err := range m.Generate(t.Context(), "A cat sat.", params) {
			got = err
		}
		if !errors.Is(got, generate.ErrParams) || !strings.Contains(got.Error(), name) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAssistant: a drafting assistant changes no answer, and is asked.
func TestAssistant(t *testing.T) {
	target := tuned(t, "gemma4_e2b_text", nil)
	for _, name := range []string{"gemma4_assistant", "gemma4_assistant_ordered"} {
		var want []int32
		for _, opts := range [][]lapidary.Option{{lapidary.WithSpeculation(lapidary.NoSpeculation)}, {lapidary.WithDraft(filepath.Join("gemma", "testdata", "goldens", name))}} {
			m := opened(t, target, opts...)
			s := m.NewSession()
			defer s.Close()
			got, end := answered(t, s, m.PromptTokens(m.Encode("A cat sat.")), 60)
			if want == nil {
				want = got
			} else if end.Drafted == 0 {
				t.Logf("%s: nothing was drafted in %d tokens", name, len(got))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
	if _, err := lapidary.Open(t.Context(), tuned(t, "gemma3_text", nil), lapidary.WithDraft("gemma/testdata/goldens/gemma4_assistant")); err == nil || !strings.Contains(err.Error(), "no layer of its kind") && !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("an assistant of another model: %v", err)
	}
}

// TestHeads: a verdict about a picture, classes of a text, tags of its tokens.
func TestHeads(t *testing.T) {
	shield := opened(t, tuned(t, "shieldgemma2", nil))
	v, err := shield.Verdict(t.Context(), asked(t, shield, "No cats.", drawing(t, 30, 30, 2)))
	if err != nil || !shield.Judges() || !(v.Probability > 0 && v.Probability < 1) || v.Violates() != (v.Probability > 0.5) {
		t.Errorf("%+v, %v", v, err)
	}
	for name, n := range map[string]int{"gemma3_seqcls": 1, "t5gemma_tokcls": 6} {
		m := opened(t, tuned(t, name, nil))
		got, err := m.Classify(t.Context(), "A cat")
		if err != nil || len(got) != n {
			t.Fatalf("%s: %d results, %v; want %d", name, len(got), err, n)
		}
		for _, c := range got {
			var sum float64
			for _, p := range c.Probabilities {
				sum += float64(p)
			}
			if math.Abs(sum-1) > 1e-5 {
				t.Errorf("%s: %+v adds up to %v", name, c, sum)
			}
		}
	}
}
