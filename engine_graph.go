package lapidary

import (
	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/engine/graph/plugin"
)

// The engine "graph" computes with XLA where a plugin is installed, so that a GPU
// or a TPU serves what it trained.
func init() {
	engines["graph"] = func(int) (engine.Engine, error) {
		choice, err := plugin.Best("auto")
		if err != nil {
			return nil, err
		}
		e, err := graph.New(graph.Options{Backend: choice.Config})
		if err != nil {
			return nil, err
		}
		return e, nil
	}
}
