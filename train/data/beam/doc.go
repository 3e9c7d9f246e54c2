// Package beam prepares data on several machines.
//
// It runs the steps of package data (reading, tokens, exact and near
// duplicates, caches) as a pipeline of Apache Beam, whose runners are a local
// one (prism), Flink, Spark and others. The result is a folder that
// [data.Open] opens; it has the documents that [data.Prepare] would keep, in
// the same order, one cache for each data file.
//
//	files ─▶ read and tokenise ─▶ group by hash: the first stays
//	      ─▶ group by band: pairs that resemble each other ─▶ which of them stay
//	      ─▶ group by file: caches ─▶ manifest
//
// # Caveats
//
// Workers reach data files, the model and the folder by the same paths. Data
// sets of Hugging Face are fetched before the pipeline starts. All documents of one
// file meet in one worker's memory, and so do the pairs of near duplicates (16
// bytes each): cut large data into files of some gigabytes. A source's Limit is refused, since
// no worker knows what the others have taken.
package beam
