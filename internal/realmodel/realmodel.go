// Package realmodel gives tests the real Gemma 3 270M, as a user would get it:
// pulled once into the user's own store by package hub, and used from there.
package realmodel

import (
	"context"
	"sync"
	"testing"

	"lapidary/hub"
)

// Name is the catalogue name of the model: pretrained, Q4_K_M, 253 MB.
const Name = "gemma3:270m-pt"

var pull = sync.OnceValues(func() (string, error) {
	store, err := hub.Default()
	if err != nil {
		return "", err
	}
	local, err := store.Pull(context.Background(), Name, nil)
	return local.Path, err
})

// Path is the model's .gguf file. The first call on a machine downloads it;
// test binaries that run at the same time wait for one download. A test that
// cannot have the model fails: skipping it would prove nothing.
func Path(tb testing.TB) string {
	tb.Helper()
	path, err := pull()
	if err != nil {
		tb.Fatalf("the real model is needed and cannot be had: %v", err)
	}
	return path
}
