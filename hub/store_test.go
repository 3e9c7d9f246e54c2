package hub

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lapidary/hub/hubtest"
)

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func writeTestFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultFolder(t *testing.T) {
	t.Setenv("LAPIDARY_HOME", "")
	if runtime.GOOS == "linux" {
		t.Setenv("XDG_DATA_HOME", "/data/of/mine")
		s, err := Default()
		if err != nil || s.Root() != "/data/of/mine/lapidary" {
			t.Errorf("%v %v", s, err)
		}
		t.Setenv("XDG_DATA_HOME", "")
		t.Setenv("HOME", "/home/me")
		s, err = Default()
		if err != nil || s.Root() != "/home/me/.local/share/lapidary" {
			t.Errorf("%v %v", s, err)
		}
	}
	dir := t.TempDir()
	t.Setenv("LAPIDARY_HOME", dir)
	s, err := Default()
	if err != nil || s.Root() != dir {
		t.Errorf("%v %v", s, err)
	}
}

func TestResolvePaths(t *testing.T) {
	s := testStore(t)
	dir := t.TempDir()
	t.Chdir(dir)
	writeTestFile(t, "m.gguf", []byte("GGUF"))
	writeTestFile(t, "hf/config.json", []byte("{}"))
	writeTestFile(t, "one/x.gguf", []byte("GGUF"))
	writeTestFile(t, "one/mmproj-x.gguf", []byte("GGUF"))
	writeTestFile(t, "two/x.gguf", []byte("GGUF"))
	writeTestFile(t, "two/y.gguf", []byte("GGUF"))
	writeTestFile(t, "none/readme", nil)
	writeTestFile(t, "gemma3", []byte("GGUF"))
	for name, want := range map[string]string{
		"m.gguf": "m.gguf", "./m.gguf": "m.gguf", dir + "/m.gguf": dir + "/m.gguf", "./hf": "hf", "hf/": "hf",
		"./one": "one/x.gguf", "./gemma3": "gemma3",
	} {
		l, err := s.Resolve(t.Context(), name)
		if err != nil || l.Path != filepath.FromSlash(want) {
			t.Errorf("%s: %q %v, want %q", name, l.Path, err, want)
		}
	}
	for name, words := range map[string][]string{
		"nothing.gguf": {"no file or folder nothing.gguf"}, "./two": {"2 .gguf files"}, "./none": {"no model"},
		"google/gemma-3-270m": {"write hf:google/gemma-3-270m"}, "": {"no model is named"},
	} {
		_, err := s.Resolve(t.Context(), name)
		mustFail(t, err, nil, words...)
	}
}

func TestResolveNames(t *testing.T) {
	s := testStore(t)
	_, err := s.Resolve(t.Context(), "gemma3:270m-pt")
	mustFail(t, err, ErrNotPulled, "lapidary pull gemma3:270m-pt")
	_, err = s.Resolve(t.Context(), "Gemma3:270M-base")
	mustFail(t, err, ErrNotPulled, "lapidary pull gemma3:270m-pt")
	_, err = s.Resolve(t.Context(), "gema3:270m")
	mustFail(t, err, ErrUnknown, "did you mean gemma3:270m", "hf:org/repo")
	_, err = s.Resolve(t.Context(), "gemma3:270")
	mustFail(t, err, ErrUnknown, "gemma3:270m-pt")
	_, err = s.Resolve(t.Context(), "zzzzzzzzzz")
	mustFail(t, err, ErrUnknown, "list --available")
	for _, bad := range []string{"a b", "a:b:c", ".hidden", "x:.y", "con", "com1:x", "a:lpt9.x", "hf", "é", "a:", ":b", strings.Repeat("a", 200)} {
		if _, err := s.Resolve(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "no model name") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// pulled puts a model into the store without a network.
func pulled(t *testing.T, s *Store, name string, data []byte) Local {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	writeTestFile(t, path, data)
	l, err := s.Copy(t.Context(), path, name)
	if err == nil {
		err = os.Remove(path) // it may be a second link to the store's file
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCopyListRemove(t *testing.T) {
	s := testStore(t)
	data := hubtest.GGUF(10_000, 1)
	first := pulled(t, s, "mine", data)
	if first.Name != "mine:latest" {
		t.Errorf("name %s", first.Name)
	}
	second, err := s.Copy(t.Context(), "mine", "Other:Q4")
	if err != nil || second.Name != "other:q4" {
		t.Fatalf("%+v %v", second, err)
	}
	mustHold(t, second.Path, data)
	_, err = s.Copy(t.Context(), "mine", "other:q4")
	mustFail(t, err, nil, "exists already", "lapidary rm other:q4")
	_, err = s.Copy(t.Context(), "mine", "gemma3:4b")
	mustFail(t, err, nil, "catalogue's name")
	_, err = s.Copy(t.Context(), "mine", "hf:a/b")
	mustFail(t, err, nil, "cannot be a copy's name")
	_, err = s.Copy(t.Context(), "nobody", "x")
	mustFail(t, err, ErrUnknown)

	models, err := s.List()
	if err != nil || len(models) != 2 || models[0].Name != "mine:latest" || models[1].Name != "other:q4" {
		t.Fatalf("%+v %v", models, err)
	}
	if l, err := s.Pull(t.Context(), "mine", nil); err != nil || l.Path != first.Path {
		t.Errorf("pull of a copy: %v %v", l, err)
	}
	_, err = s.Refresh(t.Context(), "mine", nil)
	mustFail(t, err, nil, "is a copy of")

	freed := int64(0)
	for _, name := range []string{"mine", "other:q4"} {
		n, err := s.Remove(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		freed += n
	}
	if freed < 10_000 || freed > 25_000 {
		t.Errorf("%d bytes freed", freed)
	}
	if left := tree(s.Root()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, err = s.Remove(t.Context(), "mine")
	mustFail(t, err, ErrUnknown)
	_, err = s.Remove(t.Context(), "gemma3:270m")
	mustFail(t, err, ErrNotPulled, "nothing to remove")
	_, err = s.Remove(t.Context(), "./m.gguf")
	mustFail(t, err, nil, "file of your own")
}

func TestCopyOfAFolder(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	repo := folderRepo()
	h.Put("org/tiny", repo)
	mustPull(t, s, "hf:org/tiny", nil)
	l, err := s.Copy(t.Context(), "hf:org/tiny", "mine:folder")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), "hf:org/tiny"); err != nil {
		t.Fatal(err)
	}
	mustHold(t, filepath.Join(l.Path, "2_Dense", "model.safetensors"), repo.Large["2_Dense/model.safetensors"])
	if l.Licence.Name != "Gemma Terms of Use" || l.Source != "hf:org/tiny" {
		t.Errorf("%+v", l)
	}
}

func TestListNamesBrokenModels(t *testing.T) {
	s := testStore(t)
	pulled(t, s, "good", hubtest.GGUF(100, 2))
	writeTestFile(t, filepath.Join(s.Root(), "models", "bad", "x", manifestName), []byte("{"))
	writeTestFile(t, filepath.Join(s.Root(), "models", "newer", "x", manifestName), []byte(`{"version":99}`))
	writeTestFile(t, filepath.Join(s.Root(), "models", "evil", "x", manifestName), []byte(`{"version":1,"name":"evil:x","weights":"../../../secret"}`))
	models, err := s.List()
	if len(models) != 1 || models[0].Name != "good:latest" {
		t.Errorf("%+v", models)
	}
	for _, words := range []string{"bad", "version 99", "leads out"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
}

func TestWeightsThatAreGone(t *testing.T) {
	s := testStore(t)
	l := pulled(t, s, "mine", hubtest.GGUF(100, 3))
	if err := os.Remove(l.Path); err != nil {
		t.Fatal(err)
	}
	_, err := s.Resolve(t.Context(), "mine")
	mustFail(t, err, ErrNotPulled, "gone", l.Path)
}

// Whatever is typed becomes a folder inside of the store, and no two texts
// share one.
func TestFoldersStayInside(t *testing.T) {
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		scheme := rapid.SampledFrom([]string{"", "hf:", "ollama:", "pypi:", "https://", "https://h/"}).Draw(t, "scheme")
		rest := rapid.OneOf(
			rapid.StringMatching(`[a-zA-Z0-9./:@_\\~ -]{1,40}`),
			rapid.StringMatching(`[a-c.]{1,3}(/[a-cA-C.]{1,3}){0,2}((:|==|@)[a-c.]{1,3})?`),
		).Draw(t, "rest")
		ref, err := parse(scheme + rest)
		if err != nil || ref.kind == kindPath {
			return
		}
		dir := ref.folder()
		if !filepath.IsLocal(dir) || strings.Count(filepath.ToSlash(dir), "/") != 1 || strings.Contains(dir, "..") && ref.kind == kindName && !strings.Contains(ref.text, "..") {
			t.Fatalf("%q lies in %q", ref.text, dir)
		}
		key := strings.ToLower(dir)
		if other, ok := seen[key]; ok && other != ref.text {
			t.Fatalf("%q and %q share %q", other, ref.text, dir)
		}
		seen[key] = ref.text
	})
}

func TestCatalogue(t *testing.T) {
	c, err := parseCatalogue(catalogueJSON)
	if err != nil {
		t.Fatal(err)
	}
	s := testStore(t)
	defaults := 0
	for _, e := range c.Models {
		ref, err := parseName(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		_, sources, err := s.sources(ref)
		if err != nil || len(sources) != len(e.Sources) || len(sources) == 0 {
			t.Errorf("%s: %d sources of %d: %v", e.Name, len(sources), len(e.Sources), err)
		}
		if e.About == "" || e.Parameters == "" || e.Terms().Name == "" || !strings.HasPrefix(e.Terms().URL, "https://") {
			t.Errorf("%s says too little: %+v", e.Name, e)
		}
		for _, src := range e.Sources {
			if src.SHA256 != "" && (!sha256Rule().MatchString(src.SHA256) || src.Size <= 0) {
				t.Errorf("%s: %s: checksum %q, size %d", e.Name, src.Ref, src.SHA256, src.Size)
			}
		}
		if e.Default {
			defaults++
		}
	}
	if defaults != 1 || DefaultModel() != "gemma3:270m-pt" {
		t.Errorf("%d defaults; %s", defaults, DefaultModel())
	}
	if e, ok := Lookup("gemma3"); !ok || e.Name != "gemma3:4b" {
		t.Errorf("gemma3 is %v", e.Name)
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 253_113_024: "253.1 MB", 999_960_000: "1.0 GB", 17_000_000_000: "17.0 GB"} {
		if got := HumanSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
