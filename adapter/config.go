package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Kind is what an adapter computes.
type Kind string

// The kinds. A DoRA may scale as rsLoRA does.
const (
	LoRA   Kind = "lora"
	RsLoRA Kind = "rslora"
	DoRA   Kind = "dora"
)

// Config is adapter_config.json: what of it is obeyed.
type Config struct {
	Rank          int      `json:"r"`
	Alpha         float64  `json:"lora_alpha"`
	RsLoRA        bool     `json:"use_rslora"`
	DoRA          bool     `json:"use_dora"`
	TargetModules []string `json:"target_modules"` // names, or ends of names; "all-linear" alone for all
	Dropout       float64  `json:"lora_dropout"`   // of training
	// RankPattern and AlphaPattern give some modules another rank or alpha.
	RankPattern  Pattern `json:"rank_pattern"`
	AlphaPattern Pattern `json:"alpha_pattern"`
	BaseModel    string  `json:"base_model_name_or_path"`
	Task         string  `json:"task_type"` // CAUSAL_LM, SEQ_2_SEQ_LM, SEQ_CLS, FEATURE_EXTRACTION
}

// Kind is what adapters of this configuration compute.
func (c *Config) Kind() Kind {
	switch {
	case c.DoRA:
		return DoRA
	case c.RsLoRA:
		return RsLoRA
	}
	return LoRA
}

// scale is s of a module of that rank.
func (c *Config) scale(path string, rank int) float64 {
	alpha := c.AlphaPattern.of(path, c.Alpha)
	if c.RsLoRA {
		return alpha / math.Sqrt(float64(rank))
	}
	return alpha / float64(rank)
}

// Pattern has a value for modules whose path matches; the first that does counts.
// What it matches is a regular expression for the whole path or for what of it
// follows a dot.
type Pattern []PatternEntry

// PatternEntry is one of them.
type PatternEntry struct {
	Match string
	Value float64
	path  *regexp.Regexp
}

// of is the value for a module, or the one for all others.
func (p Pattern) of(path string, otherwise float64) float64 {
	for _, e := range p {
		if e.path != nil && e.path.MatchString(path) {
			return e.Value
		}
	}
	return otherwise
}

// UnmarshalJSON keeps the order of an object, which decides.
func (p *Pattern) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	switch t, err := d.Token(); {
	case err != nil || t == nil:
		return err
	case t != json.Delim('{'):
		return fmt.Errorf("%s: want an object", text)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		e := PatternEntry{Match: key.(string)}
		if err := d.Decode(&e.Value); err != nil {
			return err
		}
		*p = append(*p, e)
	}
	return p.compile()
}

func (p Pattern) compile() error {
	for i := range p {
		path, err := regexp.Compile(`^(?:.*\.)?(?:` + p[i].Match + `)$`)
		if err != nil {
			return fmt.Errorf("the pattern %q: %w", p[i].Match, err)
		}
		p[i].path = path
	}
	return nil
}

// MarshalJSON writes an object in that order.
func (p Pattern) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(e.Match)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s:%v", key, e.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// inert are keys that say how an adapter was made or is kept, and nothing of
// what it computes.
var inert = []string{
	"arrow_config", "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "exclude_modules", "inference_mode",
	"layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core",
	"peft_version", "qalora_group_size", "r", "rank_pattern", "alpha_pattern", "revision", "runtime_config", "target_modules",
	"task_type", "use_dora", "use_rslora", "ensure_weight_tying", "peft_type", "bias", "init_lora_weights", "velora_config",
}

// why says of keys what they would ask for.
var why = map[string]string{
	"modules_to_save":         "modules that are stored whole are not applied; merge them into the base model with PEFT",
	"target_parameters":       "parameters that are no linear layers, such as experts' weights, have no low-rank way here",
	"trainable_token_indices": "rows of the embedding are not changed",
	"layer_replication":       "layers are not repeated",
	"fan_in_fan_out":          "weights are stored outputs first",
	"lora_bias":               "a bias beside B is not applied",
	"alora_invocation_tokens": "an adapter that wakes at some tokens is not supported",
	"megatron_config":         "weights that are shared out among processes are not supported",
}

// ReadConfig reads adapter_config.json and refuses what it asks for and cannot
// be obeyed.
func ReadConfig(text []byte) (Config, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return Config{}, fmt.Errorf("not a JSON object: %w", err)
	}
	if err := refuse(all); err != nil {
		return Config{}, err
	}
	var c Config
	if len(all["target_modules"]) > 0 && all["target_modules"][0] == '"' { // a regular expression or "all-linear"
		all["target_modules"] = slices.Concat([]byte{'['}, all["target_modules"], []byte{']'})
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return Config{}, err
	}
	return c, c.check()
}

func refuse(all map[string]json.RawMessage) error {
	word := func(key string) (s string) {
		_ = json.Unmarshal(all[key], &s) // what is no string stays ""
		return s
	}
	if kind := word("peft_type"); kind != "LORA" {
		return fmt.Errorf("peft_type %q: only LORA (with use_rslora, use_dora) is supported", kind)
	}
	if bias := word("bias"); bias != "" && bias != "none" {
		return fmt.Errorf("bias %q: trained biases are not applied", bias)
	}
	for _, way := range []string{"pissa", "olora", "loftq", "corda", "lora_ga"} {
		if start := word("init_lora_weights"); strings.HasPrefix(start, way) {
			return fmt.Errorf("init_lora_weights %q: such an adapter changes the base weights as well; let PEFT convert it to a plain LoRA", start)
		}
	}
	keys := make([]string, 0, len(all))
	for key, value := range all {
		if !slices.Contains(inert, key) && !slices.Contains([]string{"null", "false", "{}", "[]", `""`}, string(value)) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	reason := why[keys[0]]
	if reason == "" {
		reason = "not supported"
	}
	return fmt.Errorf("%s %s: %s", keys[0], all[keys[0]], reason)
}

// maxRank is far above any rank in use.
const maxRank = 1 << 14

func (c *Config) check() error {
	switch {
	case c.Rank < 1 || c.Rank > maxRank:
		return fmt.Errorf("rank r %d: want 1 to %d", c.Rank, maxRank)
	case math.IsNaN(c.Alpha) || math.IsInf(c.Alpha, 0):
		return fmt.Errorf("lora_alpha %v: want a number", c.Alpha)
	case c.Dropout < 0 || c.Dropout >= 1:
		return fmt.Errorf("lora_dropout %v: want 0 or more, below 1", c.Dropout)
	}
	for _, e := range c.RankPattern {
		if e.Value != math.Trunc(e.Value) || e.Value < 1 || e.Value > maxRank {
			return fmt.Errorf("rank_pattern %q: %v, want 1 to %d", e.Match, e.Value, maxRank)
		}
	}
	return errors.Join(c.RankPattern.compile(), c.AlphaPattern.compile())
}

// text is adapter_config.json with what PEFT wants besides.
func (c *Config) text() ([]byte, error) {
	own, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(own, &all); err != nil {
		return nil, err
	}
	for _, key := range []string{"rank_pattern", "alpha_pattern"} { // a map forgets the order
		delete(all, key)
	}
	all["peft_type"], all["bias"], all["fan_in_fan_out"], all["inference_mode"], all["init_lora_weights"] = "LORA", "none", false, true, true
	all["modules_to_save"] = nil
	if c.Task == "" {
		all["task_type"] = nil
	}
	if slices.Equal(c.TargetModules, []string{AllLinear}) {
		all["target_modules"] = AllLinear
	}
	return c.withPatterns(all)
}

func (c *Config) withPatterns(all map[string]any) ([]byte, error) {
	ranks, err := c.RankPattern.MarshalJSON()
	if err != nil {
		return nil, err
	}
	alphas, err := c.AlphaPattern.MarshalJSON()
	if err != nil {
		return nil, err
	}
	all["rank_pattern"], all["alpha_pattern"] = json.RawMessage(ranks), json.RawMessage(alphas)
	text, err := json.MarshalIndent(all, "", "  ")
	return append(text, '\n'), err
}
