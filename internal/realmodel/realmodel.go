// Package realmodel gives tests the real models, as a user would get them:
// pulled once into the user's own store by package hub, and used from there.
package realmodel

import (
	"context"
	"sync"
	"testing"

	"lapidary/hub"
)

// The catalogue names of the models.
const (
	Name      = "gemma3:270m-pt"      // Gemma 3 270M, pretrained, Q4_K_M, 253 MB
	Embedding = "embeddinggemma:300m" // EmbeddingGemma 300M, float32, 1.3 GB
)

var gemma, embedding = puller(Name), puller(Embedding)

func puller(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		store, err := hub.Default()
		if err != nil {
			return "", err
		}
		local, err := store.Pull(context.Background(), name, nil)
		return local.Path, err
	})
}

// Path is the .gguf file of Gemma 3 270M. The first call on a machine downloads
// it; test binaries that run at the same time wait for one download. A test that
// cannot have the model fails: skipping it would prove nothing.
func Path(tb testing.TB) string {
	tb.Helper()
	return path(tb, gemma)
}

// EmbeddingPath is the folder of EmbeddingGemma 300M, had in the same way.
func EmbeddingPath(tb testing.TB) string {
	tb.Helper()
	return path(tb, embedding)
}

func path(tb testing.TB, pull func() (string, error)) string {
	tb.Helper()
	path, err := pull()
	if err != nil {
		tb.Fatalf("the real model is needed and cannot be had: %v", err)
	}
	return path
}
