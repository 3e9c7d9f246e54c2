package plugin

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseFileName(t *testing.T) {
	for _, c := range []struct {
		file string
		name string
		kind Kind
		ok   bool
	}{
		{"pjrt_c_api_cpu_plugin.so", "cpu", CPU, true},
		{"pjrt_c_api_cpu_v0.83.1_plugin.so", "cpu_v0.83.1", CPU, true},
		{"pjrt_c_api_cuda_plugin.so", "cuda", CUDA, true},
		{"pjrt-plugin-tpu.so", "tpu", TPU, true},
		{"pjrt_plugin_cpu.dylib", "cpu", CPU, true},
		{"pjrt_c_api_cpu_plugin.txt", "", "", false},
		{"pjrt_c_api_abacus_plugin.so", "abacus", "", false},
		{"libc.so", "", "", false},
	} {
		name, kind, ok := parseFileName(c.file)
		if ok != c.ok || ok && (name != c.name || kind != c.kind) {
			t.Errorf("%s: %q %q %v", c.file, name, kind, ok)
		}
	}
}

// TestListPlaces finds plugins by every way but a real Python, and one that is
// reached twice only once.
func TestListPlaces(t *testing.T) {
	fakePip(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "named", "pjrt_c_api_cpu_v1.2_plugin.so"), nil)
	env := filepath.Join(dir, "env")
	site := filepath.Join(env, "lib", "python3.12", "site-packages")
	write(t, filepath.Join(site, "jax_plugins", "xla_cuda12", "xla_cuda_plugin.so"), nil)
	write(t, filepath.Join(site, "jax_cuda12_pjrt-0.7.dist-info", "METADATA"), nil)
	write(t, filepath.Join(site, "libtpu", "libtpu.so"), nil)
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", filepath.Join(dir, "named"))
	t.Setenv("VIRTUAL_ENV", env)
	t.Setenv("CONDA_PREFIX", env)
	found, err := List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range found {
		if strings.HasPrefix(p.Path, dir) { // the machine may have its own
			got = append(got, strings.Join([]string{p.Name, string(p.Kind), p.Version, p.Where}, " "))
		}
	}
	want := "cpu_v1.2 cpu 1.2 PJRT_PLUGIN_LIBRARY_PATH; jax-cuda12-pjrt cuda 0.7 Python: VIRTUAL_ENV; libtpu tpu  Python: VIRTUAL_ENV"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("found\n%s\nwant\n%s", s, want)
	}
}

func TestConfigFor(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		path string
		want string // of the configuration, or of the error
	}{
		{CPU, "/p/pjrt_c_api_cpu_plugin.so", "xla:/p/pjrt_c_api_cpu_plugin.so"},
		{CUDA, "/p/xla_cuda_plugin.so", "xla:/p/xla_cuda_plugin.so,shared_buffers=false"},
		{CPU, "/home/nvidia/cpu.so", "move it"},
		{CUDA, "/p/gpu.so", "move it"},
		{CPU, "/a,b/cpu.so", "comma"},
	} {
		got, err := configFor(Plugin{Kind: c.kind, Path: c.path})
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s %s: %s", c.kind, c.path, got)
		}
	}
}

func TestBest(t *testing.T) {
	fakePip(t)
	t.Setenv("GOMLX_BACKEND", "go:ops=1")
	if c, err := Best("auto"); err != nil || c.Config != "go:ops=1" {
		t.Errorf("GOMLX_BACKEND is not obeyed: %+v, %v", c, err)
	}
	t.Setenv("GOMLX_BACKEND", "")
	if c, err := Best("go"); err != nil || c.Config != GoBackend || c.Reason != "" {
		t.Errorf("go: %+v, %v", c, err)
	}
	if _, err := Best("abacus"); err == nil || !strings.Contains(err.Error(), "auto, cpu, cuda, tpu or go") {
		t.Errorf("abacus: %v", err)
	}
	if _, err := Best("tpu"); !present(TPU) && !errors.Is(err, ErrNone) {
		t.Errorf("a TPU that is not there: %v", err)
	}
	mine := filepath.Join(t.TempDir(), "mine.so")
	write(t, mine, elfLibrary(entry))
	if _, err := Install(t.Context(), "cpu", mine, nil); err != nil {
		t.Fatal(err)
	}
	c, err := Best("cpu")
	if err != nil || canLoad != (c.Plugin != nil) || canLoad == (c.Reason != "") {
		t.Errorf("cpu: %+v, %v", c, err)
	}
	if c := (Choice{Config: "xla:" + mine}); canLoad {
		if _, err := c.Open(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("a file that is no program opens: %v", err)
		}
	}
}

func TestMajorForDriver(t *testing.T) {
	const line = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  %s  Tue\nGCC version: gcc 12.2"
	for version, want := range map[string]string{"550.54.15": "12", "580.65.06": "13", "": "13"} {
		if got := majorForDriver(strings.Replace(line, "%s", version, 1)); got != want {
			t.Errorf("driver %q: CUDA %s, want %s", version, got, want)
		}
	}
}
