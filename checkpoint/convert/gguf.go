package convert

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"lapidary/checkpoint"
	"lapidary/gemma"
)

// Model is a model as a GGUF file says it.
type Model struct {
	Metadata map[string]any
	// Tensors have canonical names. Their data may alias the checkpoint that
	// the model came from, which has to stay open.
	Tensors []checkpoint.Tensor
	// Source is that checkpoint.
	Source *checkpoint.Checkpoint
	// LeftOut are the tensors of the source that text needs not.
	LeftOut []string
}

// ToGGUF says a checkpoint in GGUF. A GGUF checkpoint stays as it is, except
// that a split one becomes one file.
func ToGGUF(c *checkpoint.Checkpoint) (*Model, error) {
	if c.Metadata() != nil {
		return fromGGUF(c), nil
	}
	m, err := fromFolder(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path(), err)
	}
	return m, nil
}

func fromGGUF(c *checkpoint.Checkpoint) *Model {
	m := &Model{Metadata: map[string]any{}, Tensors: c.Tensors(), Source: c}
	meta := c.Metadata()
	for _, key := range meta.Keys() {
		if !strings.HasPrefix(key, "split.") {
			m.Metadata[key] = meta.Any(key)
		}
	}
	return m
}

func fromFolder(c *checkpoint.Checkpoint) (*Model, error) {
	config, err := gemma.ReadConfig(c)
	if err != nil {
		return nil, err
	}
	s, err := settingsOf(config)
	if err != nil {
		return nil, err
	}
	m := &Model{Metadata: s.metadata(), Source: c}
	m.Metadata["general.name"] = filepath.Base(filepath.Clean(c.Path()))
	if err := m.takeTensors(c, &s); err != nil {
		return nil, err
	}
	v, err := folderVocab(c.Sibling)
	if err == nil {
		err = v.fit(s.Vocab)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil // bare weights: what takes ids can use them
	}
	if err != nil {
		return nil, err
	}
	v.metadata(m.Metadata)
	return m, nil
}

// elsewhere are the parts of models for more than text, in names of tensors.
var elsewhere = []string{"vision_tower.", "multi_modal_projector.", "vision_model.", "audio_tower."}

// takeTensors changes what GGUF stores in another way.
func (m *Model) takeTensors(c *checkpoint.Checkpoint, s *settings) error {
	embedding, _ := c.Tensor("embed_tokens.weight")
	for _, t := range c.Tensors() {
		switch {
		case slices.ContainsFunc(elsewhere, func(part string) bool { return strings.Contains(t.Name, part) }):
			m.LeftOut = append(m.LeftOut, t.Name)
			continue
		case t.Name == "lm_head.weight" && slices.Equal(t.Data, embedding.Data):
			continue // the same again
		case !t.Type.Known():
			return fmt.Errorf("tensor %q: format %s cannot be read", t.Name, t.Type)
		}
		t, err := s.stored(t)
		if err != nil {
			return err
		}
		m.Tensors = append(m.Tensors, t)
	}
	return nil
}

// stored is a tensor as GGUF has it: norms with one added, and queries scaled
// where the score scale is not the one that GGUF implies.
func (s *settings) stored(t checkpoint.Tensor) (checkpoint.Tensor, error) {
	factor, offset := 1.0, 0.0
	if isNorm(t.Name) {
		offset = float64(s.NormOffset)
	}
	queries := "self_attn.q_proj.weight"
	if s.heads.QKNorm {
		queries = "self_attn.q_norm.weight"
	}
	if f := s.fold(); math.Abs(f-1) > 1e-6 && strings.HasSuffix(t.Name, queries) {
		factor = f
	}
	if factor == 1 && offset == 0 {
		return t, nil
	}
	return mapped(t, func(v float64) float64 { return (v + offset) * factor })
}

func isNorm(name string) bool { return strings.HasSuffix(name, "norm.weight") }

// mapped is a tensor of float32 numbers made from another's. It is for small
// ones: all of it is in memory.
func mapped(t checkpoint.Tensor, f func(float64) float64) (checkpoint.Tensor, error) {
	values := make([]float32, t.Rows()*t.Cols())
	if err := checkpoint.Dequantize(t.Type, values, t.Data); err != nil {
		return t, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(f(float64(v)))))
	}
	return checkpoint.Tensor{Name: t.Name, Type: checkpoint.F32, Shape: t.Shape, Data: data}, nil
}
