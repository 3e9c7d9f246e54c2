package recipe

import (
	"os"
	"path/filepath"
	"strings"
)

// checker finds settings that contradict each other.
type checker struct {
	*Recipe
	*Problems
}

// at is the line of a key, or of the nearest section around it that is there.
func (c *checker) at(path string) int {
	for path != "" {
		if line, ok := c.where[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return 0
}

// when adds a problem about the key at path if it is one.
func (c *checker) when(wrong bool, path, format string, values ...any) {
	if wrong {
		c.add(c.at(path), format, values...)
	}
}

func (c *checker) all() {
	c.model()
	c.sources()
	c.objective()
	c.adapter()
	c.batch()
	c.length()
	c.run()
}

func (c *checker) model() {
	m := c.Model
	c.when(m.Name == "" && m.FromScratch == nil, "model", "model is missing: name one (gemma3:270m, a file, a folder) or give from_scratch")
	c.when(m.Name != "" && m.FromScratch != nil, "model.from_scratch", "model has a name and from_scratch; leave one out")
	c.there("model.name", m.Name)
	c.there("objective.teacher", c.Objective.Teacher)
	if f := m.FromScratch; f != nil {
		c.scratch(f)
	}
}

// there checks a name that can only be a path.
func (c *checker) there(key, name string) {
	isPath := filepath.IsAbs(name) || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".gguf") && !strings.Contains(name, ":")
	if !isPath {
		return
	}
	if _, err := os.Stat(name); err != nil {
		c.add(c.at(key), "%s: %q is not there (paths are relative to the working directory)", key, name)
	}
}

func (c *checker) scratch(f *FromScratch) {
	const at = "model.from_scratch"
	c.when(f.Vocab.Path == "" && f.Vocab.Train == 0, at+".vocab", at+".vocab is missing: a tokenizer's path, or {train: number of pieces}")
	c.when(f.Vocab.Path != "" && f.Vocab.Train > 0, at+".vocab", at+".vocab has a path and train; leave one out")
	c.when(f.Vocab.Train > 0 && f.Vocab.Train < 300, at+".vocab.train", at+".vocab.train is %d; 256 bytes and the special tokens alone need 300", f.Vocab.Train)
	c.there(at+".vocab.path", f.Vocab.Path)
	if f.Config != "" {
		for _, size := range []string{"family", "layers", "width", "heads", "kv_heads", "head_size", "feed_forward", "window", "pattern", "context", "pictures", "sounds"} {
			c.when(c.given(at+"."+size), at+"."+size, "%s.%s and config both say sizes; leave one out", at, size)
		}
		return
	}
	c.when(f.Heads%f.KVHeads != 0, at+".heads", at+".heads is %d, and should be a multiple of kv_heads, %d", f.Heads, f.KVHeads)
	c.when(f.HeadSize%2 != 0, at+".head_size", at+".head_size is %d, and should be even: positions turn pairs", f.HeadSize)
	c.when(f.Context < c.Batch.Length, at+".context", at+".context is %d, and batch.length %d is longer", f.Context, c.Batch.Length)
	many := f.Family == "gemma4_unified"
	c.when(f.Pictures != nil && !many, at+".pictures", at+".pictures needs family gemma4_unified, and this is %s", f.Family)
	c.when(f.Sounds != nil && !many, at+".sounds", at+".sounds needs family gemma4_unified, and this is %s", f.Family)
}

func (c *checker) objective() {
	o, f := c.Objective, c.Model.FromScratch
	c.when(o.Kind == Distill && o.Teacher == "", "objective", "objective.teacher is missing: the model that distill learns from")
	c.when(o.Kind == GRPO && o.Verifier == "", "objective", "objective.verifier is missing: what tells grpo's good answers from bad ones")
	c.when(o.Kind == GRPO && c.Batch.Sequences%o.Group != 0, "batch.sequences",
		"batch.sequences is %d, and should be a multiple of objective.group, %d: grpo compares answers to one prompt", c.Batch.Sequences, o.Group)
	c.when(o.Kind == GRPO && o.MaxTokens >= c.Batch.Length, "objective.max_tokens",
		"objective.max_tokens is %d, and leaves no room for a prompt in batch.length, %d", o.MaxTokens, c.Batch.Length)
	c.when(o.Kind == Contrastive && c.Batch.Sequences < 2, "batch.sequences",
		"batch.sequences is 1, and contrastive needs at least 2: the other pairs are what a pair is told from")
	c.when(o.Kind == SpanDenoise && f != nil && f.Config == "" && !strings.HasPrefix(f.Family, "t5"), "objective.kind",
		"objective span_denoise needs an encoder–decoder such as t5gemma, and family is %s", nameOf(f))
	seen := map[string]bool{}
	for _, l := range o.Labels {
		c.when(seen[l], "objective.labels", "objective.labels has %q twice", l)
		seen[l] = true
	}
	c.when(len(o.Labels) == 1, "objective.labels", "objective.labels has one label; there is nothing to tell apart")
}

func nameOf(f *FromScratch) string {
	if f == nil {
		return ""
	}
	return f.Family
}

func (c *checker) adapter() {
	a := c.Adapter
	if a.Kind == NoAdapter {
		return
	}
	c.when(c.Model.FromScratch != nil, "adapter", "adapter %s stands beside weights that are frozen, and from_scratch draws them at random; leave one out", a.Kind)
	c.when(a.Dropout != 0, "adapter.dropout", "adapter.dropout is %v, and must be 0: a resumed run has to give the same bits", a.Dropout)
	c.when(len(a.Targets) == 0, "adapter.targets", "adapter.targets is empty; leave it out for all projections")
}

func (c *checker) batch() {
	b := c.Batch
	c.when(c.given("batch.tokens") && c.given("batch.sequences"), "batch.tokens", "batch has tokens and sequences, which say the same; leave one out")
	c.when(b.Tokens > 0 && b.Tokens%b.Length != 0, "batch.tokens", "batch.tokens is %d, and should be a multiple of batch.length, %d", b.Tokens, b.Length)
	micro, passes := int(b.Micro), int(b.Accumulate)
	switch {
	case micro > 0 && passes > 0:
		c.when(micro*passes != b.Sequences, "batch.accumulate",
			"batch.micro %d times batch.accumulate %d is not batch.sequences, %d; leave one of them out", micro, passes, b.Sequences)
	case micro > 0:
		c.when(b.Sequences%micro != 0, "batch.micro", "batch.micro is %d, and should divide batch.sequences, %d", micro, b.Sequences)
	case passes > 0:
		c.when(b.Sequences%passes != 0, "batch.accumulate", "batch.accumulate is %d, and should divide batch.sequences, %d", passes, b.Sequences)
	}
	l := c.Devices.Layout
	if copies := l.Data * l.FSDP; copies > 1 {
		c.when(b.Sequences%copies != 0, "devices.layout",
			"devices.layout spreads a batch over %d devices, and batch.sequences, %d, should be a multiple of it", copies, b.Sequences)
		c.when(micro > 0 && micro%copies != 0, "devices.layout",
			"devices.layout spreads a pass over %d devices, and batch.micro, %d, should be a multiple of it", copies, micro)
	}
}

func (c *checker) length() {
	s := c.Schedule
	c.when(c.Steps > 0 && c.Epochs > 0, "epochs", "steps and epochs both say how long; leave one out")
	c.when(c.Steps == 0 && c.Epochs == 0, "steps", "steps is 0: nothing would be trained")
	if c.Steps == 0 {
		return
	}
	curve := c.Curve(c.Steps)
	c.when(s.Warmup >= float64(c.Steps), "schedule.warmup", "schedule.warmup is %v, and the run ends after %d steps", s.Warmup, c.Steps)
	c.when(s.Kind == WSDSchedule && curve.Warmup+curve.Decay > c.Steps, "schedule.decay",
		"schedule.warmup, %d steps, and schedule.decay, %d, are more than the run's %d", curve.Warmup, curve.Decay, c.Steps)
}

func (c *checker) run() {
	c.when(c.given("eval.every") && c.Eval.Every > 0 && !c.HeldOut(), "eval.every",
		"eval.every is %d, and there is nothing to evaluate on: give a source of data a split, such as 0.05", c.Eval.Every)
	validated := strings.HasPrefix(c.Checkpoint.Best, "validation_")
	c.when(validated && !c.HeldOut(), "checkpoint.best",
		"checkpoint.best is %s, and there is nothing to evaluate on: give a source of data a split, such as 0.05", c.Checkpoint.Best)
	c.when(validated && !c.judged(), "checkpoint.every", "checkpoint.every is %d, and should be a multiple of eval.every, %d: "+
		"checkpoint.best looks at evaluations at a checkpoint's own step", c.Checkpoint.Every, c.Eval.Every)
	for key, a := range map[string]Action{"on_nan": c.OnNaN, "spike.action": c.Spike.Action} {
		c.when(a == Rollback && c.Checkpoint.Every == 0, key, "%s is rollback, and checkpoint.every is 0: there would be nothing to go back to", key)
	}
}
