//go:build !race

package cpu_test

// raced says that the race detector is at work.
const raced = false
