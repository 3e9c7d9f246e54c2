package probe

import "golang.org/x/sys/cpu"

func readAVX2(p *byte, n int)

func multiplyAVX2(rounds int)

func multiplyAVX512(rounds int)

func read(b []byte) {
	if n := len(b) &^ 255; cpu.X86.HasAVX2 && n > 0 {
		readAVX2(&b[0], n)
		return
	}
	readPlain(b)
}

func multiplier(set string) (multiply func(rounds int), perRound int, ok bool) {
	switch {
	case set == "avx512" && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VNNI:
		return multiplyAVX512, 16 * 64, true
	case set == "avx2" && cpu.X86.HasAVX2:
		return multiplyAVX2, 12 * 32, true
	}
	return nil, 0, false
}
