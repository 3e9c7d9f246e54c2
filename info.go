package lapidary

import (
	"encoding/json"
	"fmt"
	"runtime"

	"lapidary/checkpoint"
	"lapidary/gemma"
	"lapidary/hub"
)

// Info says what a model is and how it was opened.
type Info struct {
	hub.Local            // its name, where it lies, its licence
	Family        string // "gemma3"
	Engine        string // "cpu"
	Context       int    // tokens in use at most
	Vocabulary    int    // tokens
	Parameters    int64  // weights, a shared embedding counted once
	Bytes         int64  // that the weights take
	CompletesOnly bool   // has no chat template
}

// Info says what the model is.
func (m *Model) Info() Info {
	c := m.core.Config()
	i := Info{Local: m.local, Family: c.Family, Engine: m.engine.Name(), Context: c.Context, Vocabulary: c.Vocab}
	for _, t := range m.checkpoint.Tensors() {
		i.Parameters += int64(t.Rows()) * int64(t.Cols())
		i.Bytes += int64(len(t.Data))
	}
	_, err := m.Template()
	i.CompletesOnly = err != nil
	return i
}

// Name is what the user calls the model.
func (m *Model) Name() string { return m.local.Name }

// Context is how many tokens prompt and answer may have together.
func (m *Model) Context() int { return m.core.context }

// Checkpoint is the file or files the model came from, until Close.
func (m *Model) Checkpoint() *checkpoint.Checkpoint { return m.checkpoint }

// Params are the settings that the model's makers recommend: those that its
// files name, and [Defaults] for the rest.
func (m *Model) Params() (Params, error) {
	p := Defaults()
	if meta := m.checkpoint.Metadata(); meta != nil {
		fromMetadata(meta, &p)
	} else if data, err := m.checkpoint.Sibling("generation_config.json"); err == nil {
		if err := fromGenerationConfig(data, &p); err != nil {
			return p, err
		}
	}
	return p, p.Check()
}

// fromMetadata reads the keys of llama.cpp's converter.
func fromMetadata(meta *checkpoint.Metadata, p *Params) {
	const prefix = "general.sampling."
	if k, ok := meta.Uint(prefix + "top_k"); ok {
		p.TopK = int(min(k, 1<<30))
	}
	for key, to := range map[string]*float32{"temp": &p.Temperature, "top_p": &p.TopP, "min_p": &p.MinP} {
		if x, ok := meta.Float(prefix + key); ok {
			*to = float32(x)
		}
	}
}

// fromGenerationConfig reads transformers' generation_config.json. Its end
// tokens are the model's too: the file of a tuned model names the one that
// closes its turn.
func fromGenerationConfig(data []byte, p *Params) error {
	var c struct {
		Temperature *float32        `json:"temperature"`
		TopK        *int            `json:"top_k"`
		TopP        *float32        `json:"top_p"`
		MinP        *float32        `json:"min_p"`
		End         json.RawMessage `json:"eos_token_id"` // a number or a list
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("generation_config.json: %w", err)
	}
	set(&p.Temperature, c.Temperature)
	set(&p.TopK, c.TopK)
	set(&p.TopP, c.TopP)
	set(&p.MinP, c.MinP)
	var one int32
	if len(c.End) == 0 || json.Unmarshal(c.End, &p.StopTokens) == nil {
		return nil
	}
	if err := json.Unmarshal(c.End, &one); err != nil {
		return fmt.Errorf("generation_config.json: eos_token_id: %w", err)
	}
	p.StopTokens = []int32{one}
	return nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// MaxRows is how many tokens of a prompt are evaluated together at most.
const MaxRows = gemma.MaxRows

// Threads is how many threads compute.
func (m *Model) Threads() int {
	if e, ok := m.engine.(interface{ Threads() int }); ok {
		return e.Threads()
	}
	return runtime.GOMAXPROCS(0)
}
