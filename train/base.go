package train

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lapidary/adapter"
	"lapidary/chat"
	"lapidary/checkpoint"
	"lapidary/engine/graph"
	"lapidary/engine/graph/plugin"
	"lapidary/gemma"
	"lapidary/hub"
	"lapidary/tokenizer"
	"lapidary/train/data"
	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

// base is the model that a run begins with, on the engine that trains it.
type base struct {
	engine     *graph.Engine
	mesh       *mesh // nil for one device
	checkpoint *checkpoint.Checkpoint
	tokenizer  *tokenizer.Tokenizer
	template   *chat.Template // nil for none
	model      *gemma.Model
	adapter    *adapter.Adapter // nil without
	bound      *gemma.BoundAdapter
}

func (b *base) close() error {
	var err error
	if b.checkpoint != nil {
		err = b.checkpoint.Close()
	}
	if b.engine != nil {
		err = errors.Join(err, b.engine.Close())
	}
	return err
}

// tokens are how data becomes tokens.
func (b *base) tokens() data.Tokenizer { return data.NewTokenizer(b.tokenizer, b.template) }

// open finds the model and puts it on the engine.
func (s *session) open(ctx context.Context) error {
	s.base = &base{}
	choice, err := plugin.Best(s.recipe.Engine)
	if err != nil {
		return err
	}
	if choice.Reason != "" {
		s.options.Say(choice.Reason)
	}
	b, devices := s.base, s.recipe.Devices.Layout.Count()
	if b.engine, err = graph.New(graph.Options{
		Backend: choice.WithDevices(devices).Config, Half: s.recipe.Precision == recipe.BFloat16, Spread: devices > 1,
	}); err != nil {
		return err
	}
	if b.mesh, err = newMesh(b.engine.Backend(), s.recipe.Devices.Layout); err != nil {
		return err
	}
	s.options.Say(trainingOn(b.engine, devices))
	path, err := s.path(ctx)
	if err != nil {
		return err
	}
	if err := refuseFile(s.recipe, path); err != nil {
		return err
	}
	if path, err = s.withHead(ctx, path); err != nil {
		return err
	}
	if b.checkpoint, err = checkpoint.Open(path); err != nil {
		return err
	}
	if b.model, err = gemma.Load(b.checkpoint, b.engine); err != nil {
		return err
	}
	if b.tokenizer, err = tokenizer.Open(b.checkpoint); err != nil {
		return err
	}
	if b.template, err = chat.Open(b.checkpoint); err != nil { // a pretrained model learns its family's turns
		b.template = chat.BuiltIn(b.model.Config().Family)
	}
	if err := b.adapt(s.recipe); err != nil {
		return err
	}
	s.subject = subject{b.engine, b.model, b.bound, s.recipe.LossChunk}
	return nil
}

func trainingOn(e *graph.Engine, devices int) string {
	if devices > 1 {
		return fmt.Sprintf("training on %d devices such as %s", devices, e.Device())
	}
	return "training on " + e.Device()
}

// path is where the model lies on this machine.
func (s *session) path(ctx context.Context) (string, error) {
	if scratch := s.recipe.Model.FromScratch; scratch != nil {
		return s.fromScratch(ctx, scratch)
	}
	return located(ctx, s.recipe.Model.Name)
}

// located is where a model that is on this machine lies.
func located(ctx context.Context, name string) (string, error) {
	store, err := hub.Default()
	if err != nil {
		return "", err
	}
	local, err := store.Resolve(ctx, name)
	if errors.Is(err, hub.ErrNotPulled) {
		return "", fmt.Errorf("%w: lapidary pull %s", err, name)
	}
	return local.Path, err
}

// adapt makes the adapter that a recipe asks for.
func (b *base) adapt(r *recipe.Recipe) (err error) {
	a := r.Adapter
	if a.Kind == recipe.NoAdapter {
		return nil
	}
	c := adapter.Config{
		Rank: a.Rank, Alpha: a.Alpha, RsLoRA: a.Kind == recipe.RSLoRA, DoRA: a.Kind == recipe.DoRA,
		TargetModules: a.Targets, BaseModel: r.Model.Name, Task: task(r.Objective.Kind, b.model.Config()),
	}
	rng := rand.New(rand.NewPCG(r.Seed, 0x10ca))
	if b.adapter, err = adapter.New(c, b.model.Linears(), b.model.Weight, rng); err != nil {
		return err
	}
	b.bound, err = b.model.TrainAdapter(b.adapter)
	return err
}

// task is what PEFT calls what an adapter was trained for.
func task(o recipe.ObjectiveKind, c gemma.Config) string {
	switch {
	case o == recipe.Contrastive:
		return "FEATURE_EXTRACTION"
	case o == recipe.Classify:
		return "SEQ_CLS"
	case c.Encoder != nil:
		return "SEQ_2_SEQ_LM"
	}
	return "CAUSAL_LM"
}

// build makes the machine of the weights that a batch has gradients for.
func (s *session) build(ctx context.Context) error {
	weights, err := s.trainable(ctx)
	if err != nil {
		return err
	}
	names, dims := make([]string, len(weights)), make([][]int, len(weights))
	for i, w := range weights {
		names[i], dims[i] = w.Name(), w.Stored().Shape
		if r, c := w.Dims(); r*c != size(dims[i]) || len(dims[i]) > 2 {
			dims[i] = []int{r, c}
		}
	}
	o, err := optimizer.New(s.recipe.Optimizer)
	if err != nil {
		return err
	}
	all := optimizer.Parameters(s.recipe.Optimizer, names, dims)
	s.machine = &machine{
		engine: s.base.engine, optimizer: o, clip: s.recipe.Optimizer.Clip, remat: s.recipe.Remat == recipe.RematLayer, mesh: s.base.mesh,
	}
	if err := s.machine.begin(weights, all); err != nil {
		return err
	}
	if s.base.adapter != nil {
		s.machine.follow(s.base.model, s.base.bound, s.base.adapter)
	}
	return nil
}

// trainable are the adapter's weights, or all that a batch of the data goes
// through; what has a rate of 0 is left out.
func (s *session) trainable(ctx context.Context) ([]*graph.Weight, error) {
	at := s.stream.Position()
	b, err := s.stream.Next(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.stream.Seek(at); err != nil {
		return nil, err
	}
	r, err := s.goal.trace(ctx, s.subject, b, 1)
	if err != nil {
		return nil, err
	}
	var own map[string]bool
	if s.base.adapter != nil {
		own = map[string]bool{}
		for _, t := range s.base.adapter.Tensors() {
			own[t.Name] = true
		}
	}
	others, _ := s.goal.(interface{ fixed(w *graph.Weight) bool })
	weights := slices.DeleteFunc(slices.Clone(r.Weights), func(w *graph.Weight) bool {
		return own != nil && !own[w.Name()] || others != nil && others.fixed(w)
	})
	if len(weights) == 0 {
		return nil, errors.New("nothing is to be trained")
	}
	return weights, nil
}

// flops are those of a token's training step: 6 for each weight that multiplies
// (Kaplan et al. 2020, arXiv:2001.08361); 4 where the weight itself stays.
func (s *session) flops() float64 {
	var n float64
	each := 6.0
	if s.base.adapter != nil {
		each = 4
	}
	for _, t := range s.base.checkpoint.Tensors() {
		if len(t.Shape) == 2 {
			n += each * float64(t.Shape[0]) * float64(t.Shape[1])
		}
	}
	return n
}

// peaks are bfloat16 operations a second of devices, dense, from their data
// sheets.
var peaks = []struct {
	name string
	peak float64
}{{"H100", 989e12}, {"H200", 989e12}, {"A100", 312e12}, {"L40", 181e12}, {"L4", 121e12}, {"T4", 65e12}, {"TPU v5", 197e12}, {"TPU v6", 918e12}}

// peak is that of a device, 0 for one that is not known.
func peak(device string) float64 {
	for _, p := range peaks {
		if strings.Contains(device, p.name) {
			return p.peak
		}
	}
	return 0
}

// partNames are the names under which weights are kept: those of their tensors,
// numbered where a tensor became several weights.
func partNames(weights []*trained) []string {
	names, seen := make([]string, len(weights)), map[string]int{}
	for i, w := range weights {
		names[i] = w.weight.Name()
		if n := seen[names[i]]; n > 0 {
			names[i] += "#" + strconv.Itoa(n)
		}
		seen[w.weight.Name()]++
	}
	return names
}

// modelFolder is where a run leaves what it made.
func (s *session) modelFolder() string {
	if s.base.adapter != nil {
		return filepath.Join(s.recipe.Out, "adapter")
	}
	return filepath.Join(s.recipe.Out, "model")
}
