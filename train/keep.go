package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/distributed"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/train/data"
	"lapidary/train/journal"
	"lapidary/train/recipe"
	"lapidary/train/scratch"
)

// names of a checkpoint's files: what is trained, and the optimiser's state.
const (
	weightsFile = "weights.safetensors"
	stateFile   = "optimizer.safetensors"
)

// save writes a checkpoint. A disk that has no room for it ends the run, or does
// not, as the recipe says; at the end it does.
func (s *session) save(last bool) error {
	if saved := s.journal.Latest(); saved != nil && saved.Step == s.place.Step {
		return nil
	}
	err := s.journal.Checkpoint(s.place.Step, s.place, func(w *journal.Writer) error {
		names := partNames(s.machine.weights)
		if err := s.machine.write(w, weightsFile, names, func(t *trained) ([]compute.Buffer, [][]int, []string) {
			return []compute.Buffer{t.value}, [][]int{t.Dims}, []string{""}
		}); err != nil {
			return err
		}
		return s.machine.write(w, stateFile, names, func(t *trained) (buffers []compute.Buffer, dims [][]int, ends []string) {
			for i, slot := range t.shapes {
				buffers, dims, ends = append(buffers, t.slots[i]), append(dims, slot.Dims), append(ends, "."+slot.Name)
			}
			return buffers, dims, ends
		})
	})
	if err != nil && !last && s.recipe.Checkpoint.OnFull == recipe.FullContinue && errors.Is(err, journal.ErrFull) {
		s.options.Say(err.Error() + "; going on without this checkpoint")
		return s.journal.Log("%v; going on", err)
	}
	return err
}

// write writes some of each weight's buffers as one file, reading one at a time.
func (m *machine) write(w *journal.Writer, file string, names []string, of func(t *trained) ([]compute.Buffer, [][]int, []string)) error {
	type source struct {
		buffer compute.Buffer
		dims   []int
	}
	var tensors []checkpoint.Tensor
	at := map[string]source{}
	for i, t := range m.weights {
		buffers, dims, ends := of(t)
		for j, b := range buffers {
			name := names[i] + ends[j]
			tensors = append(tensors, checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: dims[j]})
			at[name] = source{b, dims[j]}
		}
	}
	return w.Tensors(file, tensors, func(out io.Writer, t checkpoint.Tensor) error {
		values, err := read(at[t.Name].buffer, at[t.Name].dims)
		if err != nil {
			return err
		}
		_, err = out.Write(bytesOf(values))
		return err
	})
}

// bytesOf are float32 as they are stored, least byte first.
func bytesOf(values []float32) []byte {
	out := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
	}
	return out
}

// restore puts the machine in a checkpoint's state.
func (s *session) restore(saved *journal.Saved) error {
	names := partNames(s.machine.weights)
	for _, file := range []string{weightsFile, stateFile} {
		c, err := saved.Tensors(file)
		if err != nil {
			return err
		}
		err = s.machine.load(c, names, file == stateFile)
		if closed := c.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// load puts a file's values in the place of the weights or their slots.
func (m *machine) load(c *checkpoint.Checkpoint, names []string, slots bool) error {
	stored := map[string]checkpoint.Tensor{}
	for _, t := range c.Tensors() {
		stored[t.Name] = t
	}
	put := func(name string, dims []int, spec *distributed.ShardingSpec, b *compute.Buffer) error {
		t, ok := stored[checkpoint.CanonicalName(name)]
		if !ok || t.Rows()*t.Cols() != size(dims) {
			return fmt.Errorf("%s is missing or has another shape", name)
		}
		values := make([]float32, size(dims))
		if err := checkpoint.Dequantize(t.Type, values, t.Data); err != nil {
			return err
		}
		fresh, err := m.place(values, dims, spec)
		if err != nil {
			return err
		}
		release(*b)
		*b = fresh
		return nil
	}
	for i, t := range m.weights {
		if !slots {
			if err := put(names[i], t.Dims, m.matrix(t), &t.value); err != nil {
				return err
			}
			continue
		}
		for j, slot := range t.shapes {
			if err := put(names[i]+"."+slot.Name, slot.Dims, m.slot(t, slot.Dims), &t.slots[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// export writes what was trained as others read it: an adapter in PEFT's files,
// or a copy of the model's folder with new weights.
func (s *session) export(ctx context.Context) (string, error) {
	to := s.modelFolder()
	if a := s.base.adapter; a != nil {
		if err := s.machine.into(a); err != nil {
			return "", err
		}
		if err := a.Write(to); err != nil {
			return "", err
		}
		return to, s.exportTemplate(to)
	}
	from := s.base.checkpoint.Path()
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s is not a folder: all weights of a Hugging Face folder can be trained (lapidary convert makes one), or an adapter beside any file", from)
	}
	part := to + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := s.exportFolder(ctx, s.base.checkpoint, from, part); err != nil {
		return "", err
	}
	if err := os.RemoveAll(to); err != nil {
		return "", err
	}
	return to, os.Rename(part, to)
}

// exportTemplate leaves the chat template beside an adapter that has learnt from
// conversations.
func (s *session) exportTemplate(to string) error {
	spec, err := s.sources()
	if err != nil || !slices.ContainsFunc(spec.Sources, func(d data.Source) bool { return d.Chats() }) {
		return err
	}
	source := s.base.template.Source()
	if source == "" {
		source = scratch.ChatTemplate(s.base.model.Config().Family)
	}
	return adapter.WriteWhole(filepath.Join(to, adapter.TemplateFile), func(w io.Writer) error {
		_, err := io.WriteString(w, source)
		return err
	})
}

// into puts the trained values into an adapter.
func (m *machine) into(a *adapter.Adapter) error {
	at := map[string]*trained{}
	for _, t := range m.weights {
		at[t.weight.Name()] = t
	}
	for i := range a.Modules {
		module := &a.Modules[i]
		for _, t := range []*checkpoint.Tensor{&module.A, &module.B, &module.Magnitude} {
			if w := at[t.Name]; w != nil && t.Data != nil {
				values, err := read(w.value, w.Dims)
				if err != nil {
					return err
				}
				*t = adapter.Floats(t.Name, values, t.Shape...)
			}
		}
	}
	return nil
}

// exportFolder copies a checkpoint's folder, its weights replaced by what was
// trained, in float32 where they were.
func (s *session) exportFolder(ctx context.Context, c *checkpoint.Checkpoint, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, dest := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
			continue
		case e.IsDir():
			if part, none := c.Part(e.Name()); none == nil { // a dense layer behind an encoder
				err = s.exportFolder(ctx, part, source, dest)
			} else {
				err = os.CopyFS(dest, os.DirFS(source))
			}
		case strings.HasSuffix(e.Name(), ".safetensors"):
			err = s.exportWeights(ctx, c, source, dest)
		default:
			var text []byte
			if text, err = os.ReadFile(source); err == nil {
				err = os.WriteFile(dest, text, 0o644)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exportWeights writes one of a checkpoint's files of weights anew.
func (s *session) exportWeights(ctx context.Context, of *checkpoint.Checkpoint, from, to string) error {
	c, err := checkpoint.Open(from)
	if err != nil {
		return err
	}
	defer c.Close()
	stored, err := adapter.StoredNames(from)
	if err != nil {
		return err
	}
	tensors := make([]checkpoint.Tensor, len(stored))
	canonical := map[string]checkpoint.Tensor{}
	for i, t := range c.Tensors() {
		canonical[stored[i]] = t
		tensors[i] = t
		tensors[i].Name = stored[i]
	}
	return adapter.WriteWhole(to, func(w io.Writer) error {
		return checkpoint.StreamSafetensors(w, tensors, func(w io.Writer, t checkpoint.Tensor) error {
			values, err := s.machine.whole(canonical[t.Name], of)
			if err != nil || values == nil {
				if err == nil {
					_, err = w.Write(t.Data)
				}
				return err
			}
			return adapter.Floats(t.Name, values, t.Shape...).Recode(ctx, w, t.Type, nil)
		})
	})
}

// whole is a tensor with what was trained of it, nil if nothing was. A tensor may
// have become several weights, each of some of its rows.
func (m *machine) whole(t checkpoint.Tensor, c *checkpoint.Checkpoint) ([]float32, error) {
	mapped, ok := c.Tensor(t.Name)
	if !ok {
		return nil, nil
	}
	var values []float32
	elsewhere := false
	for _, w := range m.weights {
		if w.weight.Name() != t.Name {
			continue
		}
		from, in := within(w.weight.Stored().Data, mapped.Data)
		if !in { // of that name in another part of the checkpoint
			elsewhere = true
			continue
		}
		if values == nil {
			values = make([]float32, t.Rows()*t.Cols())
			if err := checkpoint.Dequantize(t.Type, values, t.Data); err != nil {
				return nil, err
			}
		}
		part, err := read(w.value, w.Dims)
		if err != nil {
			return nil, err
		}
		at := from * len(values) / len(mapped.Data)
		if at+len(part) > len(values) {
			return nil, fmt.Errorf("tensor %s: a part of it is not where it was", t.Name)
		}
		copy(values[at:], part)
	}
	if values == nil && elsewhere {
		return nil, fmt.Errorf("tensor %s: what was trained of it is not where it was", t.Name)
	}
	return values, nil
}

// within is where a part lies in the bytes of a tensor.
func within(part, whole []byte) (at int, in bool) {
	first, last := reflect.ValueOf(whole).Pointer(), reflect.ValueOf(part).Pointer()
	return int(last - first), last >= first && last-first < uintptr(len(whole))
}
