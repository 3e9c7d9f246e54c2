package data_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lapidary/train/data"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// hub speaks what is used of Hugging Face's protocol.
type hub struct {
	files map[string]string
	cut   string // this file's first answer ends in the middle
	wrong string // this file's checksum is another's
	asked []string
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked = append(h.asked, r.URL.Path+r.Header.Get("Range"))
	if r.URL.Path == "/api/datasets/org/set/revision/main" {
		var names []string
		for n := range h.files {
			names = append(names, fmt.Sprintf(`{"rfilename": %q}`, n))
		}
		fmt.Fprintf(w, `{"sha": %q, "siblings": [%s, {"rfilename": "../evil.jsonl"}]}`, commit, strings.Join(names, ","))
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/datasets/org/set/resolve/"+commit+"/")
	content, known := h.files[name]
	switch {
	case strings.Contains(r.URL.Path, "closed"):
		w.WriteHeader(http.StatusForbidden)
		return
	case !ok || !known:
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256([]byte(content))
	if name == h.wrong {
		sum[0]++
	}
	w.Header().Set("X-Linked-Etag", `"`+hex.EncodeToString(sum[:])+`"`)
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
	if name == h.cut && r.Header.Get("Range") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write([]byte(content[:len(content)/2]))
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

func serve(t *testing.T, h *hub) (cache string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	cache = t.TempDir()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_HUB_CACHE", cache)
	t.Setenv("HF_HUB_OFFLINE", "")
	return cache
}

const card = `---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: ["data/test-*"]
- config_name: other
  data_files: other/*.jsonl
---
# A set
`

var hubFiles = map[string]string{
	"README.md": card, "data/train-0.jsonl": `{"t": "one"}`, "data/train-1.jsonl": `{"t": "two"}`, "data/test-0.jsonl": `{"t": "three"}`, "other/x.jsonl": `{"t": "four"}`,
}

func TestHub(t *testing.T) {
	h := &hub{files: hubFiles, cut: "data/train-1.jsonl"}
	cache := serve(t, h)
	source := data.Source{Path: "hf:org/set", Text: "t"}
	if _, err := source.Files(context.Background()); err == nil || !strings.Contains(err.Error(), "start again") {
		t.Errorf("a cut answer: %v", err)
	}
	set := prepare(t, data.Settings{}, source)
	if got := documents(t, set, data.Train); !slices.Equal(got, []string{"^[one$]", "^[two$]"}) {
		t.Errorf("%q", got)
	}
	if !slices.ContainsFunc(h.asked, func(s string) bool { return strings.HasSuffix(s, "train-1.jsonlbytes=6-") }) {
		t.Errorf("the cut file was not gone on with: %q", h.asked)
	}
	if b, err := os.ReadFile(filepath.Join(cache, "datasets--org--set", "refs", "main")); err != nil || string(b) != commit {
		t.Errorf("the revision is not noted: %q, %v", b, err)
	}
	h.asked = nil
	prepare(t, data.Settings{}, source)
	if len(h.asked) > 0 {
		t.Errorf("what is here was asked for: %q", h.asked)
	}
	for want, s := range map[string]data.Source{
		"^[three$]": {Path: "hf:org/set", Text: "t", Part: "test"}, "^[four$]": {Path: "hf:org/set", Text: "t", Config: "other"},
	} {
		if got := documents(t, prepare(t, data.Settings{}, s), data.Train); !slices.Equal(got, []string{want}) {
			t.Errorf("%+v: %q", s, got)
		}
	}
}

func TestHubErrors(t *testing.T) {
	serve(t, &hub{files: hubFiles, wrong: "data/test-0.jsonl"})
	for reason, s := range map[string]data.Source{
		"wrong checksum":       {Path: "hf:org/set", Part: "test"},
		"no such data set":     {Path: "hf:org/gone"},
		"accept its terms":     {Path: "hf:org/closed"},
		"no data set of":       {Path: "hf:org"},
		"no file for the part": {Path: "hf:org/set", Part: "validation"},
		"default, other":       {Path: "hf:org/set", Config: "third"},
	} {
		if _, err := s.Files(context.Background()); err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got %v, want %q", s, err, reason)
		}
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	s := data.Source{Path: "hf:org/third"}
	if _, err := s.Files(context.Background()); err == nil || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("offline: %v", err)
	}
}

// TestLocalDataset reads folders laid out as on the hub.
func TestLocalDataset(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	for name, content := range hubFiles {
		write(t, with, name, content)
	}
	for _, name := range []string{"train.jsonl", "validation.jsonl", "test.jsonl"} {
		write(t, without, name, `{"t": "`+name[:2]+`"}`)
	}
	write(t, without, "README.md", "no head")
	for _, test := range []struct {
		source data.Source
		want   []string
	}{
		{data.Source{Path: with}, []string{"^[one$]", "^[two$]"}},
		{data.Source{Path: with, Config: "other"}, []string{"^[four$]"}},
		{data.Source{Path: without}, []string{"^[tr$]"}},
		{data.Source{Path: without, Part: "validation"}, []string{"^[va$]"}},
		{data.Source{Path: without, Part: "test"}, []string{"^[te$]"}},
	} {
		test.source.Text = "t"
		if got := documents(t, prepare(t, data.Settings{}, test.source), data.Train); !slices.Equal(got, test.want) {
			t.Errorf("%+v: got %q, want %q", test.source, got, test.want)
		}
	}
}
