// Command gen-arm64 writes the arm64 assembly of package kernel: every loop for
// Advanced SIMD ("NEON") with the dot product extension. Run it through go
// generate.
//
// None of it has been timed: only emulation was at hand. Where there was a
// choice, the fewer instructions won, and independent sums enough to hide a
// multiply-add's latency of four on four pipes.
package main

import (
	"flag"
	"os"
)

func main() {
	out := flag.String("out", "kernel_arm64.s", "assembly to write")
	stubs := flag.String("stubs", "stub_arm64.go", "declarations to write")
	flag.Parse()
	a := &assembler{}
	everything(a)
	for name, text := range map[string]string{*out: a.assembly(), *stubs: a.declarations()} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			panic(err)
		}
	}
}

func everything(a *assembler) {
	gemm(a, "gemm32NEON", 32, false)
	gemm(a, "gemm16NEON", 16, false)
	gemm(a, "gemmWideNEON", 32, true)
	for _, half := range []bool{false, true} {
		for _, rows := range []int{4, 2, 1} {
			multiply(a, rows, half)
		}
	}
	for _, f := range smallFormats {
		gemvSmall(a, f)
		expandSmall(a, f)
	}
	for _, f := range superFormats {
		gemvSuper(a, f)
		expandSuper(a, f)
	}
	quantize(a)
	interleave(a)
	elementwise(a)
	pause(a)
}
