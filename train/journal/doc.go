// Package journal keeps the folder of a training run: what it was told, what
// it has measured and the states it can go on from.
//
//	recipe.yaml         the recipe, complete
//	log.txt             what happened, with the time
//	metrics.jsonl       {"step":12,"loss":2.31,"learning_rate":0.0002}: what the run computes
//	timing.jsonl        {"step":12,"time":1763999000.5,"tokens_per_second":…}: how it went
//	events.out.tfevents.lapidary   both of them for TensorBoard
//	checkpoints/step-00000500/     tensors, state.json, manifest.json
//	checkpoints/latest, checkpoints/best   the names of two of them
//	report.html
//
// A step counts the optimiser steps that are done: the metrics of step 12 are
// those of the twelfth, and a checkpoint of step 12 goes on with the
// thirteenth.
//
// # What survives
//
// A checkpoint is written into a folder of another name, forced to the disk and
// renamed; one that was not finished is never seen. Older ones go after the new
// one is there. Opening a run finds the newest checkpoint whose files are whole
// (size and CRC-32C) and cuts what was written later than it off metrics.jsonl,
// so that the file of a run that was killed and resumed ends up the same, byte
// for byte, as that of a run that was not: it holds nothing that depends on the
// clock. The TensorBoard file is made again from the two.
//
// A run has one writer: a second one is refused ([ErrBusy]).
package journal
