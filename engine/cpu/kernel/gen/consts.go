package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

var tables = map[string]Mem{}

// table is a read-only 32-byte constant, made once.
func table(name string, word func(i int) uint32) Mem {
	if m, ok := tables[name]; ok {
		return m
	}
	m := GLOBL(name, 8|16) // RODATA, NOPTR
	for i := range 8 {
		DATA(4*i, U32(word(i)))
	}
	tables[name] = m
	return m
}

func bytesTable(name string, f func(i int) byte) Mem {
	return table(name, func(i int) uint32 {
		return uint32(f(4*i)) | uint32(f(4*i+1))<<8 | uint32(f(4*i+2))<<16 | uint32(f(4*i+3))<<24
	})
}

// bytesOf repeats a byte 32 times.
func bytesOf(b byte) Mem {
	return bytesTable(fmt.Sprintf("bytes%02x", b), func(int) byte { return b })
}

// floatOf repeats a float eight times.
func floatOf(f float64) Mem { return wordOf(math.Float32bits(float32(f))) }

// negativeZero flips signs.
func negativeZero() Mem { return wordOf(1 << 31) }

// wordOf repeats a 32-bit word eight times.
func wordOf(v uint32) Mem {
	return table(fmt.Sprintf("word%08x", v), func(int) uint32 { return v })
}

// wordsOf repeats a 16-bit word 16 times.
func wordsOf(v uint16) Mem { return wordOf(uint32(v) | uint32(v)<<16) }
