package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lapidary/internal/embedtest"
)

// TestEmbedInterrupted presses Ctrl-C while a file is being written from a pipe
// that stays open.
func TestEmbedInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt to send")
	}
	model, dir := t.TempDir(), t.TempDir()
	if err := embedtest.Write(model); err != nil {
		t.Fatal(err)
	}
	// Under this name the test binary is the command: see TestMain.
	c := exec.Cmd{Path: os.Args[0], Args: []string{"lapidary", "embed", model, "--input", "-", "--output", filepath.Join(dir, "out.npy")}}
	var stderr strings.Builder
	c.Stderr = &stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	for i := range 2 * batchTexts {
		if _, err := fmt.Fprintf(stdin, "\"text %d\"\n", i); err != nil {
			t.Fatal(err)
		}
	}
	// What has been embedded is in a file of another name.
	for range 6000 {
		if names, _ := filepath.Glob(filepath.Join(dir, ".out.npy.*")); len(names) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	left, err := os.ReadDir(dir)
	if code := c.ProcessState.ExitCode(); code != exitInterrupted || stderr.String() != "lapidary: interrupted\n" || err != nil || len(left) > 0 {
		t.Errorf("ended with %d and %q, and left %v; want %d, one line that says so, and nothing", code, stderr.String(), left, exitInterrupted)
	}
}

// TestEmbedStreams: a batch is embedded and written before the input has ended.
func TestEmbedStreams(t *testing.T) {
	model := t.TempDir()
	if err := embedtest.Write(model); err != nil {
		t.Fatal(err)
	}
	c := exec.Cmd{Path: os.Args[0], Args: []string{"lapidary", "embed", model, "--input", "-", "--dimensions", "1"}}
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	for i := range batchTexts {
		if _, err := fmt.Fprintf(stdin, "{\"id\": %d, \"text\": \"a\"}\n", i); err != nil {
			t.Fatal(err)
		}
	}
	said := make([]byte, len(`{"id":0,"embedding":[`))
	if _, err := stdout.Read(said); err != nil || string(said) != `{"id":0,"embedding":[` {
		t.Errorf("%q, %v", said, err)
	}
	stdin.Close()
}
