package adapter

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lapidary/checkpoint"
)

// The files of an adapter's folder.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
)

// maxConfig is far above any adapter_config.json.
const maxConfig = 1 << 20

// Open reads the adapter in a folder, or whose adapter_model.safetensors is
// named. It is in memory afterwards; there is nothing to close.
func Open(path string) (*Adapter, error) {
	if filepath.Base(path) == WeightsFile || filepath.Base(path) == ConfigFile {
		path = filepath.Dir(path)
	}
	a := &Adapter{Path: path}
	if err := a.read(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Adapter) read() error {
	name := filepath.Join(a.Path, ConfigFile)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no adapter: it has no %s; name a folder that PEFT or lapidary train has written: %w", a.Path, ConfigFile, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return err
	}
	if a.Config, err = ReadConfig(text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	file := filepath.Join(a.Path, WeightsFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no %s in it (older PEFT wrote adapter_model.bin, a pickle: save it again with a newer one)", a.Path, WeightsFile)
	}
	tensors, names, err := load(file)
	if err == nil {
		err = a.assemble(tensors, names)
	}
	if err != nil && !strings.HasPrefix(err.Error(), file) {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return err
}

// load are the tensors of a safetensors file under their canonical names, in
// memory, and the names that the file itself gives them.
func load(path string) (tensors []checkpoint.Tensor, names []string, err error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	if names, err = StoredNames(path); err != nil {
		return nil, nil, err
	}
	if len(names) != len(c.Tensors()) {
		return nil, nil, fmt.Errorf("%d names for %d tensors", len(names), len(c.Tensors()))
	}
	tensors = slices.Clone(c.Tensors())
	for i := range tensors {
		tensors[i].Data = slices.Clone(tensors[i].Data)
	}
	return tensors, names, nil
}

// StoredNames are the names in a safetensors file in the order of the data.
func StoredNames(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var size uint64
	if err := binary.Read(f, binary.LittleEndian, &size); err != nil || size > uint64(info.Size()) {
		return nil, fmt.Errorf("%s: the header is damaged", path)
	}
	var header map[string]struct {
		Offsets [2]uint64 `json:"data_offsets"`
	}
	if err := json.NewDecoder(io.LimitReader(f, int64(size))).Decode(&header); err != nil {
		return nil, fmt.Errorf("%s: the header is damaged: %w", path, err)
	}
	delete(header, "__metadata__")
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := header[a].Offsets, header[b].Offsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	return names, nil
}

// assemble puts the tensors of a file together.
func (a *Adapter) assemble(tensors []checkpoint.Tensor, names []string) error {
	at := map[string]*Module{}
	for i, t := range tensors {
		path, place, err := split(names[i])
		if err != nil {
			return err
		}
		if t.Type != checkpoint.F32 && t.Type != checkpoint.F16 && t.Type != checkpoint.BF16 {
			return fmt.Errorf("tensor %s: format %s; want F32, F16 or BF16", t.Name, t.Type)
		}
		m := at[path]
		if m == nil {
			name, _, _ := split(t.Name) // which ends as the stored one does
			m = &Module{Name: canonical(name), Path: path}
			at[path] = m
		}
		t.Name = names[i]
		*place(m) = t
	}
	for _, m := range at {
		if err := a.check(m); err != nil {
			return err
		}
		m.Scale = a.Config.scale(m.Path, m.Rank())
		a.Modules = append(a.Modules, *m)
	}
	if len(at) == 0 {
		return errors.New("there are no tensors in it")
	}
	a.sorted()
	return a.unique()
}

// split is which module a tensor belongs to, and where in it.
func split(name string) (path string, place func(*Module) *checkpoint.Tensor, err error) {
	path, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", nil, fmt.Errorf("tensor %s: its name does not begin with %s", name, prefix)
	}
	for _, part := range []struct {
		suffix string
		place  func(*Module) *checkpoint.Tensor
	}{
		{suffixA, func(m *Module) *checkpoint.Tensor { return &m.A }},
		{suffixB, func(m *Module) *checkpoint.Tensor { return &m.B }},
		{suffixLengths, func(m *Module) *checkpoint.Tensor { return &m.Magnitude }},
		{suffixLengths + ".weight", func(m *Module) *checkpoint.Tensor { return &m.Magnitude }},
	} {
		if of, ok := strings.CutSuffix(path, part.suffix); ok {
			return of, part.place, nil
		}
	}
	if why := reason(path); why != "" {
		return "", nil, fmt.Errorf("tensor %s: %s", name, why)
	}
	return "", nil, fmt.Errorf("tensor %s: it is no part of a LoRA or DoRA of a linear layer, and would be ignored", name)
}

// check compares a module's tensors with each other and the configuration.
func (a *Adapter) check(m *Module) error {
	switch {
	case m.A.Data == nil || m.B.Data == nil:
		return fmt.Errorf("%s: one of lora_A and lora_B is missing", m.Path)
	case len(m.A.Shape) != 2 || len(m.B.Shape) != 2:
		return fmt.Errorf("%s: lora_A is %v and lora_B %v: only linear layers are adapted", m.Path, m.A.Shape, m.B.Shape)
	case m.A.Rows() != m.B.Cols() || m.Rank() < 1 || m.In() < 1 || m.Out() < 1:
		return fmt.Errorf("%s: lora_A is %v and lora_B %v: their ranks differ", m.Path, m.A.Shape, m.B.Shape)
	case m.DoRA() != a.Config.DoRA:
		return fmt.Errorf("%s: use_dora is %v and lora_magnitude_vector there: %v", m.Path, a.Config.DoRA, m.DoRA())
	case m.DoRA() && m.Magnitude.Rows()*m.Magnitude.Cols() != m.Out():
		return fmt.Errorf("%s: lora_magnitude_vector is %v for %d outputs", m.Path, m.Magnitude.Shape, m.Out())
	}
	if rank := int(a.Config.RankPattern.of(m.Path, float64(a.Config.Rank))); rank != m.Rank() {
		return fmt.Errorf("%s: the rank is %d in the tensors and %d in %s", m.Path, m.Rank(), rank, ConfigFile)
	}
	if m.DoRA() {
		m.Magnitude.Name, m.Magnitude.Shape = prefix+m.Path+suffixLengths, []int{m.Out()}
	}
	return nil
}

// unique refuses two modules of one layer.
func (a *Adapter) unique() error {
	paths := map[string]string{}
	for _, m := range a.Modules {
		if other, twice := paths[m.Name]; twice {
			return fmt.Errorf("%s and %s are the same layer", other, m.Path)
		}
		paths[m.Name] = m.Path
	}
	return nil
}

// Write writes the adapter into a folder, which is made if it is not there.
// Files of an adapter that was there are replaced, each as a whole.
func (a *Adapter) Write(path string) error {
	text, err := a.Config.text()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	data := map[string][]byte{}
	for _, t := range a.Tensors() {
		data[t.Name] = t.Data
	}
	err = WriteWhole(filepath.Join(path, WeightsFile), func(w io.Writer) error {
		return checkpoint.StreamSafetensors(w, a.Tensors(), func(w io.Writer, t checkpoint.Tensor) error {
			_, err := w.Write(data[t.Name])
			return err
		})
	})
	if err != nil {
		return err
	}
	return WriteWhole(filepath.Join(path, ConfigFile), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// WriteWhole writes a file that is there as a whole or not at all: until all is
// written, and after an error, path is as it was.
func WriteWhole(path string, write func(w io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if err = write(tmp); err == nil {
		err = errors.Join(tmp.Chmod(0o644), tmp.Sync())
	}
	if closing := tmp.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // what went wrong before it matters more
	}
	return err
}
