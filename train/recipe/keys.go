package recipe

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"
)

// key is a field of a section as a file writes it.
type key struct {
	name  string
	index int
	tag   reflect.StructTag
	typ   reflect.Type
	only  []string // the kinds it belongs to; none for all
	omit  bool     // is left out when it is empty
}

func (k key) belongs(kind string) bool { return len(k.only) == 0 || slices.Contains(k.only, kind) }

func keysOf(t reflect.Type) []key {
	var keys []key
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		keys = append(keys, key{name, i, f.Tag, f.Type, strings.Fields(f.Tag.Get("only")), options == "omitempty"})
	}
	return keys
}

func find(keys []key, name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// shorthand is the key that a section's single value is for.
func shorthand(keys []key) (key, bool) {
	for _, k := range keys {
		if k.tag.Get("short") != "" {
			return k, true
		}
	}
	return key{}, false
}

func names(keys []key) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.name
	}
	return strings.Join(all, ", ")
}

// elsewhere are the paths of all keys by their last name.
var elsewhere = sync.OnceValue(func() map[string][]string {
	all := map[string][]string{}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		for _, k := range keysOf(t) {
			at := join(path, k.name)
			all[k.name] = append(all[k.name], at)
			walk(k.typ, at)
		}
	}
	walk(reflect.TypeFor[Recipe](), "")
	walk(reflect.TypeFor[Data](), "data")
	return all
})

// other are names that other trainers have for the same thing.
var other = map[string]string{
	"learning_rate":               "optimizer.lr",
	"batch_size":                  "batch.sequences",
	"per_device_train_batch_size": "batch.micro",
	"gradient_accumulation_steps": "batch.accumulate",
	"max_length":                  "batch.length",
	"max_seq_length":              "batch.length",
	"sequence_len":                "batch.length",
	"max_steps":                   "steps",
	"num_train_epochs":            "epochs",
	"num_epochs":                  "epochs",
	"warmup_steps":                "schedule.warmup",
	"warmup_ratio":                "schedule.warmup",
	"lr_scheduler_type":           "schedule.kind",
	"max_grad_norm":               "optimizer.clip",
	"lora_r":                      "adapter.rank",
	"r":                           "adapter.rank",
	"lora_alpha":                  "adapter.alpha",
	"lora_dropout":                "adapter.dropout",
	"target_modules":              "adapter.targets",
	"load_in_4bit":                "adapter.quantised",
	"eval_steps":                  "eval.every",
	"save_steps":                  "checkpoint.every",
	"save_total_limit":            "checkpoint.keep",
	"output_dir":                  "out",
	"base_model":                  "model",
	"datasets":                    "data",
	"gradient_checkpointing":      "remat",
	"bf16":                        "precision",
}

// advice says what an unknown key may have been meant to be.
func advice(path, name string, keys []key) string {
	if at, ok := other[name]; ok {
		return "it is called " + at + " here"
	}
	best, away := "", max(2, len(name)/3)+1
	for _, k := range keys {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), k.name); d < away {
			best, away = k.name, d
		}
	}
	if places := elsewhere()[name]; len(places) > 0 && away > 1 {
		return "its place is " + strings.Join(places, " or ")
	}
	if best != "" {
		return "did you mean " + join(path, best) + "?"
	}
	return "the keys here are " + names(keys)
}

// listed is "a", "a and b", "a, b and c".
func listed(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
