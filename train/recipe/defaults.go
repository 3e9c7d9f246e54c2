package recipe

// SetDefaults sets the keys whose default does not depend on others.
func (r *Recipe) SetDefaults() {
	*r = Recipe{
		Objective: Objective{
			Kind: NextToken, Beta: 0.1, Group: 8, KL: 0.04, Clip: 0.2, MaxTokens: 256, Mix: 0.5, Rate: 0.15, MeanLength: 3, Temperature: 1,
		},
		Adapter: Adapter{
			Kind: NoAdapter, Rank: 8, Alpha: 16,
			Targets: []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
		},
		Batch:     Batch{Length: 1024},
		Precision: Float32,
		Remat:     NoRemat,
		Optimizer: Optimizer{
			Kind: AdamW, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, Momentum: 0.95, Clip: 1,
			Groups: []Group{{Pattern: "norm|bias", LRFactor: 1}},
		},
		Schedule:   Schedule{Kind: CosineSchedule, Warmup: 0.03, Decay: 0.2, Shape: SqrtShape},
		Eval:       Eval{MaxTokens: 64},
		Checkpoint: Checkpoint{Every: 500, Keep: 2, Mode: Min, OnFull: FullStop},
		OnNaN:      Stop,
		Spike:      Spike{Factor: 3, Window: 50, Action: Ignore},
		Devices:    Devices{Layout{1, 1, 1}},
		Engine:     "auto",
	}
}

// SetDefaults sets the kind that a section without one has.
func (f *FromScratch) SetDefaults() { f.Family = "gemma3" }

// SetDefaults leaves a group's weights as all others are.
func (g *Group) SetDefaults() { *g = Group{LRFactor: 1, DecayFactor: 1} }

// SetDefaults are the sizes of Gemma 4's.
func (p *Pictures) SetDefaults() { *p = Pictures{Patch: 16, Pooling: 3, Places: 1120} }

// SetDefaults are the sizes of Gemma 4's: 40 ms.
func (s *Sounds) SetDefaults() { *s = Sounds{Samples: 640} }

// given says whether the file has a key.
func (r *Recipe) given(path string) bool { _, ok := r.where[path]; return ok }

// settle sets the keys whose default depends on others.
func (r *Recipe) settle(file string) {
	if r.Model.FromScratch != nil {
		r.Model.FromScratch.settle(max(2048, r.Batch.Length))
	}
	r.settleBatch()
	r.settleOptimizer()
	if r.Objective.Kind == Contrastive && !r.given("objective.temperature") {
		r.Objective.Temperature = 0.05
	}
	if r.Steps == 0 && r.Epochs == 0 && !r.given("steps") && !r.given("epochs") {
		r.Epochs = 1
	}
	r.settleEval()
	if r.Out == "" {
		r.Out = "runs/" + baseName(file)
	}
}

// settleEval lets evaluations and checkpoints meet, so that the best one can be
// known.
func (r *Recipe) settleEval() {
	e, c := &r.Eval, &r.Checkpoint
	if r.HeldOut() && !r.given("eval.every") {
		e.Every = 100
		if r.given("checkpoint.every") {
			e.Every = c.Every
		}
	}
	if e.Every > 0 && !r.given("checkpoint.every") {
		c.Every = (c.Every + e.Every - 1) / e.Every * e.Every
	}
	if !r.given("checkpoint.best") {
		c.Best = "none"
		if r.HeldOut() && r.judged() {
			c.Best = "validation_loss"
		}
	}
}

// judged says whether each checkpoint has an evaluation at its own step.
func (r *Recipe) judged() bool { return r.Eval.Every == 0 || r.Checkpoint.Every%r.Eval.Every == 0 }

// settle fills in a small model where no config.json says the sizes: 6 layers,
// 256 wide.
func (f *FromScratch) settle(context int) {
	if f.Config != "" {
		return
	}
	for _, size := range []struct {
		at    *int
		usual int
	}{
		{&f.Layers, 6}, {&f.Width, 256}, {&f.Heads, 4}, {&f.KVHeads, 1}, {&f.HeadSize, 64}, {&f.FeedForward, 1024},
		{&f.Window, 512}, {&f.Pattern, 6}, {&f.Context, context},
	} {
		if *size.at == 0 {
			*size.at = size.usual
		}
	}
}

func (r *Recipe) settleBatch() {
	b := &r.Batch
	switch {
	case b.Tokens > 0 && b.Sequences == 0:
		b.Sequences = max(1, b.Tokens/b.Length)
	case b.Sequences == 0 && b.Micro > 0 && b.Accumulate > 0:
		b.Sequences = int(b.Micro) * int(b.Accumulate)
	case b.Sequences == 0:
		b.Sequences = 8
	}
}

// settleOptimizer takes rates that are usual for the optimiser and for what is
// trained: everything from random weights, everything from a model's, or an
// adapter.
func (r *Recipe) settleOptimizer() {
	const scratch, full, adapter = 0, 1, 2
	way := full
	switch {
	case r.Model.FromScratch != nil:
		way = scratch
	case r.Adapter.Kind != NoAdapter:
		way = adapter
	}
	o := &r.Optimizer
	rates := map[OptimizerKind][3]float64{AdamW: {1e-3, 2e-5, 2e-4}, Adafactor: {1e-2, 1e-3, 1e-2}, Muon: {2e-2, 1e-3, 5e-3}}
	if !r.given("optimizer.lr") {
		o.LR = rates[o.Kind][way]
	}
	if !r.given("optimizer.adamw_lr") {
		o.AdamWLR = rates[AdamW][way]
	}
	if !r.given("optimizer.betas") && way == scratch {
		o.Betas[1] = 0.95
	}
	if !r.given("optimizer.weight_decay") {
		o.WeightDecay = [3]float64{0.1, 0.01, 0}[way]
	}
}
