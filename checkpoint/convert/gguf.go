package convert

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
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
	// Parts are what those tensors are joined of, row by row, that have no data.
	Parts map[string][]checkpoint.Tensor
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
	m := &Model{Metadata: s.metadata(), Source: c, Parts: map[string][]checkpoint.Tensor{}}
	m.Metadata["general.name"] = filepath.Base(filepath.Clean(c.Path()))
	if err := m.takeTensors(c, &s); err != nil {
		return nil, err
	}
	if err := m.takeDense(c, &s); err != nil {
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
	v.metadata(m.Metadata, s.split)
	return m, nil
}

// elsewhere are parts of models that text needs not, and what can be computed,
// in names of tensors.
var elsewhere = []string{"vision_", "multi_modal_projector.", "audio_", "embed_vision.", "embed_audio.", "masked_embedding.", "rotary_emb.inv_freq"}

// takeTensors changes what GGUF stores in another way.
func (m *Model) takeTensors(c *checkpoint.Checkpoint, s *settings) error {
	embedding, _ := c.Tensor("embed_tokens.weight")
	streams := map[string][]checkpoint.Tensor{}
	for _, t := range c.Tensors() {
		stream, of := streamOf(t.Name)
		switch {
		case slices.ContainsFunc(elsewhere, func(part string) bool { return strings.Contains(t.Name, part) }), s.tied(t.Name):
			m.LeftOut = append(m.LeftOut, t.Name)
			continue
		case t.Name == "lm_head.weight" && slices.Equal(t.Data, embedding.Data):
			continue // the same again
		case !t.Type.Known():
			return fmt.Errorf("tensor %q: format %s cannot be read", t.Name, t.Type)
		case of != "":
			if stream != len(streams[of]) && s.Streams == nil {
				return fmt.Errorf("tensor %q has no place in GGUF", t.Name)
			}
			streams[of] = append(streams[of], t)
			continue
		}
		if _, ok := checkpoint.GGUFName(s.arch, t.Name); !ok {
			return fmt.Errorf("tensor %q has no place in GGUF files of %s", t.Name, s.arch)
		}
		if t.Name == "embed_tokens_per_layer.weight" {
			m.takeTable(t, s.Vocab)
			continue
		}
		t, err := s.stored(t)
		if err != nil {
			return err
		}
		m.Tensors = append(m.Tensors, t)
	}
	if s.split && slices.Contains(s.local, false) {
		m.Tensors = append(m.Tensors, s.rotation())
	}
	return m.takeStreams(streams)
}

// tied says that a tensor holds values where the keys serve as such: its being
// there would say otherwise.
func (s *settings) tied(name string) bool {
	for i, l := range s.Layers {
		if l.Attention.TiedKV && name == fmt.Sprintf("layers.%d.self_attn.v_proj.weight", i) {
			return true
		}
	}
	return false
}

// streamOf takes "altup_projections.1.weight" apart.
func streamOf(name string) (i int, of string) {
	for _, of := range []string{"altup_projections", "altup_unembed_projections"} {
		if rest, ok := strings.CutPrefix(name, of+"."); ok {
			number, _, _ := strings.Cut(rest, ".")
			if i, err := strconv.Atoi(number); err == nil {
				return i, of
			}
		}
	}
	return 0, ""
}

// takeStreams joins the matrices of the streams, which are square and alike.
func (m *Model) takeStreams(streams map[string][]checkpoint.Tensor) error {
	for _, of := range slices.Sorted(maps.Keys(streams)) {
		parts := streams[of]
		slices.SortFunc(parts, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) }) // there are fewer than ten
		for i, t := range parts {
			if n, _ := streamOf(t.Name); n != i || !slices.Equal(t.Shape, parts[0].Shape) || t.Type != parts[0].Type {
				return fmt.Errorf("tensor %q does not go with %q", t.Name, parts[0].Name)
			}
		}
		m.join(of+".weight", append([]int{len(parts)}, parts[0].Shape...), parts)
	}
	return nil
}

// join adds a tensor of parts that are joined when it is written.
func (m *Model) join(name string, shape []int, parts []checkpoint.Tensor) {
	m.Tensors = append(m.Tensors, checkpoint.Tensor{Name: name, Type: parts[0].Type, Shape: shape})
	m.Parts[name] = parts
}

// takeTable gives the second embedding a row for each token: GGUF's readers
// want that. What lies beyond a shorter one counts as its first row.
func (m *Model) takeTable(t checkpoint.Tensor, vocab int) {
	if t.Rows() >= vocab {
		m.Tensors = append(m.Tensors, t)
		return
	}
	parts := []checkpoint.Tensor{t}
	for range vocab - t.Rows() {
		parts = append(parts, checkpoint.Tensor{Name: t.Name, Type: t.Type, Shape: []int{1, t.Cols()}, Data: t.Row(0)})
	}
	m.join(t.Name, []int{vocab, t.Cols()}, parts)
}

// takeDense takes the layers after an encoder's mean from their folders.
func (m *Model) takeDense(c *checkpoint.Checkpoint, s *settings) error {
	for i := range s.Head.Dense {
		name := fmt.Sprintf("%d_Dense", i+2)
		part, err := c.Part(name)
		if err != nil {
			return err
		}
		t, ok := part.Tensor("weight")
		if !ok {
			return fmt.Errorf("%s: there is no linear.weight", name)
		}
		t.Name = name + ".weight"
		m.Tensors = append(m.Tensors, t)
	}
	return nil
}

// rotation says which angles of a global head turn: those that are divided by
// 1, where 1e30 leaves nothing.
func (s *settings) rotation() checkpoint.Tensor {
	half := s.far.HeadSize / 2
	turn := s.far.Rope.Turn
	if turn == 0 {
		turn = half
	}
	var data []byte
	for i := range half {
		divisor := float32(1)
		if i >= turn {
			divisor = 1e30
		}
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(divisor))
	}
	return checkpoint.Tensor{Name: "rope_freqs.weight", Type: checkpoint.F32, Shape: []int{half}, Data: data}
}

// stored is a tensor as GGUF has it: norms with one added, and queries scaled
// where the score scale is not the one that GGUF implies.
func (s *settings) stored(t checkpoint.Tensor) (checkpoint.Tensor, error) {
	factor, offset := 1.0, 0.0
	if isNorm(t.Name) {
		offset = float64(s.NormOffset)
	}
	queries := "self_attn.q_proj.weight"
	if s.near.QKNorm {
		queries = "self_attn.q_norm.weight"
	}
	if f := s.fold(); math.Abs(f-1) > 1e-6 && strings.HasSuffix(t.Name, queries) {
		factor = f
	}
	if factor == 1 && offset == 0 && (t.Type == checkpoint.F32 || !exact(t)) {
		return t, nil
	}
	return mapped(t, func(v float64) float64 { return (v + offset) * factor })
}

// exact reports whether llama.cpp wants a tensor in float32: vectors, which it
// multiplies element by element, and matrices of a few numbers.
func exact(t checkpoint.Tensor) bool {
	return len(t.Shape) < 2 || strings.HasSuffix(t.Name, "router.proj.weight") || strings.HasSuffix(t.Name, "ion_coefs.weight")
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
