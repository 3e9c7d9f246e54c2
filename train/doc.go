// Package train is the training room: what a recipe asks for, done and kept.
//
// A step is one graph: a model's passes over a batch are written on the tape of
// engine/graph ([graph.Trace]), an objective makes a loss of their states, and
// gradients, clipping and the optimiser's update are lowered behind it. What is
// trained are float32 master weights on the device; the computation may be in
// bfloat16. Several micro-batches may make one step: their gradients are summed.
//
// The parts have rooms of their own: train/recipe (what a run is), train/data
// (where its examples come from), train/optimizer, train/journal (the run's
// folder, and how it goes on after it was killed), train/scratch (models of
// random numbers).
package train
