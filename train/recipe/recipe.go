package recipe

// Recipe is a training run. Paths are relative to the working directory, as
// those of a command's flags are.
//
// The tags say how a key is checked (check.go): what a value may be, and which
// kind of its section it belongs to.
type Recipe struct {
	Model     Model     `yaml:"model"`
	Objective Objective `yaml:"objective"`
	Adapter   Adapter   `yaml:"adapter"`
	// Data is what is learnt from: see [Data], which Load checks.
	Data  Section `yaml:"data"`
	Batch Batch   `yaml:"batch"`
	// Precision is that of the computation. Weights that are trained, their
	// gradients' sums, the optimiser's state and the loss are always float32.
	Precision Precision `yaml:"precision" oneof:"float32 bfloat16"`
	// Remat says whether activations are kept for the backward pass (none) or
	// computed again from each layer's input (layer): less memory, a third more
	// arithmetic.
	Remat Remat `yaml:"remat" oneof:"none layer"`
	// LossChunk is how many tokens' logits exist at a time at the most; 0 is as
	// many as take 1 GiB.
	LossChunk int       `yaml:"loss_chunk" min:"0"`
	Optimizer Optimizer `yaml:"optimizer"`
	Schedule  Schedule  `yaml:"schedule"`
	// Steps is the number of optimiser steps; 0 where Epochs says how long.
	Steps int `yaml:"steps,omitempty" min:"0"`
	// Epochs is how often the data is gone through; 0 where Steps says how long.
	Epochs float64 `yaml:"epochs,omitempty" min:"0"`
	// Seed decides the order of the data, new weights and everything drawn.
	Seed       uint64     `yaml:"seed"`
	Eval       Eval       `yaml:"eval"`
	Checkpoint Checkpoint `yaml:"checkpoint"`
	// OnNaN is what happens when the loss or the gradient is not a number.
	OnNaN Action `yaml:"on_nan" oneof:"stop rollback skip"`
	Spike Spike  `yaml:"spike"`
	// Devices says how arrays are spread.
	Devices Devices `yaml:"devices"`
	// Engine names what computes: cpu, cuda and tpu are XLA's plugins, go is
	// GoMLX's own backend that needs none; auto takes the first that is there of
	// cuda, tpu, cpu, go.
	Engine string `yaml:"engine" oneof:"auto cpu cuda tpu go"`
	// Out is the run folder.
	Out string `yaml:"out"`

	data  Data
	where places
}

// Model is what is trained: one that exists, or one made of random numbers.
type Model struct {
	// Name is a catalogue name, a file, a folder or a source, as in every
	// command.
	Name        string       `yaml:"name,omitempty" short:"true"`
	FromScratch *FromScratch `yaml:"from_scratch,omitempty"`
}

// FromScratch is an architecture whose weights are drawn.
type FromScratch struct {
	// Family as in a file's model_type: gemma, gemma2, gemma3, gemma4_unified, …
	Family string `yaml:"family" oneof:"gemma gemma2 gemma3 gemma4_unified recurrent_gemma t5gemma t5gemma2"`
	// Config is a config.json that says all the sizes, in the place of those
	// below.
	Config      string `yaml:"config,omitempty" file:"true"`
	Layers      int    `yaml:"layers,omitempty" min:"1"`
	Width       int    `yaml:"width,omitempty" min:"1"`
	Heads       int    `yaml:"heads,omitempty" min:"1"`
	KVHeads     int    `yaml:"kv_heads,omitempty" min:"1"`
	HeadSize    int    `yaml:"head_size,omitempty" min:"2"`
	FeedForward int    `yaml:"feed_forward,omitempty" min:"1"`
	// Window is how many positions a local layer sees, its own included.
	Window int `yaml:"window,omitempty" min:"1"`
	// Pattern n makes every n-th layer a global one; 1 makes all of them.
	Pattern int `yaml:"pattern,omitempty" min:"1"`
	// Context is how many positions the model is said to be made for.
	Context int   `yaml:"context,omitempty" min:"1"`
	Vocab   Vocab `yaml:"vocab"`
	// Seed of the weights; 0 takes the recipe's.
	Seed uint64 `yaml:"seed"`
	// Pictures and Sounds give a gemma4_unified model eyes and ears.
	Pictures *Pictures `yaml:"pictures,omitempty"`
	Sounds   *Sounds   `yaml:"sounds,omitempty"`
}

// Vocab is where the tokenizer comes from.
type Vocab struct {
	// Path is a tokenizer.json, a tokenizer.model, a GGUF file or the name of a
	// model whose tokenizer is taken.
	Path string `yaml:"path,omitempty" short:"true"`
	// Train is the number of pieces of one that is learnt from the data.
	Train int `yaml:"train,omitempty" min:"0"`
}

// Pictures are cut into patches that go into the decoder as they are.
type Pictures struct {
	Patch   int `yaml:"patch" min:"1"`   // pixels, each way
	Pooling int `yaml:"pooling" min:"1"` // patches that make one token, each way
	Places  int `yaml:"places" min:"1"`  // learnt positions, each way
}

// Sounds are cut into frames that go into the decoder as they are.
type Sounds struct {
	Samples int `yaml:"samples" min:"1"` // of a frame, at 16 kHz
}

// ObjectiveKind names a loss.
type ObjectiveKind string

// The objectives.
const (
	NextToken     ObjectiveKind = "next_token"     // every token of a text
	Supervised    ObjectiveKind = "supervised"     // answers only
	Classify      ObjectiveKind = "classify"       // one label a text
	TokenClassify ObjectiveKind = "token_classify" // one label a token
	Contrastive   ObjectiveKind = "contrastive"    // embeddings of pairs, other pairs of the batch as negatives
	DPO           ObjectiveKind = "dpo"            // preferred over rejected answers (arXiv:2305.18290)
	GRPO          ObjectiveKind = "grpo"           // verified samples relative to their group (arXiv:2402.03300)
	Distill       ObjectiveKind = "distill"        // a teacher's distribution (arXiv:1503.02531)
	SpanDenoise   ObjectiveKind = "span_denoise"   // spans that were taken out (arXiv:1910.10683)
)

// Objective is what is minimised.
type Objective struct {
	Kind ObjectiveKind `yaml:"kind" oneof:"next_token supervised classify token_classify contrastive dpo grpo distill span_denoise" short:"true"`

	// Labels are the classes in the order of their indices; empty takes those
	// of the data, sorted.
	Labels []string `yaml:"labels,omitempty" only:"classify token_classify"`

	// Beta is how strongly DPO holds on to the reference.
	Beta float64 `yaml:"beta" only:"dpo" above:"0"`
	// LabelSmoothing is the probability that a preference is the wrong way
	// round (DPO), or that is spread over all classes.
	LabelSmoothing float64 `yaml:"label_smoothing" only:"dpo classify token_classify" min:"0" below:"0.5"`

	// Temperature divides similarities (contrastive, 0.05), logits that are
	// sampled from (grpo, 1) or both distributions (distill, 1).
	Temperature float64 `yaml:"temperature" only:"contrastive grpo distill" above:"0"`
	// Dims are shorter prefixes of an embedding that are trained to stand alone
	// (Matryoshka, arXiv:2205.13147), besides the whole.
	Dims []int `yaml:"dims,omitempty" only:"contrastive" min:"1"`

	// Group is how many answers are drawn for a prompt.
	Group int `yaml:"group" only:"grpo" min:"2"`
	// Verifier names what gives an answer its reward.
	Verifier string `yaml:"verifier" only:"grpo"`
	// KL weighs the distance from the model the run began with.
	KL float64 `yaml:"kl" only:"grpo" min:"0"`
	// Clip bounds the ratio to the policy that drew the answers.
	Clip float64 `yaml:"clip" only:"grpo" above:"0" below:"1"`
	// MaxTokens is the longest answer that is drawn.
	MaxTokens int `yaml:"max_tokens" only:"grpo" min:"1"`

	// Teacher is the model to learn from, named as Model.Name is.
	Teacher string `yaml:"teacher" only:"distill"`
	// Mix is the weight of the teacher; the rest is that of the data's tokens.
	Mix float64 `yaml:"mix" only:"distill" above:"0" max:"1"`

	// Rate is the part of tokens that is taken out.
	Rate float64 `yaml:"rate" only:"span_denoise" above:"0" below:"1"`
	// MeanLength is that of a span, in tokens.
	MeanLength float64 `yaml:"mean_length" only:"span_denoise" min:"1"`
}

// AdapterKind names a way to train few numbers beside frozen weights.
type AdapterKind string

// The adapters.
const (
	NoAdapter AdapterKind = "none"   // all weights are trained
	LoRA      AdapterKind = "lora"   // W + alpha/rank · B·A (arXiv:2106.09685)
	RSLoRA    AdapterKind = "rslora" // W + alpha/√rank · B·A (arXiv:2312.03732)
	DoRA      AdapterKind = "dora"   // magnitude · direction of LoRA's sum (arXiv:2402.09353)
)

// Adapter is what is trained if not everything.
type Adapter struct {
	Kind  AdapterKind `yaml:"kind" oneof:"none lora rslora dora" short:"true"`
	Rank  int         `yaml:"rank" only:"lora rslora dora" min:"1"`
	Alpha float64     `yaml:"alpha" only:"lora rslora dora" above:"0"`
	// Dropout must be 0: a run has to give the same bits when it is resumed.
	Dropout float64 `yaml:"dropout" only:"lora rslora dora" min:"0" below:"1"`
	// Targets are the projections that get one, by PEFT's names.
	Targets []string `yaml:"targets" only:"lora rslora dora" oneof:"q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"`
	// Quantised leaves the frozen weights as the file stores them (QLoRA,
	// arXiv:2305.14314) instead of expanding them.
	Quantised bool `yaml:"quantised" only:"lora rslora dora"`
}

// Batch is what one optimiser step sees.
type Batch struct {
	// Length is that of a sequence, in tokens.
	Length int `yaml:"length" min:"2"`
	// Sequences is the number of them in a step.
	Sequences int `yaml:"sequences" min:"1"`
	// Tokens says the same as Sequences, times Length; it is 0 once it is read.
	Tokens int `yaml:"tokens,omitempty" min:"1"`
	// Micro is how many sequences go through the model at once; 0, which is
	// written auto, finds out what fits.
	Micro Auto `yaml:"micro" min:"0"`
	// Accumulate is how many passes make a step: Sequences is Micro times
	// Accumulate. 0, which is written auto, follows from Micro.
	Accumulate Auto `yaml:"accumulate" min:"0"`
}

// Auto is a number that may be left to the program: 0 is written auto.
type Auto int

// Precision is that of arithmetic.
type Precision string

// The precisions.
const (
	Float32  Precision = "float32"
	BFloat16 Precision = "bfloat16"
)

// Remat says what is computed twice.
type Remat string

// What can be computed twice.
const (
	NoRemat    Remat = "none"
	RematLayer Remat = "layer"
)

// OptimizerKind names an optimiser.
type OptimizerKind string

// The optimisers.
const (
	AdamW     OptimizerKind = "adamw"     // arXiv:1711.05101
	Adafactor OptimizerKind = "adafactor" // arXiv:1804.04235
	Muon      OptimizerKind = "muon"      // matrices between layers; AdamW for all the rest
)

// Optimizer is how gradients become steps.
type Optimizer struct {
	Kind OptimizerKind `yaml:"kind" oneof:"adamw adafactor muon" short:"true"`
	// LR is the highest learning rate; the schedule says when it is reached.
	LR float64 `yaml:"lr" above:"0" max:"10"`
	// Betas are the decays of AdamW's two moments (of muon: for what is not its
	// own).
	Betas [2]float64 `yaml:"betas" only:"adamw muon" min:"0" below:"1"`
	Eps   float64    `yaml:"eps" only:"adamw muon" above:"0"`
	// WeightDecay is decoupled: times the learning rate, taken off the weight.
	WeightDecay float64 `yaml:"weight_decay" min:"0"`
	// Momentum is Muon's, with Nesterov's look ahead.
	Momentum float64 `yaml:"momentum" only:"muon" min:"0" below:"1"`
	// AdamWLR is the rate of what is not Muon's: embeddings, norms, heads.
	AdamWLR float64 `yaml:"adamw_lr" only:"muon" above:"0" max:"10"`
	// Clip is the highest global norm of the gradient; 0 does not clip.
	Clip float64 `yaml:"clip" min:"0"`
	// Groups change the rate and the decay of some weights. The first group
	// whose pattern is found in a tensor's name counts.
	Groups []Group `yaml:"groups"`
}

// Group are the weights whose names match.
type Group struct {
	// Pattern is a regular expression (RE2).
	Pattern string `yaml:"pattern,omitempty" regexp:"true"`
	// LRFactor multiplies the learning rate; 0 freezes.
	LRFactor float64 `yaml:"lr_factor" min:"0"`
	// DecayFactor multiplies weight_decay.
	DecayFactor float64 `yaml:"decay_factor" min:"0"`
}

// ScheduleKind names a course of the learning rate.
type ScheduleKind string

// The schedules.
const (
	CosineSchedule   ScheduleKind = "cosine"
	LinearSchedule   ScheduleKind = "linear"
	WSDSchedule      ScheduleKind = "wsd" // warm up, stay, decay (arXiv:2404.06395)
	ConstantSchedule ScheduleKind = "constant"
)

// Schedule is the course of the learning rate (schedule.go).
type Schedule struct {
	Kind ScheduleKind `yaml:"kind" oneof:"cosine linear wsd constant" short:"true"`
	// Warmup is how long the rate rises from 0 in a straight line: steps, or
	// below 1 a part of all steps.
	Warmup float64 `yaml:"warmup" min:"0"`
	// Decay is how long it falls at the end, in the same way.
	Decay float64 `yaml:"decay" only:"wsd" above:"0"`
	// Shape is that of the fall.
	Shape Shape `yaml:"shape" only:"wsd" oneof:"cosine linear sqrt"`
	// Floor is where it ends, as a part of the highest.
	Floor float64 `yaml:"floor" only:"cosine linear wsd" min:"0" max:"1"`
}

// Shape is that of a falling rate.
type Shape string

// The shapes, as 1 minus this of the part of the way that is behind.
const (
	CosineShape Shape = "cosine"
	LinearShape Shape = "linear"
	SqrtShape   Shape = "sqrt"
)

// Eval is how the run is watched.
type Eval struct {
	// Every is the number of steps between evaluations; 0 evaluates at the end
	// only.
	Every int `yaml:"every" min:"0"`
	// Batches is how many are looked at each time; 0 is all that is held out
	// (the split of a source; 1 holds out all of it).
	Batches int `yaml:"batches" min:"0"`
	// Prompts are continued at the end, for the report.
	Prompts []string `yaml:"prompts,omitempty"`
	// MaxTokens is how far.
	MaxTokens int `yaml:"max_tokens" min:"1"`
}

// Checkpoint is what is kept of the run.
type Checkpoint struct {
	// Every is the number of steps between checkpoints; 0 keeps the end only.
	Every int `yaml:"every" min:"0"`
	// Keep is how many of the newest stay, besides the best.
	Keep int `yaml:"keep" min:"1"`
	// Best names the metric whose best checkpoint stays, such as
	// validation_loss; none for no such one.
	Best string `yaml:"best"`
	// Mode says which way is better.
	Mode Mode `yaml:"mode" oneof:"min max"`
	// OnFull is what happens when the disk has no room for one.
	OnFull Full `yaml:"on_full" oneof:"stop continue"`
}

// Mode says whether less is better.
type Mode string

// The modes.
const (
	Min Mode = "min"
	Max Mode = "max"
)

// Full is what to do about a full disk.
type Full string

// What to do.
const (
	FullStop     Full = "stop"
	FullContinue Full = "continue"
)

// Action is what to do about a loss that went wrong.
type Action string

// What to do.
const (
	Stop     Action = "stop"     // end the run with an error; the checkpoints stay
	Rollback Action = "rollback" // go back to the last checkpoint and leave out the data since
	Skip     Action = "skip"     // leave out this step's update
	Ignore   Action = "ignore"   // go on; for spikes only
)

// Spike is a loss far above its recent mean.
type Spike struct {
	// Factor times the mean of the window is a spike.
	Factor float64 `yaml:"factor" above:"1"`
	// Window is how many steps the mean is taken over; none is found before as
	// many have been seen.
	Window int    `yaml:"window,omitempty" min:"1"`
	Action Action `yaml:"action" oneof:"ignore stop rollback skip"`
}

// Devices is how a run is spread.
type Devices struct {
	Layout Layout `yaml:"layout" short:"true"`
}

// Layout is a mesh of devices: the product of its axes is their number. It is
// written data=4,model=2; an axis that is left out is 1.
type Layout struct {
	Data  int // copies of the model, each with a part of the batch
	FSDP  int // as data, with weights and optimiser state spread as well
	Model int // parts of each matrix
}

// Count is the number of devices.
func (l Layout) Count() int { return l.Data * l.FSDP * l.Model }
