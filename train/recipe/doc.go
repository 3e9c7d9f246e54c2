// Package recipe reads what a training run is to do: one short YAML file,
// checked completely before anything starts.
//
//	model: gemma3:270m
//	objective: supervised
//	adapter: lora
//	data:
//	  - file: questions.jsonl
//	steps: 500
//
// Every key that is left out has a default that works; [Recipe.YAML] writes
// the recipe with all of them filled in. A key that does not exist, a value of
// the wrong type or out of its range, a file that is not there and settings
// that contradict each other are refused together, one line each, with the
// file, the line and what to do ([Problems]).
//
// Where only the first key of a section matters, the section may be written as
// that value alone: "adapter: lora" is "adapter: {kind: lora}".
//
// What lies in the sections data and eval.data is the business of the package
// that reads data. They are kept as they are written ([Section]) and decoded
// with the same checks by who knows the types.
//
// testdata/full.yaml has every key there is.
package recipe
