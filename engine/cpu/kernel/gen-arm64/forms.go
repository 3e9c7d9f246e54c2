package main

import (
	"fmt"
	"strings"
)

// forms are the instructions that Go's assembler (1.26) has no name for: their
// fixed bits, from the Arm Architecture Reference Manual (DDI 0487, C7.2,
// "Alphabetical list of A64 Advanced SIMD and floating-point instructions"),
// and their operands. Rd is at bit 0, Rn at 5, Rm at 16 everywhere.
var forms = map[string]form{
	"sdot":    {0x4e809400, "4s 16b 16b"}, // FEAT_DotProd
	"mla":     {0x4ea09400, "4s 4s 4s"},
	"ushl":    {0x6e204400, "16b 16b 16b"},
	"bic":     {0x4e601c00, "16b 16b 16b"},
	"mvn":     {0x6e205800, "16b 16b"},
	"sxtl":    {0x0f08a400, "8h 8b"},
	"sxtl2":   {0x4f08a400, "8h 16b"},
	"sxtl.s":  {0x0f10a400, "4s 4h"},
	"sxtl2.s": {0x4f10a400, "4s 8h"},
	"scvtf":   {0x4e21d800, "4s 4s"},
	"fcvtns":  {0x4e21a800, "4s 4s"},
	"fcvtl":   {0x0e217800, "4s 4h"},
	"fcvtl2":  {0x4e217800, "4s 8h"},
	"fcvtn":   {0x0e216800, "4h 4s"},
	"fcvtn2":  {0x4e216800, "8h 4s"},
	"frintn":  {0x4e218800, "4s 4s"},
	"fabs":    {0x4ea0f800, "4s 4s"},
	"fneg":    {0x6ea0f800, "4s 4s"},
	"fcmeq0":  {0x4ea0d800, "4s 4s #0.0"},
	"fadd":    {0x4e20d400, "4s 4s 4s"},
	"fsub":    {0x4ea0d400, "4s 4s 4s"},
	"fmul":    {0x6e20dc00, "4s 4s 4s"},
	"fdiv":    {0x6e20fc00, "4s 4s 4s"},
	"fmax":    {0x4e20f400, "4s 4s 4s"},
	"fmin":    {0x4ea0f400, "4s 4s 4s"},
	"faddp":   {0x6e20d400, "4s 4s 4s"},
	"fmaxv":   {0x6e30f800, "s 4s"},
}

// byLane are those that multiply by one lane of Rm: index H is bit 11, L 21.
var byLane = map[string]form{
	"sdot": {0x4f80e000, "4s 16b 4b"}, // FEAT_DotProd
	"fmul": {0x4f809000, "4s 4s s"},
	"fmla": {0x4f801000, "4s 4s s"},
	"fmls": {0x4f805000, "4s 4s s"},
}

// zeroForm is movi vd.2d, #0, which newer cores resolve without executing.
var zeroForm = form{0x6f00e400, "2d #0x0"}

// roundForm is srshr, which shifts right and rounds: immh:immb, 64 less the
// shift, is at bit 16.
var roundForm = form{0x4f002400, "4s 4s"}

type form struct {
	bits     uint32
	operands string
}

// text spells the instruction as Arm's manual does.
func (f form) text(name string, regs []vec, suffix string) string {
	name, _, _ = strings.Cut(strings.TrimSuffix(name, "0"), ".")
	var operands []string
	for i, o := range strings.Fields(f.operands) {
		switch {
		case o[0] == '#':
		case len(o) == 1 && suffix == "":
			o = fmt.Sprintf("%s%d", o, int(regs[i]))
		default:
			o = fmt.Sprintf("v%d.%s", int(regs[i]), o)
		}
		operands = append(operands, o)
	}
	return name + " " + strings.Join(operands, ", ") + suffix
}

func (a *assembler) word(bits uint32, text string) { a.line("WORD $0x%08x // %s", bits, text) }

// arm is an instruction of forms.
func (a *assembler) arm(name string, regs ...vec) {
	f, ok := forms[name]
	if !ok {
		panic("no form " + name)
	}
	a.word(encode(f.bits, regs), f.text(name, regs, ""))
}

func encode(bits uint32, regs []vec) uint32 {
	for i, v := range regs {
		bits |= uint32(v) << []int{0, 5, 16}[i]
	}
	return bits
}

// lane multiplies by lane i of m.
func (a *assembler) lane(name string, d, n, m vec, i int) {
	f, regs := byLane[name], []vec{d, n, m}
	a.word(encode(f.bits, regs)|uint32(i&1)<<21|uint32(i>>1)<<11, f.text(name, regs, fmt.Sprintf("[%d]", i)))
}

func (a *assembler) zero(vs ...vec) {
	for _, v := range vs {
		a.word(encode(zeroForm.bits, []vec{v}), zeroForm.text("movi", []vec{v}, ""))
	}
}

// round is d = n / 2^by, ties upwards.
func (a *assembler) round(d, n vec, by int) {
	regs := []vec{d, n}
	a.word(encode(roundForm.bits, regs)|uint32(64-by)<<16, roundForm.text("srshr", regs, fmt.Sprintf(", #%d", by)))
}

// fmla and fmls are d ± n·m; Go's assembler has them for whole registers.
func (a *assembler) fmla(d, n, m vec) { a.op("VFMLA", "S4", d, n, m) }
func (a *assembler) fmls(d, n, m vec) { a.op("VFMLS", "S4", d, n, m) }
