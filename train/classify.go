package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

// classify is the cross-entropy of a text's label given its last token. With
// label smoothing ε the label counts 1 − ε, and all labels together ε (Szegedy
// et al. 2015, arXiv:1512.00567).
type classify struct {
	smoothing float64
	labels    []int32 // of the head, of each class of the data
}

// newClassify finds the data's classes among the head's labels, by name.
func newClassify(o recipe.Objective, c gemma.Config, head, classes []string) (objective, error) {
	switch {
	case c.Head.Labels == 0:
		return nil, fmt.Errorf("objective classify: this %s model has no head for labels", c.Family)
	case c.Head.PerToken:
		return nil, errors.New("objective classify: this model has labels for tokens, not for texts")
	}
	if len(o.Labels) > 0 {
		head = o.Labels
	}
	if len(head) != c.Head.Labels {
		return nil, fmt.Errorf("objective.labels: %d names, and the model's head has %d labels", len(head), c.Head.Labels)
	}
	out := classify{smoothing: o.LabelSmoothing}
	for _, name := range classes {
		at := slices.Index(head, name)
		if at < 0 {
			return nil, fmt.Errorf("data: label %q is not among the model's, %q; objective.labels names them in the order of the head", name, head)
		}
		out.labels = append(out.labels, int32(at))
	}
	return out, nil
}

// labelNames are those of a config.json, in the order of the head.
func labelNames(config []byte) ([]string, error) {
	var c struct {
		Names map[string]string `json:"id2label"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("config.json: id2label: %w", err)
	}
	names := make([]string, len(c.Names))
	for i := range names {
		name, ok := c.Names[strconv.Itoa(i)]
		if !ok {
			return nil, fmt.Errorf("config.json: id2label has %d names and none for %d", len(names), i)
		}
		names[i] = name
	}
	return names, nil
}

func (classify) kind() data.Kind { return data.Labelled }

func (classify) counts(b data.Batch) float64 {
	var n float64
	for i, label := range b.Labels {
		if label >= 0 && documentOf(b, i) > 0 {
			n++
		}
	}
	return n
}

func (c classify) trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error) {
	line, steps := s.apart(b)
	t := s.engine.Trace(line)
	read, err := s.model.On(t).Classify(ctx, steps)
	if err != nil {
		return nil, err
	}
	x, err := ofLines(t, read)
	if err != nil {
		return nil, err
	}
	ids, weights := make([]int32, b.Lines), make([]float32, b.Lines)
	for i, label := range b.Labels {
		if label >= 0 && documentOf(b, i) > 0 {
			ids[i], weights[i] = c.labels[label], float32(by)
		}
	}
	l := t.Apply(graph.Operation{
		Key: keyed("classify", c.smoothing), In: []engine.Tensor{x}, Ints: [][]int32{ids}, Floats: [][]float32{weights}, Rows: 1, Width: 1,
		Lower: func(l *graph.Lowering) *Node {
			logs := logSoftmax(l.In[0])
			each := pickEach(logs, l.Data[0])
			if c.smoothing > 0 {
				each = Add(times(each, 1-c.smoothing), times(ReduceMean(logs, 1), c.smoothing))
			}
			return Reshape(Neg(ReduceAllSum(Mul(each, l.Data[1]))), 1, 1)
		},
	})
	return t.Record(l, l)
}

// classifiers are what transformers calls models with a head for labels.
var classifiers = map[string]string{
	"GemmaForCausalLM": "GemmaForSequenceClassification", "Gemma2ForCausalLM": "Gemma2ForSequenceClassification",
	"Gemma3ForCausalLM": "Gemma3TextForSequenceClassification",
}

// withHead is the folder of the model, or where it has no head for labels that of
// the same model with one of small random numbers. It is made once: a run that
// goes on finds it.
func (s *session) withHead(ctx context.Context, from string) (string, error) {
	if s.recipe.Objective.Kind != recipe.Classify {
		return from, nil
	}
	to := filepath.Join(s.recipe.Out, "labelled")
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	c, err := checkpoint.Open(from)
	if err != nil {
		return "", err
	}
	defer c.Close()
	config, err := gemma.ReadConfig(c)
	if err != nil || config.Head.Labels > 0 {
		return from, err
	}
	if s.recipe.Adapter.Kind != recipe.NoAdapter {
		return "", errors.New("objective classify: this model has no head for labels, and an adapter's files hold none; train all weights, or begin with a classifier")
	}
	labels := s.recipe.Objective.Labels
	if len(labels) == 0 {
		if labels, err = s.labelsOfData(ctx); err != nil {
			return "", err
		}
	}
	if len(labels) < 2 {
		return "", fmt.Errorf("objective classify: the data has labels %q; there is nothing to tell apart", labels)
	}
	s.options.Say(fmt.Sprintf("the model gets a new head for labels %q", labels))
	part := to + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := addHead(c, part, labels, config.Width, s.recipe.Seed); err != nil {
		return "", err
	}
	return to, os.Rename(part, to)
}

// labelsOfData are the names of classes, sorted.
func (s *session) labelsOfData(ctx context.Context) ([]string, error) {
	spec, err := s.sources()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for i := range spec.Sources {
		for e, err := range spec.Sources[i].Examples(ctx) {
			var broken *data.Broken
			switch {
			case spec.Sources[i].SkipBroken && errors.As(err, &broken):
			case err != nil:
				return nil, err
			case e.Label != "":
				found[e.Label] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// addHead writes a folder with the files of a model's, a new file of one tensor,
// and a config.json that says so, as transformers has them.
func addHead(c *checkpoint.Checkpoint, to string, labels []string, width int, seed uint64) error {
	from := c.Path()
	if c.Folder() == nil {
		return fmt.Errorf("objective classify: %s has no head for labels; one can be added to a Hugging Face folder alone (lapidary convert makes one)", from)
	}
	config, err := labelledConfig(c.ConfigJSON(), labels)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, "config.json"), config, 0o644); err != nil {
		return err
	}
	files, err := weightFiles(from)
	if err != nil {
		return err
	}
	where := map[string]string{"score.weight": "model-score.safetensors"}
	for _, file := range files {
		names, err := adapter.StoredNames(filepath.Join(from, file))
		if err != nil {
			return err
		}
		named := file
		if file == oneFile {
			named = "model-base.safetensors" // readers would look no further than a file of the usual name
		}
		for _, name := range names {
			where[name] = named
		}
		if err := share(filepath.Join(from, file), filepath.Join(to, named)); err != nil {
			return err
		}
	}
	index, err := json.MarshalIndent(map[string]any{"metadata": map[string]any{}, "weight_map": where}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, indexFile), index, 0o644); err != nil {
		return err
	}
	if err := shareRest(from, to); err != nil {
		return err
	}
	return writeHead(filepath.Join(to, "model-score.safetensors"), len(labels), width, seed)
}

const (
	oneFile   = "model.safetensors"
	indexFile = "model.safetensors.index.json"
)

// labelledConfig is a config.json with labels.
func labelledConfig(config []byte, labels []string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	var architectures []string
	if err := json.Unmarshal(all["architectures"], &architectures); err != nil || len(architectures) != 1 || classifiers[architectures[0]] == "" {
		return nil, fmt.Errorf("objective classify: architecture %q gets no new head for labels; %q do", architectures, slices.Sorted(maps.Keys(classifiers)))
	}
	names, ids := map[string]string{}, map[string]int{}
	for i, l := range labels {
		names[strconv.Itoa(i)], ids[l] = l, i
	}
	for key, v := range map[string]any{
		"architectures": []string{classifiers[architectures[0]]}, "num_labels": len(labels), "id2label": names, "label2id": ids,
		"problem_type": "single_label_classification",
	} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		all[key] = text
	}
	return json.MarshalIndent(all, "", "  ")
}

// weightFiles are the names of a folder's files of weights.
func weightFiles(folder string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(folder, indexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return []string{oneFile}, nil
	}
	if err != nil {
		return nil, err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, indexFile), err)
	}
	files := slices.Sorted(maps.Values(index.Map))
	return slices.Compact(files), nil
}

// shareRest puts the files beside a model's weights, such as its tokenizer, into
// another folder.
func shareRest(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, dest := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(dest); err == nil || !info.Mode().IsRegular() || filepath.Ext(e.Name()) == ".safetensors" {
			continue
		}
		if err := share(source, dest); err != nil {
			return err
		}
	}
	return nil
}

// share makes a file be in a second place: with no more room on the disk where
// that can be, or a copy.
func share(from, to string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	if os.Link(from, to) == nil || os.Symlink(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return adapter.WriteWhole(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// headDeviation is what transformers draws new weights with.
const headDeviation = 0.02

func writeHead(path string, labels, width int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0x5c02e))
	values := make([]float32, labels*width)
	for i := range values {
		values[i] = float32(headDeviation * rng.NormFloat64())
	}
	t := adapter.Floats("score.weight", values, labels, width)
	return adapter.WriteWhole(path, func(w io.Writer) error {
		return checkpoint.StreamSafetensors(w, []checkpoint.Tensor{t}, func(w io.Writer, t checkpoint.Tensor) error {
			_, err := w.Write(t.Data)
			return err
		})
	})
}
