// Package recipe reads what a training run is to do: one short YAML file,
// checked completely before anything starts.
//
//	model: gemma3:270m
//	objective: supervised
//	adapter: lora
//	data:
//	  - {path: questions.jsonl, prompt: question, answer: answer}
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
// A section whose first key is a list may be written as that list: "data: [a]"
// is "data: {sources: [a]}".
//
// testdata/full.yaml has every key there is.
package recipe
