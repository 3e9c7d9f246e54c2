package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/hub/hubtest"
	"lapidary/internal/embedtest"
	"lapidary/internal/realmodel"
)

// TestMain lets scripts run this very test binary as the command lapidary.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lapidary": main})
}

// TestScript runs every scenario in testdata/script: its README says how they
// are written.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup:              setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":        scriptAwait,
			"bigram":       scriptBigram,
			"exits":        scriptExits,
			"json":         scriptJSON,
			"realmodel":    func(ts *testscript.TestScript, neg bool, args []string) { scriptRealModel(t, ts, neg, args) },
			"release":      scriptRelease,
			"serve":        scriptServe,
			"tinyadapter":  scriptTinyAdapter,
			"tinyembedder": scriptTinyEmbedder,
			"tinymodel":    scriptTinyModel,
		},
	})
}

func setupScript(e *testscript.Env) error {
	e.Setenv("LAPIDARY_HOME", filepath.Join(e.WorkDir, "store"))
	e.Setenv("HF_HOME", filepath.Join(e.WorkDir, "hf"))
	e.Setenv("OLLAMA_MODELS", filepath.Join(e.WorkDir, "ollama"))
	// Nobody is to be asked over the network unless a script starts a server.
	e.Setenv("HF_ENDPOINT", "http://127.0.0.1:1")
	e.Setenv("LAPIDARY_OLLAMA_REGISTRY", "http://127.0.0.1:1")
	return nil
}

// scriptExits runs a command that must end with a certain exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s exits with %d (%v), want %s", args[1], code, err, args[0])
	}
}

// scriptRealModel uses the user's own store, with Gemma 3 270M in it.
func scriptRealModel(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: realmodel")
	}
	path := realmodel.Path(t)
	store := path
	for filepath.Base(store) != "models" {
		store = filepath.Dir(store)
	}
	ts.Setenv("LAPIDARY_HOME", filepath.Dir(store))
	ts.Setenv("REAL", path)
}

// scriptTinyModel writes a Gemma 3 with random weights: two layers, a
// vocabulary of eight, 1 kB or so.
func scriptTinyModel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tinymodel FILE")
	}
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	rng := rand.New(rand.NewPCG(1, 2))
	var tensors []checkpoint.Tensor
	add := func(name string, rows, cols int) {
		t := checkpointtest.RandomTensor(rng, checkpoint.F32, rows, cols)
		t.Name = name
		if rows == 1 {
			t.Shape = []int{cols}
		}
		tensors = append(tensors, t)
	}
	const width, heads, kv, size, feed, vocab = 16, 2, 1, 8, 32, 8
	add("embed_tokens.weight", vocab, width)
	add("norm.weight", 1, width)
	for i := range 2 {
		l := fmt.Sprintf("layers.%d.", i)
		for _, n := range []string{"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"} {
			add(l+n+".weight", 1, width)
		}
		add(l+"self_attn.q_proj.weight", heads*size, width)
		add(l+"self_attn.k_proj.weight", kv*size, width)
		add(l+"self_attn.v_proj.weight", kv*size, width)
		add(l+"self_attn.o_proj.weight", width, heads*size)
		add(l+"self_attn.q_norm.weight", 1, size)
		add(l+"self_attn.k_norm.weight", 1, size)
		add(l+"mlp.gate_proj.weight", feed, width)
		add(l+"mlp.up_proj.weight", feed, width)
		add(l+"mlp.down_proj.weight", width, feed)
	}
	meta := map[string]any{
		"general.architecture": "gemma3", "general.name": "tiny", "gemma3.block_count": uint32(2),
		"gemma3.embedding_length": uint32(width), "gemma3.feed_forward_length": uint32(feed), "gemma3.context_length": uint32(64),
		"gemma3.attention.head_count": uint32(heads), "gemma3.attention.head_count_kv": uint32(kv),
		"gemma3.attention.key_length": uint32(size), "gemma3.attention.value_length": uint32(size),
		"gemma3.attention.sliding_window": uint32(4), "gemma3.attention.layer_norm_rms_epsilon": float32(1e-6),
		"gemma3.rope.freq_base": float32(1e6),
		"tokenizer.ggml.model":  "llama", "tokenizer.ggml.pre": "default",
		"tokenizer.ggml.tokens":       []string{"<pad>", "<eos>", "<bos>", "<unk>", "a", "b", "▁", "ab"},
		"tokenizer.ggml.scores":       []float32{0, 0, 0, 0, -1, -2, -3, -0.5},
		"tokenizer.ggml.token_type":   []int32{3, 3, 3, 2, 1, 1, 1, 1},
		"tokenizer.ggml.bos_token_id": uint32(2), "tokenizer.ggml.eos_token_id": uint32(1),
		"tokenizer.ggml.add_bos_token": true, "tokenizer.chat_template": "{{ messages[0].content }}",
	}
	ts.Check(checkpointtest.WriteGGUF(path, meta, tensors))
}

// scriptTinyEmbedder writes an EmbeddingGemma with random weights.
func scriptTinyEmbedder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tinyembedder DIR")
	}
	ts.Check(embedtest.Write(ts.MkAbs(args[0])))
}

// scriptServe starts a server of the files in a folder.
func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	usage := "usage: serve web|held|hf|ollama DIR [TOKEN]; hf: DIR is org/name, ollama: DIR is namespace/name/tag"
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("%s", usage)
	}
	files := readFiles(ts, args[1])
	switch args[0] {
	case "web", "held":
		f := hubtest.NewFiles()
		if args[0] == "held" {
			held.Store(ts, f.Hold(heldAt))
		}
		for name, data := range files {
			f.Put("/"+name, data)
		}
		srv := httptest.NewServer(f)
		ts.Defer(srv.Close)
		ts.Setenv("WEB", srv.URL)
	case "hf":
		h := hubtest.NewHF()
		ts.Defer(h.Close)
		repo := &hubtest.Repo{Licence: "gemma", Files: map[string][]byte{}, Large: map[string][]byte{}}
		if len(args) == 3 {
			repo.Token = args[2]
		}
		for name, data := range files {
			if strings.HasSuffix(name, ".gguf") || strings.HasSuffix(name, ".safetensors") {
				repo.Large[name] = data
			} else {
				repo.Files[name] = data
			}
		}
		h.Put(args[1], repo)
		ts.Setenv("HF_ENDPOINT", h.URL)
	case "ollama":
		o := hubtest.NewOllama()
		ts.Defer(o.Close)
		var layers []hubtest.Layer
		for name, data := range files {
			kind, _, _ := strings.Cut(name, ".")
			layers = append(layers, hubtest.Layer{Kind: kind, Data: data})
		}
		o.Put(filepath.ToSlash(filepath.Dir(args[1])), filepath.Base(args[1]), layers)
		ts.Setenv("LAPIDARY_OLLAMA_REGISTRY", o.URL)
	default:
		ts.Fatalf("%s", usage)
	}
}

// heldAt is the number of bytes after which "serve held" stops an answer.
const heldAt = 10_000

// held has the way to let each script's server go on.
var held sync.Map

func scriptRelease(ts *testscript.TestScript, neg bool, args []string) {
	release, ok := held.LoadAndDelete(ts)
	if neg || len(args) > 0 || !ok {
		ts.Fatalf("usage: release, after serve held")
	}
	release.(func())()
}

// scriptAwait waits until a file is there that has as many bytes: what a
// program in the background is about to write.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await BYTES GLOB")
	}
	least, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	for range 6000 {
		found, err := filepath.Glob(ts.MkAbs(args[1]))
		ts.Check(err)
		for _, f := range found {
			if fi, err := os.Stat(f); err == nil && fi.Size() >= least {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("waited a minute for %s", args[1])
}

func readFiles(ts *testscript.TestScript, dir string) map[string][]byte {
	root := ts.MkAbs(dir)
	files := map[string][]byte{}
	ts.Check(filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(p)
		return err
	}))
	return files
}

// scriptJSON checks that a file is one JSON document and, when a path is
// given, what it holds there.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 3 {
		ts.Fatalf("usage: [!] json FILE [PATH [WANT]]")
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	if d.More() {
		ts.Fatalf("%s: more than one JSON document", args[0])
	}
	if len(args) == 1 {
		return
	}
	got, err := at(doc, args[1])
	ok := err == nil && (len(args) == 2 || got == args[2])
	if ok == neg {
		ts.Fatalf("%s: %s is %q (%v)", args[0], args[1], got, err)
	}
}

// at follows a path such as models.0.name.
func at(doc any, path string) (string, error) {
	for step := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[step]
			if !ok {
				return "", fmt.Errorf("no %q", step)
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(step)
			if step == "len" {
				return strconv.Itoa(len(v)), nil
			}
			if err != nil || i < 0 || i >= len(v) {
				return "", fmt.Errorf("no element %q of %d", step, len(v))
			}
			doc = v[i]
		default:
			return "", fmt.Errorf("%q of something that has no parts", step)
		}
	}
	return fmt.Sprint(doc), nil
}
