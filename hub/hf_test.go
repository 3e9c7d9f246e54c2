package hub

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/hub/hubtest"
)

func safetensors(n int, seed uint64) []byte {
	b := hubtest.GGUF(n, seed)
	copy(b, "\x02\x00\x00\x00\x00\x00\x00\x00{}")
	return b
}

// folderRepo is laid out as Google lays out Gemma, and has what is not wanted.
func folderRepo() *hubtest.Repo {
	return &hubtest.Repo{
		Licence: "gemma",
		Files: map[string][]byte{
			"config.json": []byte(`{"model_type":"gemma3_text"}`), "README.md": []byte("---\nlicense: gemma\n---\n"),
			"tokenizer_config.json": []byte(`{}`), "2_Dense/config.json": []byte(`{}`), "LICENSE": []byte("the terms"),
			"training.py": []byte("print()"), ".gitattributes": []byte("*"), "onnx/config.json": []byte(`{}`),
			"model.safetensors.index.json": []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`),
		},
		Large: map[string][]byte{
			"model-00001-of-00002.safetensors": safetensors(90_000, 1), "model-00002-of-00002.safetensors": safetensors(60_000, 2),
			"tokenizer.json": []byte(`{"model":{}}`), "2_Dense/model.safetensors": safetensors(100, 3), "pytorch_model.bin": []byte("pickle"),
		},
	}
}

func TestHFFolder(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	repo := folderRepo()
	h.Put("org/tiny", repo)
	h.Bulk.Cut(50_000)
	l := mustPull(t, s, "hf:org/tiny", nil)
	got := tree(l.Path)
	want := []string{"2_Dense/config.json", "2_Dense/model.safetensors", "LICENSE", "README.md", "config.json",
		"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"}
	if !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	for _, n := range want {
		data, ok := repo.Files[n]
		if !ok {
			data = repo.Large[n]
		}
		mustHold(t, filepath.Join(l.Path, filepath.FromSlash(n)), data)
	}
	if l.Licence.Name != "Gemma Terms of Use" || l.Licence.URL != gemmaTerms {
		t.Errorf("licence %v", l.Licence)
	}
}

// The layout is huggingface_hub's: checked against version 2.4.0 with
// snapshot_download(local_files_only=True) and scan_cache_dir.
func TestHFCacheLayout(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	repo := folderRepo()
	h.Put("org/tiny", repo)
	l := mustPull(t, s, "hf:org/tiny", nil)
	part := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--tiny")
	if want := filepath.Join(part, "snapshots", repo.Commit); l.Path != want {
		t.Errorf("path %s, want %s", l.Path, want)
	}
	ref, err := os.ReadFile(filepath.Join(part, "refs", "main"))
	if err != nil || string(ref) != repo.Commit {
		t.Errorf("refs/main holds %q %v", ref, err)
	}
	for name, blob := range map[string]string{
		"config.json":               "../../blobs/" + hubtest.GitBlob(repo.Files["config.json"]),
		"2_Dense/model.safetensors": "../../../blobs/" + hubtest.SHA256(repo.Large["2_Dense/model.safetensors"]),
	} {
		to, err := os.Readlink(filepath.Join(l.Path, filepath.FromSlash(name)))
		if err != nil || filepath.ToSlash(to) != blob {
			t.Errorf("%s leads to %q (%v), want %q", name, to, err, blob)
		}
	}
}

func TestHFUsesWhatPythonDownloaded(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	repo := folderRepo()
	h.Put("org/tiny", repo)
	part := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--tiny")
	big := repo.Large["model-00001-of-00002.safetensors"]
	blob := filepath.Join(part, "blobs", hubtest.SHA256(big))
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, big, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(t.Context(), "hf:org/tiny"); err == nil {
		t.Error("a cache without a snapshot resolves")
	}
	mustPull(t, s, "hf:org/tiny", nil)
	if n := h.Bulk.Sent(hubtest.BulkPath(big)); n != 0 {
		t.Errorf("%d bytes of a blob fetched that was in the cache", n)
	}
	if _, err := s.Remove(t.Context(), "hf:org/tiny"); err != nil {
		t.Fatal(err)
	}
	blobs := tree(filepath.Join(part, "blobs"))
	if !slices.Equal(blobs, []string{hubtest.SHA256(big)}) {
		t.Errorf("after rm the cache holds the blobs %v, want the one that was there before", blobs)
	}
	if _, err := s.Resolve(t.Context(), "hf:org/tiny"); err == nil {
		t.Error("the removed model still resolves")
	}
}

func TestHFResolvesFromTheCacheAlone(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	h.Put("org/tiny", folderRepo())
	path := mustPull(t, s, "hf:org/tiny", nil).Path
	if err := os.RemoveAll(s.Root()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	l, err := s.Resolve(t.Context(), "hf:org/tiny")
	if err != nil || l.Path != path || l.Licence.Name != "Gemma Terms of Use" {
		t.Errorf("resolve without store and network: %+v %v", l, err)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	if l, err = s.Pull(t.Context(), "hf:org/tiny", nil); err != nil || l.Path != path {
		t.Errorf("pull while offline: %+v %v", l, err)
	}
	if err := os.Remove(filepath.Join(path, "model-00002-of-00002.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.Root()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Resolve(t.Context(), "hf:org/tiny")
	mustFail(t, err, ErrNotPulled, "lapidary pull hf:org/tiny")
	_, err = s.Pull(t.Context(), "hf:org/tiny", nil)
	mustFail(t, err, nil, "HF_HUB_OFFLINE")
}

func TestHFGated(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	data := hubtest.GGUF(1000, 4)
	h.Put("google/gemma-x", &hubtest.Repo{Licence: "gemma", Token: "hf_good", Large: map[string][]byte{"x.gguf": data}})
	_, err := s.Pull(t.Context(), "hf:google/gemma-x", nil)
	mustFail(t, err, ErrGated, "accept the licence at", "/google/gemma-x", "HF_TOKEN")
	t.Setenv("HF_TOKEN", "hf_without_access")
	_, err = s.Pull(t.Context(), "hf:google/gemma-x", nil)
	mustFail(t, err, ErrGated, "accept the licence")
	_, err = s.Pull(t.Context(), "hf:google/gone", nil)
	mustFail(t, err, ErrGated, "token in HF_TOKEN is refused, or there is no repository")

	t.Setenv("HF_TOKEN", "")
	if err := os.MkdirAll(os.Getenv("HF_HOME"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("HF_HOME"), "token"), []byte("hf_good\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustHold(t, mustPull(t, s, "hf:google/gemma-x", nil).Path, data)
	for _, r := range h.Bulk.Requests() {
		if r.Authorization != "" {
			t.Errorf("the token was handed to another server: %v", r)
		}
	}
}

func TestHFChoosesAFile(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	q4, q8 := hubtest.GGUF(1000, 5), hubtest.GGUF(2000, 6)
	towers := hubtest.GGUF(3000, 11)
	s1, s2 := hubtest.GGUF(100, 7), hubtest.GGUF(200, 8)
	h.Put("org/quants", &hubtest.Repo{Licence: "apache-2.0", Files: map[string][]byte{"config.json": []byte("{}")}, Large: map[string][]byte{
		"m-Q4_K_M.gguf": q4, "sub/m-Q8_0.gguf": q8, "mmproj-BF16.gguf": q8, "mmproj-f16.gguf": towers, "m-BF16.gguf": q8,
		"big-F16-00001-of-00002.gguf": s1, "big-F16-00002-of-00002.gguf": s2,
	}})
	_, err := s.Pull(t.Context(), "hf:org/quants", nil)
	mustFail(t, err, nil, "4 files fit", "m-Q4_K_M.gguf", "sub/m-Q8_0.gguf", "big-F16-00001-of-00002.gguf")
	mustHold(t, mustPull(t, s, "hf:org/quants/sub/m-Q8_0.gguf", nil).Path, q8)
	four := mustPull(t, s, "hf:org/quants:q4_k_m", nil)
	mustHold(t, four.Path, q4)
	mustHold(t, four.Projector, towers)
	if filepath.Dir(four.Projector) != filepath.Dir(four.Path) || four.Size < int64(len(q4)+len(towers)) {
		t.Errorf("%d bytes, towers in %s", four.Size, four.Projector)
	}
	l := mustPull(t, s, "hf:org/quants:F16", nil)
	mustHold(t, l.Path, s1)
	mustHold(t, filepath.Join(filepath.Dir(l.Path), "big-F16-00002-of-00002.gguf"), s2)
	if l.Licence.Name != "Apache License 2.0" {
		t.Errorf("licence %v", l.Licence)
	}
	_, err = s.Pull(t.Context(), "hf:org/quants/none.gguf", nil)
	mustFail(t, err, ErrUnknown, "no file none.gguf")
	_, err = s.Pull(t.Context(), "hf:org/quants@v2", nil)
	mustFail(t, err, ErrUnknown, "no revision v2")
	page := mustPull(t, s, "https://huggingface.co/org/quants/blob/main/m-Q4_K_M.gguf", nil)
	mustHold(t, page.Path, q4)
	if page.Name != "hf:org/quants/m-Q4_K_M.gguf" {
		t.Errorf("the page's address became %q", page.Name)
	}
}

func TestHFRefusesDamage(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	data := hubtest.GGUF(50_000, 9)
	h.Put("org/tiny", &hubtest.Repo{Large: map[string][]byte{"m.gguf": data}})
	h.Bulk.Put(hubtest.BulkPath(data), hubtest.GGUF(50_000, 10))
	_, err := s.Pull(t.Context(), "hf:org/tiny", nil)
	mustFail(t, err, ErrChecksum, "m.gguf", hubtest.SHA256(data))
	h.Bulk.Put(hubtest.BulkPath(data), data[:40_000])
	_, err = s.Pull(t.Context(), "hf:org/tiny", nil)
	mustFail(t, err, nil, "40000 bytes where 50000 were promised")
	if left := append(tree(s.Root()), tree(os.Getenv("HF_HOME"))...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHFRefusesHostileServers(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	h.Put("org/tiny", &hubtest.Repo{Files: map[string][]byte{"../../escape.gguf": []byte("GGUFx"), `..\up.gguf`: []byte("GGUFx")}})
	_, err := s.Pull(t.Context(), "hf:org/tiny", nil)
	mustFail(t, err, nil, "neither config.json")
	for etag, header := range map[string]string{"../../../evil": "X-Linked-ETag", "a/b": "X-Linked-ETag", "": "ETag"} {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: &http.Request{URL: mustURL(t, "https://x/y")}}
		resp.Header.Set("X-Repo-Commit", strings.Repeat("a", 40))
		resp.Header.Set(header, `"`+etag+`"`)
		_, err := describe(resp)
		mustFail(t, err, nil, "no Hugging Face server")
	}
	for _, name := range []string{"hf:org", "hf:a/b/../c", "hf:../b", "hf:a/..", "hf:a/b@../x", "hf:a/b/c:Q4", "hf:a--b/c", "hf:a/b/con.gguf"} {
		_, err := s.Pull(t.Context(), name, nil)
		mustFail(t, err, nil, "no Hugging Face source")
	}
}

// What a pull puts into the cache goes with the model, even when the pull
// stopped half-way, or was taken up again after that.
func TestHFInterruptedPullIsRemovedWhole(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	repo := folderRepo()
	h.Put("org/tiny", repo)
	first := hubtest.BulkPath(repo.Large["model-00001-of-00002.safetensors"])
	stop := func() {
		h.Bulk.Put(first, nil)
		if _, err := s.Pull(t.Context(), "hf:org/tiny", nil); err == nil {
			t.Fatal("the pull of a file that is gone succeeded")
		}
		h.Bulk.Put(first, repo.Large["model-00001-of-00002.safetensors"])
	}
	for _, resume := range []bool{false, true} {
		stop()
		blobs := tree(filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--tiny", "blobs"))
		if len(blobs) < 3 {
			t.Fatalf("nothing was pulled before the stop: %v", blobs)
		}
		if resume {
			mustPull(t, s, "hf:org/tiny", nil)
		}
		if _, err := s.Remove(t.Context(), "hf:org/tiny"); err != nil {
			t.Fatal(err)
		}
		if left := append(tree(s.Root()), tree(os.Getenv("HF_HOME"))...); len(left) > 0 {
			t.Errorf("resumed %v: left behind: %v", resume, left)
		}
	}
}
