//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"lapidary/generate/generatetest"
)

// conversation is the command in a terminal that can only go on.
type conversation struct {
	t      *testing.T
	pty    *os.File
	mu     sync.Mutex
	out    strings.Builder
	seen   int // of out
	exited chan error
}

func converse(t *testing.T, args ...string) *conversation {
	t.Helper()
	c := &conversation{t: t, exited: make(chan error, 1)}
	// Under this name the test binary is the command: see TestMain.
	cmd := &exec.Cmd{Path: os.Args[0], Args: append([]string{"lapidary", "run"}, args...)}
	cmd.Env = append(os.Environ(), "TERM=dumb", "LAPIDARY_HOME="+t.TempDir(), "PULSE_SERVER=unix:/nonexistent")
	var err error
	if c.pty, err = pty.Start(cmd); err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	go func() { // ends when the program does
		defer close(copied)
		_, _ = io.Copy(c, c.pty)
	}()
	go func() {
		err := cmd.Wait()
		<-copied
		c.exited <- err
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = c.pty.Close()
	})
	return c
}

func (c *conversation) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.WriteString(strings.ReplaceAll(string(p), "\r", ""))
	return len(p), nil
}

// answer waits for the next prompt and gives what stands before it.
func (c *conversation) answer() string {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		c.mu.Lock()
		all := c.out.String()
		c.mu.Unlock()
		if s, ok := strings.CutSuffix(all[c.seen:], ">>> "); ok {
			c.seen = len(all)
			return s
		}
		if time.Now().After(end) {
			c.t.Fatalf("no prompt after %q", all[c.seen:])
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (c *conversation) say(input string) string {
	c.t.Helper()
	if _, err := io.WriteString(c.pty, input+"\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

// seeing copies a golden checkpoint that sees and hears into a folder, with a
// tokenizer of one character a token.
func seeing(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "tiny-it")
	if err := os.CopyFS(folder, os.DirFS("../../gemma/testdata/goldens/gemma4_e2b_mm")); err != nil {
		t.Fatal(err)
	}
	vocab, added := map[string]int{}, []map[string]any{}
	control := map[int]string{
		0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 100: "<|turn>", 101: "<turn|>", 102: "<|think|>", 103: "<|channel>", 104: "<channel|>",
		140: "<|image>", 141: "<image|>", 142: "<|image|>", 143: "<|video|>", 144: "<|audio>", 145: "<audio|>", 146: "<|audio|>",
	}
	for id := range 160 {
		name, special := control[id]
		switch {
		case special:
			added = append(added, map[string]any{"id": id, "content": name, "special": true})
		case id == 99:
			name = "\n"
		case id < 99:
			name = strings.ReplaceAll(string(rune(' '+id-4)), " ", "▁")
		default:
			name = fmt.Sprintf("<unused%d>", id)
		}
		vocab[name] = id
	}
	text, err := json.Marshal(map[string]any{"added_tokens": added,
		"normalizer": map[string]any{"type": "Replace", "pattern": map[string]string{"String": " "}, "content": "▁"},
		"model":      map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}, "unk_token": "<unk>"}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"tokenizer.json": string(text),
		"config.json":    strings.ReplaceAll(string(config), `"max_position_embeddings": 256`, `"max_position_embeddings": 4096`),
		"processor_config.json": `{"image_processor": {"image_processor_type": "Gemma4ImageProcessor", "patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70},
			"feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 16}}`,
	} {
		_ = os.Remove(filepath.Join(folder, name)) // copied files may be read-only
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func drawing(t *testing.T) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range 1600 {
		img.Set(i%40, i/40, color.RGBA{uint8(i), uint8(i / 7), uint8(3 * i), 255})
	}
	path := filepath.Join(t.TempDir(), "a cat.png")
	f, err := os.Create(path)
	if err == nil {
		err = png.Encode(f, img)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConversationAboutAPicture: the model looks at a picture once, and reads
// on from there in later turns.
func TestConversationAboutAPicture(t *testing.T) {
	c := converse(t, seeing(t), "--temperature", "0", "--max-tokens", "4", "--stats", "--threads", "1")
	c.answer()
	if s := c.say("/image '" + drawing(t) + "'"); !strings.Contains(s, "a cat.png (64 tokens) goes with your next message.") {
		t.Error(s)
	}
	read := regexp.MustCompile(`prompt +(\d+) tokens, (\d+) already read`)
	var before int
	for i, input := range []string{"What is <image>?", "And?", "/retry"} {
		var prompt, cached int
		s := c.say(input)
		m := read.FindStringSubmatch(s)
		if m == nil {
			t.Fatal(s)
		}
		if _, err := fmt.Sscan(m[1]+" "+m[2], &prompt, &cached); err != nil {
			t.Fatal(err)
		}
		if prompt < 64 || cached < before-1 || (i == 0) != (cached == 0) {
			t.Errorf("%s: %d tokens, %d of them known, after %d", input, prompt, cached, before)
		}
		before = prompt
	}
	if s := c.say("/record"); !strings.Contains(s, "error: sound: no microphone") {
		t.Error(s)
	}
	if s := c.say("/think on"); !strings.Contains(s, "think is on") {
		t.Error(s)
	}
	if s := c.say("Hm?"); !regexp.MustCompile(` \d already read`).MatchString(s) {
		t.Errorf("the prompt of a thinking model begins in another way: %s", s)
	}
}

// TestConversationInWords: a model that neither sees nor thinks says so in a
// line, and the conversation goes on.
func TestConversationInWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words.gguf")
	err := generatetest.WriteGGUF(path, generatetest.Table{}.Chain("<0x0A>", "Y", "o", "!", "<end_of_turn>"), 200, map[string]any{
		"tokenizer.chat_template": "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := converse(t, path, "--temperature", "0", "--threads", "1")
	c.answer()
	for _, step := range []struct{ input, want string }{
		{"a <image>", "Yo!\n"},
		{"/image '" + drawing(t) + "'", "takes no pictures\n"},
		{"/record", "takes no sound\n"},
		{"/think on", "no form for thoughts"},
		{"b", "Yo!\n"},
		{"/show messages", ">>> a <image>\nYo!\n>>> b\nYo!\n"},
	} {
		if s := c.say(step.input); !strings.Contains(s, step.want) {
			t.Errorf("%s: %q", step.input, s)
		}
	}
	if _, err := io.WriteString(c.pty, "/bye\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-c.exited; err != nil {
		t.Errorf("left with %v", err)
	}
}
