// Package eval measures how well a model does on data with known answers.
//
// # Concepts
//
// A [Task] says how the examples of a file become prompts, what a right answer
// is, and what is measured; it is a short YAML file. [Builtin] has one for each
// of several public data sets, by name. The data themselves are the user's.
//
// A metric is measured in one of three ways. The log-likelihood of each choice
// (accuracy, accuracy_norm, balanced_accuracy); the log-likelihood of the answer
// that is given (perplexity, bits_per_byte); or an answer that the model writes,
// compared with the given one (exact, f1, rouge1, rouge2, rougeL) or verified
// (pass). A task may ask for metrics of all three.
//
// [Run] evaluates a model and gives a [Record] for each example, written as
// JSON lines by a [Log], which can be interrupted and gone on with. [Summarise]
// derives the metrics from records with bootstrap intervals, and [Compare] those
// of two runs over the same examples.
//
// # Repeatability
//
// Examples, shots and resamples are drawn from seeds. The same task, data, model,
// engine, number of threads and processor give the same records to the last bit,
// whether or not the run was interrupted.
//
// # Caveats
//
// Perplexities per token cannot be compared between models of other
// vocabularies; bits per byte can. An example that is longer than the model's
// context is skipped and counted, never cut.
package eval
