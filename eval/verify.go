package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// ErrCommand refuses to run a task's command unless that was allowed.
var ErrCommand = errors.New("the task's verifier runs a command, which was not allowed")

// verify reports whether an answer passes.
type verify func(ctx context.Context, answer, expected string) (bool, error)

func (v *Verifier) needsAnswer() bool { return v.Kind == "numeric" || v.Kind == "boolean" }

func (t *Task) checkVerifier() error {
	v := t.Verifier
	if v == nil {
		return nil
	}
	for _, need := range []struct {
		kind, name string
		there      bool
	}{
		{"regexp", "pattern", v.Pattern != ""},
		{"schema", "schema, a file", v.Schema != ""},
		{"command", "command, a list of words", len(v.Command) > 0},
	} {
		if v.Kind == need.kind && !need.there {
			return fmt.Errorf("verifier %s needs %s", need.kind, need.name)
		}
	}
	if v.Timeout < 0 {
		return fmt.Errorf("verifier timeout %s: want 0 (ten seconds) or more", v.Timeout)
	}
	for _, kind := range verifiers {
		if v.Kind == kind {
			return nil
		}
	}
	return fmt.Errorf("verifier kind %q is none: %s", v.Kind, suggest(v.Kind, verifiers))
}

// open makes the verifier ready; a command needs to be allowed.
func (v *Verifier) open(allowCommand bool) (verify, error) {
	switch v.Kind {
	case "numeric":
		return sameAnswer(func(s string) (float64, bool) { return Number(s) }, sameNumber), nil
	case "boolean":
		return sameAnswer(boolean, func(a, b bool) bool { return a == b }), nil
	case "regexp":
		re, err := regexp.Compile(v.Pattern)
		if err != nil {
			return nil, fmt.Errorf("%w: verifier pattern: %w", ErrTask, err)
		}
		return func(_ context.Context, answer, _ string) (bool, error) { return re.MatchString(answer), nil }, nil
	case "schema":
		return validJSON(v.Schema)
	}
	if !allowCommand {
		return nil, fmt.Errorf("%w: %s", ErrCommand, strings.Join(v.Command, " "))
	}
	return v.runCommand, nil
}

// sameAnswer passes what is read as the same value as the given answer.
func sameAnswer[T any](read func(string) (T, bool), same func(a, b T) bool) verify {
	return func(_ context.Context, answer, expected string) (bool, error) {
		want, ok := read(expected)
		if !ok {
			return false, fmt.Errorf("the given answer %q cannot be verified: it is of another kind", shorten(expected))
		}
		got, ok := read(answer)
		return ok && same(got, want), nil
	}
}

var firstWord = regexp.MustCompile(`[A-Za-z0-9]+`)

// boolean reads a first word that means yes or no.
func boolean(s string) (value, ok bool) {
	switch strings.ToLower(firstWord.FindString(s)) {
	case "yes", "true", "1", "y", "t":
		return true, true
	case "no", "false", "0", "n", "f":
		return false, true
	}
	return false, false
}

// validJSON passes a JSON document that is valid by the schema in a file.
func validJSON(file string) (verify, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, fmt.Errorf("%w: verifier schema %s: %w", ErrTask, file, err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: verifier schema %s: %w", ErrTask, file, err)
	}
	return func(_ context.Context, answer, _ string) (bool, error) {
		var v any
		return json.Unmarshal([]byte(answer), &v) == nil && resolved.Validate(v) == nil, nil
	}, nil
}

const verifyTimeout = 10 * time.Second

// runCommand passes what the command exits with 0 for. A command that cannot be
// started is an error; one that takes too long fails the answer.
func (v *Verifier) runCommand(ctx context.Context, answer, expected string) (bool, error) {
	timeout := v.Timeout
	if timeout == 0 {
		timeout = verifyTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := exec.CommandContext(limited, v.Command[0], v.Command[1:]...)
	c.Stdin = bytes.NewReader([]byte(answer))
	c.Env = append(os.Environ(), "LAPIDARY_EXPECTED="+expected)
	c.WaitDelay = time.Second
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.As(err, &exit), limited.Err() != nil, errors.Is(err, exec.ErrWaitDelay):
		return false, nil
	}
	return false, fmt.Errorf("verifier command: %w", err)
}
