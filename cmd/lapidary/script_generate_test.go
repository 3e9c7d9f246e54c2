package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lapidary/generate/generatetest"
)

// scriptBigram writes a model that says what its chains spell: each piece is
// followed by the next. A file beside it with .template at the end of its name
// becomes its chat template.
func scriptBigram(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: bigram FILE CONTEXT CHAIN…, where a CHAIN is pieces with spaces between")
	}
	context, err := strconv.Atoi(args[1])
	ts.Check(err)
	table := generatetest.Table{}
	for _, chain := range args[2:] {
		table.Chain(strings.Fields(chain)...)
	}
	path := ts.MkAbs(args[0])
	extra := map[string]any{}
	if template, err := os.ReadFile(path + ".template"); err == nil {
		extra["tokenizer.chat_template"] = strings.TrimSuffix(string(template), "\n")
	}
	ts.Check(generatetest.WriteGGUF(path, table, context, extra))
}

// TestRunInterrupted presses Ctrl-C in the middle of an answer without end.
func TestRunInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt to send")
	}
	path := filepath.Join(t.TempDir(), "endless.gguf")
	if err := generatetest.WriteGGUF(path, generatetest.Table{}.Chain("a", "b", "a"), 1<<20, nil); err != nil {
		t.Fatal(err)
	}
	// Under this name the test binary is the command: see TestMain.
	c := exec.Cmd{Path: os.Args[0], Args: []string{"lapidary", "run", path, "a", "--temperature", "0"}}
	var stderr strings.Builder
	c.Stderr = &stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	said := make([]byte, 10)
	if _, err := stdout.Read(said); err != nil {
		t.Fatalf("nothing was said: %v, %s", err, stderr.String())
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := stdout.Read(said); err != nil {
			break
		}
	}
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitInterrupted || stderr.String() != "lapidary: interrupted\n" {
		t.Errorf("ended with %d and %q, want %d and one line that says so", code, stderr.String(), exitInterrupted)
	}
}
