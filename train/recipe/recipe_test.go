package recipe

import (
	"bytes"
	"errors"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const short = `model: gemma3:270m
objective: supervised
adapter: lora
data:
  - {path: testdata/texts.txt}
steps: 500
`

func parse(t *testing.T, text string) *Recipe {
	t.Helper()
	r, err := Parse("medicine.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDefaults(t *testing.T) {
	r := parse(t, short)
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"model", r.Model.Name, "gemma3:270m"},
		{"objective", r.Objective.Kind, Supervised},
		{"adapter", r.Adapter.Kind, LoRA},
		{"rank", r.Adapter.Rank, 8},
		{"targets", len(r.Adapter.Targets), 7},
		{"lr", r.Optimizer.LR, 2e-4},
		{"decay", r.Optimizer.WeightDecay, 0.0},
		{"sequences", r.Batch.Sequences, 8},
		{"steps", r.Steps, 500},
		{"epochs", r.Epochs, 0.0},
		{"eval", r.Eval.Every, 0},
		{"best", r.Checkpoint.Best, "none"},
		{"devices", r.Devices.Layout.Count(), 1},
		{"out", r.Out, "runs/medicine"},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestDefaultsFollowWhatIsTrained(t *testing.T) {
	for _, c := range []struct {
		text      string
		lr, decay float64
	}{
		{"model: m\ndata: [{path: testdata/texts.txt}]", 2e-5, 0.01},
		{"model: m\nadapter: dora\ndata: [{path: testdata/texts.txt}]\noptimizer: muon", 5e-3, 0},
		{"model: {from_scratch: {vocab: {train: 4096}}}\ndata: [{path: testdata/texts.txt}]", 1e-3, 0.1},
		{"model: m\ndata: [{path: testdata/texts.txt}]\noptimizer: {kind: adafactor, lr: 0.5}", 0.5, 0.01},
	} {
		o := parse(t, c.text).Optimizer
		if o.LR != c.lr || o.WeightDecay != c.decay {
			t.Errorf("%q: lr %v, decay %v; want %v, %v", c.text, o.LR, o.WeightDecay, c.lr, c.decay)
		}
	}
}

// A recipe that was written out with its defaults is the same recipe.
func TestRoundTrip(t *testing.T) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{short, strings.ReplaceAll(string(full), "path: texts.txt", "path: testdata/texts.txt"),
		short + "batch: {tokens: 4096, length: 512, micro: 2}\ndevices: fsdp=2,model=4\neval: {prompts: [\"12\", \"- yes\"]}"}
	for _, kind := range []string{"next_token", "classify", "token_classify", "contrastive", "dpo", "{kind: grpo, verifier: number}", "{kind: distill, teacher: gemma3:1b}", "span_denoise"} {
		source := map[string]string{
			"classify": "text: t, label: l", "token_classify": "text: t, label: l", "contrastive": "anchor: a, positive: p",
			"dpo": "prompt: p, chosen: c, rejected: r",
		}[kind]
		if source == "" {
			source = "text: t"
		}
		text := strings.Replace(short, "supervised", kind, 1)
		texts = append(texts, strings.Replace(text, "{path: testdata/texts.txt}", "{path: testdata/texts.txt, format: jsonl, "+source+"}", 1))
	}
	for _, text := range texts {
		r := parse(t, text)
		first, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("medicine.yaml", first)
		if err != nil {
			t.Errorf("%v\n%s", err, first)
			continue
		}
		second, err := again.YAML()
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v: written again it differs:\n%s\n%s", err, first, second)
		}
		r.where, again.where, r.Data, again.Data = nil, nil, Section{}, Section{}
		if !reflect.DeepEqual(r, again) {
			t.Errorf("read again it differs:\n%+v\n%+v", r, again)
		}
	}
}

// full.yaml is the reference: no key is missing there, and all of it is right.
func TestFullHasEveryKey(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, places := range elsewhere() {
		isSource := func(at string) bool { return strings.HasPrefix(at, "data.sources.") }
		if slices.ContainsFunc(places, isSource) {
			continue // package train/data's own
		}
		if !regexp.MustCompile(`\b` + name + `:`).Match(text) {
			t.Errorf("testdata/full.yaml does not have %v", places)
		}
	}
	t.Chdir("testdata")
	if _, err := Load("full.yaml"); err != nil {
		t.Error(err)
	}
}

var refused = []struct{ name, text, want string }{
	{"a slip", "optimizer: {weight_decy: 1}", `r.yaml:4: unknown key "optimizer.weight_decy": did you mean optimizer.weight_decay?`},
	{"a slip above", "optimiser: adamw", `r.yaml:4: unknown key "optimiser": did you mean optimizer?`},
	{"another's name", "learning_rate: 1e-4", `r.yaml:4: unknown key "learning_rate": it is called optimizer.lr here`},
	{"another place", "rank: 8", `r.yaml:4: unknown key "rank": its place is adapter.rank`},
	{"nothing near", "wavelength: 8", `r.yaml:4: unknown key "wavelength": the keys here are model, `},
	{"twice", "seed: 1\nseed: 2", `r.yaml:5: seed is here twice, first in line 4; delete one of them`},
	{"a word for a number", "steps: many", `r.yaml:4: steps is "many", and should be a whole number`},
	{"a fraction", "seed: 1.5", `r.yaml:4: seed is "1.5", and should be a whole number from 0`},
	{"negative seed", "seed: -1", `r.yaml:4: seed is "-1", and should be a whole number from 0 in range`},
	{"too large", "steps: 99999999999999999999", `steps is "99999999999999999999", and should be a whole number`},
	{"a section for a word", "engine: {cpu: 1}", `r.yaml:4: engine is a section with keys, and should be a single word`},
	{"a list for a section", "batch: [1]", `r.yaml:4: batch is a list, and should have keys: length, `},
	{"a word for a list", "eval: {prompts: hello}", `r.yaml:4: eval.prompts is "hello", and should be a list`},
	{"nothing", "engine:", `r.yaml:4: engine has no value; leave the key out for its default`},
	{"not a choice", "precision: fp8", `r.yaml:4: precision is "fp8", and should be one of float32, bfloat16`},
	{"too small", "batch: {length: 1}", `r.yaml:4: batch.length is 1, and should be at least 2`},
	{"not finite", "optimizer: {weight_decay: .inf}", `r.yaml:4: optimizer.weight_decay is +Inf, and should be a finite number`},
	{"not a number", "optimizer: {lr: .nan}", `r.yaml:4: optimizer.lr is NaN, and should be a finite number`},
	{"three betas", "optimizer: {betas: [0.9, 0.9, 0.9]}", `r.yaml:4: optimizer.betas has 3 values, and should have 2`},
	{"a beta", "optimizer: {betas: [0.9, 1]}", `r.yaml:4: optimizer.betas[1] is 1, and should be less than 1`},
	{"a target", "adapter: {kind: lora, targets: [q_proj, qkv]}", `r.yaml:4: adapter.targets[1] is "qkv", and should be one of q_proj`},
	{"a pattern", "optimizer: {groups: [{pattern: '('}]}", `r.yaml:4: optimizer.groups[0].pattern: error parsing regexp`},
	{"another objective's", "objective: {kind: supervised, beta: 0.1}", `r.yaml:4: objective.beta is for dpo, and this is supervised; leave it out`},
	{"an adapter's", "adapter: {rank: 4}", `r.yaml:4: adapter.rank is for lora, rslora and dora, and this is none; leave it out`},
	{"dropout", "adapter: {kind: lora, dropout: 0.1}", `r.yaml:4: adapter.dropout is 0.1, and must be 0`},
	{"a layout", "devices: data=4;model=2", `r.yaml:4: devices.layout: axis data is "4;model=2"`},
	{"an axis", "devices: tensor=2", `r.yaml:4: devices.layout: "tensor=2" should be axes such as data=4,model=2`},
	{"auto", "batch: {micro: -1}", `r.yaml:4: batch.micro: "-1" should be auto or a whole number from 1`},
	{"tokens and sequences", "batch: {tokens: 2048, sequences: 2}", `r.yaml:4: batch has tokens and sequences`},
	{"tokens", "batch: {tokens: 2000}", `r.yaml:4: batch.tokens is 2000, and should be a multiple of batch.length, 1024`},
	{"micro times accumulate", "batch: {sequences: 8, micro: 3, accumulate: 2}", `r.yaml:4: batch.micro 3 times batch.accumulate 2 is not batch.sequences, 8`},
	{"steps and epochs", "steps: 2\nepochs: 1", `r.yaml:5: steps and epochs both say how long`},
	{"no steps", "steps: 0", `r.yaml:4: steps is 0: nothing would be trained`},
	{"all warmup", "steps: 10\nschedule: {warmup: 10}", `r.yaml:5: schedule.warmup is 10, and the run ends after 10 steps`},
	{"wsd", "steps: 10\nschedule: {kind: wsd, warmup: 4, decay: 7}", `r.yaml:5: schedule.warmup, 4 steps, and schedule.decay, 7, are more than the run's 10`},
	{"no teacher", "objective: distill", `r.yaml:4: objective.teacher is missing`},
	{"no verifier", "objective: grpo", `r.yaml:4: objective.verifier is missing`},
	{"no evaluation", "eval: {every: 10}", `r.yaml:4: eval.every is 10, and there is nothing to evaluate on`},
	{"nothing to judge by", "checkpoint: {best: validation_loss}", `r.yaml:4: checkpoint.best is validation_loss, and there is nothing to evaluate on`},
	{"no way back", "on_nan: rollback\ncheckpoint: {every: 0}", `r.yaml:4: on_nan is rollback, and checkpoint.every is 0`},
	{"devices", "batch: {sequences: 6}\ndevices: data=4", `r.yaml:5: devices.layout spreads a batch over 4 devices, and batch.sequences, 6`},
	{"an alias", "out: *x", `r.yaml:4: not YAML: `},
	{"a known alias", "out: &x a\nengine: *x", `r.yaml:5: *x is an alias; write out what it stands for`},
	{"syntax", "eval: {every: 3", `not YAML: `},
	{"documents", "---\nsteps: 3", `a second document begins`},
}

func TestRefused(t *testing.T) {
	const head = "model: gemma3:270m\ndata:\n  - path: testdata/texts.txt\n"
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("r.yaml", []byte(head+c.text+"\n"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if err != nil && strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}

func TestRefusedModels(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"data: [{path: testdata/texts.txt}]", "r.yaml: model is missing"},
		{"model: m", "r.yaml: data is missing"},
		{"model: {name: m, from_scratch: {vocab: t}}\ndata: [{path: testdata/texts.txt}]", "r.yaml:1: model has a name and from_scratch"},
		{"model: ./none.gguf\ndata: [{path: testdata/texts.txt}]", `r.yaml:1: model.name: "./none.gguf" is not there`},
		{"model: {from_scratch: {heads: 4, kv_heads: 3, vocab: t}}\ndata: [{path: testdata/texts.txt}]", "heads is 4, and should be a multiple of kv_heads, 3"},
		{"model: {from_scratch: {head_size: 63, vocab: t}}\ndata: [{path: testdata/texts.txt}]", "head_size is 63, and should be even"},
		{"model: {from_scratch: {}}\ndata: [{path: testdata/texts.txt}]", "vocab is missing"},
		{"model: {from_scratch: {vocab: {path: t, train: 999}}}\ndata: [{path: testdata/texts.txt}]", "vocab has a path and train"},
		{"model: {from_scratch: {vocab: {train: 10}}}\ndata: [{path: testdata/texts.txt}]", "vocab.train is 10; 256 bytes"},
		{"model: {from_scratch: {vocab: t, sounds: {}}}\ndata: [{path: testdata/texts.txt}]", "sounds needs family gemma4_unified, and this is gemma3"},
		{"model: {from_scratch: {vocab: t, config: testdata/full.yaml, width: 8}}\ndata: [{path: testdata/texts.txt}]", "model.from_scratch.width and config both say sizes"},
		{"model: {from_scratch: {vocab: t, config: testdata/none.json}}\ndata: [{path: testdata/texts.txt}]", `config: "testdata/none.json" is not there`},
		{"model: {from_scratch: {vocab: t, context: 512}}\ndata: [{path: testdata/texts.txt}]", "context is 512, and batch.length 1024 is longer"},
		{"model: {from_scratch: {vocab: t}}\nadapter: lora\ndata: [{path: testdata/texts.txt}]", "r.yaml:2: adapter lora stands beside weights that are frozen"},
		{"model: {from_scratch: {vocab: t}}\nobjective: span_denoise\ndata: [{path: testdata/texts.txt}]", "r.yaml:2: objective span_denoise needs an encoder–decoder"},
		{"", "r.yaml: is empty"},
		{"# nothing", "r.yaml: is empty"},
		{"3", `r.yaml:1: the recipe is "3", and should have keys: model, `},
		{strings.Repeat("#", maxFile) + "#", "larger than 1 MB"},
		{"\x00\x01", "not YAML"},
	} {
		_, err := Parse("r.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("r.yaml", []byte("steps: x\nmodle: m\nprecision: fp8\n"))
	var p *Problems
	if !errors.As(err, &p) || len(p.List) != 3 || p.List[0].Line != 1 || p.List[2].Line != 3 {
		t.Errorf("got %v", err)
	}
}

func TestSectionDecode(t *testing.T) {
	type source struct {
		Path   string              `yaml:"path"`
		Weight float64             `yaml:"weight" max:"1"`
		Where  map[string][]string `yaml:"where"`
	}
	var got []source
	r := parse(t, "model: m\ndata:\n  - {path: testdata/texts.txt, weight: 1, where: {a: [b, c]}}\n  - {path: testdata/texts.txt, weight: 0.5}\n")
	if err := r.Data.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := []source{{"testdata/texts.txt", 1, map[string][]string{"a": {"b", "c"}}}, {"testdata/texts.txt", 0.5, nil}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var spec struct {
		Sources []source `yaml:"sources"`
	}
	if err := r.Data.Decode(&spec); err != nil || !reflect.DeepEqual(spec.Sources, want) {
		t.Errorf("as a section: %v, %v", spec, err)
	}
	r = parse(t, "model: m\ndata:\n  - {path: testdata/texts.txt, limit: 2}\n  - {path: testdata/texts.txt, weight: 2}\n")
	err := r.Data.Decode(&got)
	if err == nil || !strings.Contains(err.Error(), `medicine.yaml:3: unknown key "data[0].limit": `) ||
		!strings.Contains(err.Error(), "medicine.yaml:4: data[1].weight is 2, and should be at most 1") {
		t.Errorf("got %v", err)
	}
}

func TestRefusedData(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"data: []", "r.yaml:2: data has no sources"},
		{"data: {dedup: {near: 0.8}}", "r.yaml:2: data has no sources"},
		{"data: texts.txt", `r.yaml:2: data is "texts.txt", and should have keys: sources, dedup`},
		{"data:\n  - {path: testdata/none.txt}", `r.yaml:3: data[0].path: "testdata/none.txt" is not there`},
		{"data: {sources: [{path: testdata/none.txt}]}", `r.yaml:2: data.sources[0].path: "testdata/none.txt" is not there`},
		{"data:\n  - path: testdata/texts.txt\n    spilt: 0.1", `r.yaml:4: unknown key "data[0].spilt": did you mean data[0].split?`},
		{"data:\n  - {path: testdata/texts.txt, split: 2}", "r.yaml:3: data[0]: source testdata/texts.txt: split 2 is not between 0 and 1"},
		{"data:\n  - {path: testdata/texts.txt, format: json}", "r.yaml:3: data[0]: source testdata/texts.txt: say what a document is"},
		{"data:\n  - {path: testdata/texts.txt, split: 1}", "r.yaml:2: all of data is held out"},
		{"data: [{path: testdata/texts.txt, split: 0.1}]\neval: {every: 3}\ncheckpoint: {every: 4, best: validation_loss}", "r.yaml:4: checkpoint.every is 4, and should be a multiple of eval.every, 3"},
		{"objective: dpo\ndata:\n  - {path: testdata/texts.txt}", "r.yaml:4: data[0] gives texts, and objective dpo learns from preferences"},
		{"data: {sources: [{path: testdata/texts.txt}], dedup: {near: 2}}", "r.yaml:2: data.dedup.near is 2, and should be between 0 and 1"},
	} {
		_, err := Parse("r.yaml", []byte("model: m\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(short))
	for _, c := range refused {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse("r.yaml", text)
		if err != nil {
			return
		}
		again, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("r.yaml", again); err != nil {
			t.Errorf("%v\n%s", err, again)
		}
		for step := range 3 {
			if lr := r.Curve(max(1, r.Steps)).LR(step); math.IsNaN(lr) || lr < 0 {
				t.Errorf("rate %v of %+v", lr, r.Schedule)
			}
		}
	})
}
