// Package graph is the differentiable engine: a pass is written down as a tape
// of operations and run as one graph of GoMLX, which XLA compiles for CPUs,
// GPUs and TPUs, or which GoMLX's own Go code interprets where there is no XLA.
//
// A tape keeps what is data apart from what is structure. Tokens, positions and
// which row sees which are inputs of the graph; shapes and constants are its
// structure, and the key under which its compiled form is kept. So the second
// pass of a shape costs no compilation: decoding step by step recompiles when a
// memory's capacity doubles, training when the batch changes its shape.
//
// A pass runs when something of it is read, and when it ends. What training
// makes of a tape instead is a Recording, which can be lowered into a larger
// graph, with a loss, its gradients and an optimiser's step behind it.
//
// Weights are float32 on the device, whatever the file holds, unless the engine
// computes in bfloat16: then weights and activations are bfloat16, while norms,
// softmax, scores and logits stay float32. Mixtures of experts are computed for
// all experts, so they cost as many times more as there are.
package graph
