// Package eval measures how well a model does on data with known answers.
//
// # Concepts
//
// A [Task] says how the examples of a file become prompts, what a right answer
// is, and what is measured; it is a short YAML file. [Builtin] has one for each
// of several public data sets, by name. The data themselves are the user's.
//
// A metric is measured in one of three ways, and a task may ask for metrics of all
// three:
//
//   - The log-likelihood of each choice: accuracy takes the likeliest,
//     accuracy_norm that of the greatest log-likelihood for a character,
//     balanced_accuracy is the mean of accuracy over the labels.
//   - The log-likelihood of the answer that is given: perplexity is e to the mean
//     negative log-likelihood of a token, bits_per_byte the mean for a byte to the
//     base of two. Answers count with the space before them.
//   - An answer that the model writes, compared with the given one: exact and f1
//     (of words) as in SQuAD, rouge1, rouge2 and rougeL as in rouge_score; or
//     verified: pass. Of several given answers the best match counts.
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
