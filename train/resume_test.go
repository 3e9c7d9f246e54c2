package train

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapidary/train/recipe"
)

// A child of the tests trains what the recipe in TRAIN_TEST_RECIPE says, or goes
// on with it.
func TestMain(m *testing.M) {
	path := os.Getenv("TRAIN_TEST_RECIPE")
	if path == "" {
		os.Exit(m.Run())
	}
	if err := child(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(path string) error {
	r, err := recipe.Load(path)
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(r.Out, "recipe.yaml"))
	_, err = Run(context.Background(), r, Options{Resume: err == nil})
	return err
}

// TestKilled: a run that is killed at random moments ends in the same bytes as
// one that is not.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	root := t.TempDir()
	data := filepath.Join(root, "data.txt")
	if err := os.WriteFile(data, []byte(strings.Repeat("the cat sat on the mat and looked at the moon. ", 60)), 0o644); err != nil {
		t.Fatal(err)
	}
	start := func(name string) *exec.Cmd {
		text := fmt.Sprintf(fromRandom, "gemma3") + "data: {sources: [{path: " + data + ", format: text}]}\nsteps: 12\ncheckpoint: {every: 3}\nout: " + filepath.Join(root, name) + "\n"
		text = strings.Replace(text, "sequences: 4", "sequences: 4, accumulate: 2", 1)
		path := filepath.Join(root, name+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TRAIN_TEST_RECIPE="+path)
		return cmd
	}
	begun := time.Now()
	if out, err := start("whole").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(begun)
	for range 4 {
		cmd := start("killed")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(random.Int64N(int64(took))))
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}
	if out, err := start("killed").CombinedOutput(); err != nil {
		t.Fatalf("seed %d: %v: %s", seed, err, out)
	}
	for _, name := range []string{"metrics.jsonl", "model/model.safetensors"} {
		a, err := os.ReadFile(filepath.Join(root, "whole", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(root, "killed", name))
		if err != nil || string(a) != string(b) {
			t.Errorf("seed %d: %s of the run that was killed differs: %v", seed, name, err)
		}
	}
}
