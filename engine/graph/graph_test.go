package graph_test

import (
	"os"
	"testing"

	"lapidary/engine"
	"lapidary/engine/enginetest"
	"lapidary/engine/graph"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t) }, enginetest.Roomy)
}

func open(t *testing.T) *graph.Engine {
	t.Helper()
	e, err := graph.New(graph.Options{Backend: os.Getenv("LAPIDARY_TEST_BACKEND")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
