// Package enginetest is the conformance suite of engines: [Run] holds one
// against engine/ref, operation by operation, on random data.
//
// # How two engines are compared
//
// [Compare] makes an engine of two: every operation runs on the tested engine
// and on the plain one, the results are compared, and the plain engine goes on
// with the tested one's result. So each operation is judged on its own inputs
// and errors do not add up, however long the computation; a whole model can be
// run through it. It also reports operations that change arguments they may
// not, wrong shapes, and caches whose lengths differ. Only memories are each
// engine's own: keys and values, which come from common inputs, and the states
// of recurrences, whose drift the tolerances follow.
//
// That the suite finds what it is for is tested with engines that have one
// fault each (faults_test.go).
//
// # Tolerances
//
// What each operation may differ by, with the reason, is in tolerance.go. They
// are meant for an engine that computes in float32 from weights as they are
// stored, may round the activations of a quantised product to 13 bits, and may
// keep keys and values in half precision.
package enginetest
