package plugin

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"lapidary/hub"
)

const cpuLibrary = "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"

// wheelOf makes a wheel; edit may falsify its RECORD.
func wheelOf(t testing.TB, dist, version, metadata string, files map[string]string, edit func(record string) string) []byte {
	t.Helper()
	info := dist + "-" + version + ".dist-info/"
	all := maps.Clone(files)
	if all == nil {
		all = map[string]string{}
	}
	all[info+"METADATA"] = metadata
	var record strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sum := sha256.Sum256([]byte(all[name]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(all[name]))
	}
	fmt.Fprintf(&record, "%sRECORD,,\n", info)
	all[info+"RECORD"] = record.String()
	if edit != nil {
		all[info+"RECORD"] = edit(record.String())
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(all[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fakePip answers as Python with pip does, from a folder of wheels whose names
// begin with the packages'. It writes down what it was asked for.
func fakePip(t *testing.T) (index, log string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("pip is played by a shell script, and plugins by ELF files")
	}
	dir := t.TempDir()
	index, log = filepath.Join(dir, "index"), filepath.Join(dir, "log")
	write(t, filepath.Join(index, "none"), nil)
	script := fmt.Sprintf(`#!/bin/sh
[ "$2" = pip ] || exit 0
while [ "$1" != --dest ]; do shift; done
dest=$2; spec=$4
echo "$spec" >>%[1]s
name=$(printf %%s "$spec" | sed 's/[<>=].*//; s/-/_/g')
cp %[2]s/"$name"-*.whl "$dest" 2>/dev/null || { echo "ERROR: No matching distribution found for $spec"; exit 1; }
`, log, index)
	python := filepath.Join(dir, "python")
	write(t, python, []byte(script))
	if err := os.Chmod(python, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAPIDARY_PYTHON", python)
	t.Setenv("LAPIDARY_HOME", filepath.Join(dir, "home"))
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", "")
	t.Setenv("VIRTUAL_ENV", "")
	t.Setenv("CONDA_PREFIX", "")
	t.Setenv("HOME", dir)
	return index, log
}

func TestInstallFromPip(t *testing.T) {
	index, _ := fakePip(t)
	files := map[string]string{cpuLibrary: string(elfLibrary(entry))}
	write(t, filepath.Join(index, "lammps_jax_pjrt_cpu-1.2-py3-none-any.whl"),
		wheelOf(t, "lammps_jax_pjrt_cpu", "1.2", "Name: x\nLicense-Expression: Apache-2.0\n", files, nil))
	for range 2 { // the second replaces the first
		p, err := Install(t.Context(), "cpu", FromPip, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Version != "1.2" || p.Licence != "Apache-2.0" || p.Kind != CPU {
			t.Errorf("installed %+v", p)
		}
		found, err := List()
		if err != nil || len(found) == 0 || found[0] != p {
			t.Errorf("List is %+v, %v", found, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("LAPIDARY_HOME"), "plugins", ".cpu*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestInstallFile takes a plugin of the user's own, and keeps it when a later
// install fails.
func TestInstallFile(t *testing.T) {
	fakePip(t)
	mine := filepath.Join(t.TempDir(), "mine.so")
	write(t, mine, elfLibrary(entry))
	p, err := Install(t.Context(), "tpu", mine, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Install(t.Context(), "tpu", FromPip, nil); err == nil || !strings.Contains(err.Error(), "No matching distribution") {
		t.Errorf("a package that is not there: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Install(cancelled, "tpu", mine, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled install: %v", err)
	}
	if found, err := List(); err != nil || len(found) == 0 || found[0].Path != p.Path {
		t.Errorf("List is %+v, %v", found, err)
	}
	if _, err := Install(t.Context(), "abacus", "", nil); err == nil {
		t.Error("an abacus was installed")
	}
}

// TestInstallCUDA brings all packages that are named, and after a failure only
// those that were missing.
func TestInstallCUDA(t *testing.T) {
	index, log := fakePip(t)
	about := "Name: jax-cuda13-plugin\nLicense: Apache-2.0\nRequires-Dist: jax-cuda13-pjrt==0.9\n" +
		"Requires-Dist: nvidia-cublas>=13.0,<14; sys_platform == \"linux\" and extra == \"with-cuda\"\n" +
		"Requires-Dist: pytest; extra == \"test\"\n\nRequires-Dist: not-a-header\n"
	add := func(dist string, files map[string]string, about string) {
		write(t, filepath.Join(index, dist+"-0.9-py3-none-any.whl"), wheelOf(t, dist, "0.9", about, files, nil))
	}
	add("jax_cuda13_plugin", nil, about)
	add("jax_cuda13_pjrt", map[string]string{"jax_plugins/xla_cuda13/xla_cuda_plugin.so": string(elfLibrary(entry))}, "")
	if _, err := Install(t.Context(), "cuda13", "", nil); err == nil || !strings.Contains(err.Error(), "nvidia-cublas") {
		t.Fatalf("without NVIDIA's library: %v", err)
	}
	add("nvidia_cublas", map[string]string{"nvidia/cublas/lib/libcublas.so.13": "library"}, "")
	p, err := Install(t.Context(), "cuda13", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(p.Path), "../../nvidia/cublas/lib/libcublas.so.13")); err != nil || p.Kind != CUDA || p.Version != "0.9" {
		t.Errorf("%+v: %v", p, err)
	}
	asked, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := "jax-cuda13-plugin\njax-cuda13-pjrt==0.9\nnvidia-cublas>=13.0,<14\nnvidia-cublas>=13.0,<14\n"
	if string(asked) != want {
		t.Errorf("pip was asked for\n%swant\n%s", asked, want)
	}
}

func TestUnpackWheelRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		edit  func(string) string
		want  string
	}{
		{"a wrong checksum", map[string]string{"a.so": "x"}, func(r string) string { return strings.Replace(r, "sha256=", "sha256=A", 1) }, "wrong checksum"},
		{"a file without one", map[string]string{"a.so": "x"}, func(string) string { return "" }, "wrong checksum"},
		{"a broken RECORD", nil, func(string) string { return "a,b\n" }, "RECORD"},
		{"a way out", map[string]string{"../a.so": "x"}, nil, "no ordinary file"},
		{"a stream", map[string]string{"a.so:b": "x"}, nil, "no ordinary file"},
		{"a bomb", map[string]string{"a.so": strings.Repeat("x", 4<<20)}, nil, "over 200 times"},
	} {
		wheel := filepath.Join(t.TempDir(), "x.whl")
		write(t, wheel, wheelOf(t, "x", "1", "Name: x", c.files, c.edit))
		_, err := unpackWheel(t.Context(), wheel, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if c.want == "wrong checksum" && !errors.Is(err, hub.ErrChecksum) {
			t.Errorf("%s: %v is no ErrChecksum", c.name, err)
		}
	}
}

// FuzzUnpackWheel: nothing may be written beside the folder, and nothing crash.
func FuzzUnpackWheel(f *testing.F) {
	f.Add(wheelOf(f, "x", "1", "Name: x", map[string]string{"a/b.so": "x"}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		wheel := filepath.Join(root, "x.whl")
		write(t, wheel, b)
		_, _ = unpackWheel(t.Context(), wheel, filepath.Join(root, "to"))
		if entries, err := os.ReadDir(root); err != nil || len(entries) > 2 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}
