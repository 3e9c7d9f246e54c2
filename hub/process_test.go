package hub

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lapidary/hub/hubtest"
)

// process is a pull in a process of its own.
type process struct {
	cmd   *exec.Cmd
	mu    sync.Mutex
	lines []string
	ended chan error
}

func start(t *testing.T, name string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), ended: make(chan error, 1)}
	p.cmd.Env = append(append(os.Environ(), "HUB_TEST_PULL="+name), env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, sc.Text())
			p.mu.Unlock()
		}
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) said(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(strings.Join(p.lines, "\n"), text)
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

func (p *process) succeed(t *testing.T) {
	t.Helper()
	if err := <-p.ended; err != nil {
		t.Fatalf("%v: %q", err, p.lines)
	}
}

func TestKilledPullIsGoneOnWith(t *testing.T) {
	s := testStore(t)
	h := testHF(t)
	o := testOllama(t)
	f, base := fileServer(t)
	data := hubtest.GGUF(2<<20, 11)
	f.Put("/m.gguf", data)
	o.Put("library/tiny", "latest", []hubtest.Layer{{Kind: "model", Data: data}})
	h.Put("org/tiny", &hubtest.Repo{Large: map[string][]byte{"m.gguf": data}})
	for _, c := range []struct {
		name  string
		files *hubtest.Files
		path  string
	}{
		{base + "/m.gguf", f, "/m.gguf"},
		{"ollama:tiny", o.Files, o.BlobPath("library/tiny", data)},
		{"hf:org/tiny", h.Bulk, hubtest.BulkPath(data)},
	} {
		t.Run(c.name[:4], func(t *testing.T) {
			release := c.files.Hold(1 << 20)
			first := start(t, c.name)
			eventually(t, "half of the file", func() bool { return unfinished(filepath.Dir(s.Root())) >= 1<<20 })
			first.kill(t)
			release()
			start(t, c.name).succeed(t)
			l, err := s.Resolve(t.Context(), c.name)
			if err != nil {
				t.Fatal(err)
			}
			mustHold(t, l.Path, data)
			if sent := c.files.Sent(c.path); sent > 2<<20+64<<10 {
				t.Errorf("%d bytes sent for a file of %d", sent, len(data))
			}
		})
	}
}

// unfinished is the size of the largest file below dir that is on its way.
func unfinished(dir string) int64 {
	var most int64
	for _, name := range tree(dir) {
		if strings.HasSuffix(name, ".partial") || strings.HasSuffix(name, ".incomplete") {
			most = max(most, diskSize(filepath.Join(dir, filepath.FromSlash(name))))
		}
	}
	return most
}

func TestTwoProcessesPullOnce(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	data := hubtest.GGUF(2<<20, 12)
	o.Put("library/tiny", "latest", []hubtest.Layer{{Kind: "model", Data: data}})
	release := o.Files.Hold(1 << 20)
	first := start(t, "ollama:tiny")
	eventually(t, "the first to be half-way", func() bool { return o.Files.Sent(o.BlobPath("library/tiny", data)) >= 1<<20 })
	second := start(t, "ollama:tiny:latest")
	eventually(t, "the second to say that it waits", func() bool { return second.said("another process is pulling") })
	release()
	first.succeed(t)
	second.succeed(t)
	if sent := o.Files.Sent(o.BlobPath("library/tiny", data)); sent != 2<<20 {
		t.Errorf("%d bytes sent", sent)
	}
	if err := func() error { _, err := s.Remove(t.Context(), "ollama:tiny"); return err }(); err != nil {
		t.Error(err)
	}
}

func TestRemoveRefusesWhileAnotherProcessPulls(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	data := hubtest.GGUF(1<<20, 13)
	o.Put("library/tiny", "latest", []hubtest.Layer{{Kind: "model", Data: data}})
	release := o.Files.Hold(1 << 19)
	first := start(t, "ollama:tiny")
	eventually(t, "the pull to be half-way", func() bool { return o.Files.Sent(o.BlobPath("library/tiny", data)) >= 1<<19 })
	_, err := s.Remove(t.Context(), "ollama:tiny")
	mustFail(t, err, ErrBusy, "another process")
	release()
	first.succeed(t)
}

func TestGoroutinesPullOnce(t *testing.T) {
	s := testStore(t)
	o := testOllama(t)
	data := hubtest.GGUF(1<<20, 14)
	o.Put("library/tiny", "latest", []hubtest.Layer{{Kind: "model", Data: data}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.Pull(t.Context(), "ollama:tiny", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sent := o.Files.Sent(o.BlobPath("library/tiny", data)); sent != 1<<20 {
		t.Errorf("%d bytes sent", sent)
	}
}
