// Package data turns files into batches of tokens to train on.
//
// A [Source] says where documents are and how a record becomes one: a text, a
// prompt and its answer, a conversation, a preference, a labelled text, a
// contrast. [Prepare] reads sources, turns them into tokens, keeps those in a
// cache on disk (format.md), leaves duplicates out, holds some back for
// validation, and reports what the data is. [Set.Stream] draws batches.
//
// # Order and resumption
//
// Everything is decided by the data, the settings and the seed: which document
// is held out (a hash of it, so that adding documents moves no other), the
// order of an epoch (a pseudo-random permutation of all documents, not of a
// buffer), whose turn it is among weighted sources, which documents share a
// line. The stream's state is therefore a [Position] of a few numbers; a stream
// that is sought to it draws bit for bit what the other one would have. A
// position of other data or settings is refused.
//
// # Packing
//
// A line holds several documents, each with positions of its own and seeing
// nothing of the others: [Batch.Documents] has their lengths. Documents are packed
// within windows of the shuffled order, so a line's neighbours are as
// random as the order itself.
//
// # Broken data
//
// A record that cannot be used stops the preparation with one error that names
// file, line and reason, or is counted when the source says so. Nothing of a
// preparation that was stopped is taken for a whole one.
//
// # Larger than a machine
//
// The index of all documents is held in memory: about 60 bytes a document, and
// 512 more with near duplicates. Package beam does the same steps on Apache
// Beam, where several machines are needed.
package data
