package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// pythons are the commands that may run Python, the likeliest first. A
// variable of the environment goes before them.
func (s *Store) pythons() [][]string {
	if s.python != nil {
		return [][]string{s.python}
	}
	if p := os.Getenv("LAPIDARY_PYTHON"); p != "" {
		return [][]string{{p}}
	}
	if runtime.GOOS == "windows" {
		return [][]string{{"python"}, {"py", "-3"}, {"python3"}}
	}
	return [][]string{{"python3"}, {"python"}}
}

// pip downloads one wheel to dir. The user's own pip is used so that their
// index, mirrors, proxies and certificates hold.
func (s *Store) pip(ctx context.Context, dir, spec string, at func(int64)) error {
	stop := watchSize(dir, at)
	defer stop()
	var lacking error
	for _, python := range s.pythons() {
		path, err := exec.LookPath(python[0])
		if err != nil {
			lacking = errors.Join(lacking, err)
			continue
		}
		args := append(python[1:len(python):len(python)], "-m", "pip", "download", "--no-deps",
			"--only-binary=:all:", "--no-cache-dir", "--progress-bar=off", "--no-input", "--disable-pip-version-check", "--dest", dir, "--", spec)
		out, err := runPip(ctx, dir, path, args)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if bytes.Contains(out, []byte("No module named pip")) {
			lacking = errors.Join(lacking, fmt.Errorf("%s has no pip", path))
			continue
		}
		if bytes.Contains(out, []byte("No space left on device")) {
			return fmt.Errorf("%w: pip could not download %s to %s; "+roomAdvice, ErrNoSpace, spec, dir)
		}
		return fmt.Errorf("pip could not download %s: %s", spec, pipReason(out, err))
	}
	return fmt.Errorf("a Python with pip is needed to download %s (%s); install it, or name one with LAPIDARY_PYTHON",
		spec, strings.ReplaceAll(fmt.Sprint(lacking), "\n", "; "))
}

// runPip runs in dir, not in the caller's folder: Python imports modules from
// the folder it runs in, and a file pip.py there would be executed. Its
// temporary files go to dir too, so that they share its disk and its fate.
func runPip(ctx context.Context, dir, path string, args []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "TEMP="+dir, "TMP="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	err := runWithParent(cmd)
	return out.Bytes(), err
}

// pipReason is the last line in which pip names an error.
func pipReason(out []byte, err error) string {
	reason := err.Error()
	for line := range strings.Lines(string(out)) {
		if msg, ok := strings.CutPrefix(strings.TrimSpace(line), "ERROR: "); ok {
			reason = msg
		}
	}
	return reason
}

// watchSize reports the bytes of the largest file below dir while pip writes
// there: a wheel lies in its temporary folder before it lies in dir, and for a
// moment in both.
func watchSize(dir string, at func(int64)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				at(largest(dir))
			}
		}
	}()
	return func() { close(quit); <-done }
}

func largest(dir string) (most int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				most = max(most, fi.Size())
			}
		}
		return nil // files come and go meanwhile
	})
	return most
}
