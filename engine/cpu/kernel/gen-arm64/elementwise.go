package main

import "math"

// quantize turns blocks of 32 floats into two digits.
func quantize(a *assembler) {
	r := a.function("quantizeNEON", "x *float32, n int, digits *int8, planeStep, digitStep int, scale, sum, sum16 *float32, floatStep int", "")
	x, n, high, low, step, scale, sum, sum16, floats := r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8]
	limit := a.floats(float64(int(1)<<(2*digitBits) - int(1)<<digitBits))
	a.line("ADD %v, %v, %v", high, low, low)
	a.loop("blocks", n, func() {
		v := a.vecs(8)
		for i := 0; i < 8; i += 2 {
			a.loadNext(x, 32, v[i:i+2]...)
		}
		d, inverse, real := greatest(a, v), a.vec(), a.vec()
		a.arm("fcmeq0", real, d)
		a.arm("fdiv", inverse, limit, d)
		a.arm("fdiv", d, d, limit)
		a.arm("bic", inverse, inverse, real) // a block of zeros has no inverse
		for _, v := range v {
			a.lane("fmul", v, v, inverse, 0)
			a.arm("fcvtns", v, v)
		}
		a.free(inverse, real)
		a.line("VST1.P %v.S[0], (%v)(%v)", d, scale, floats)
		groupSums(a, v, d, sum, sum16, floats)
		a.free(d)
		split(a, v, high, low, step)
		a.free(v...)
	})
	a.line("RET")
}

// greatest is the greatest magnitude of v, in the first lane.
func greatest(a *assembler, v []vec) vec {
	t := a.vecs(len(v))
	for i := range v {
		a.arm("fabs", t[i], v[i])
	}
	for n := len(t) / 2; n > 0; n /= 2 {
		for i := range n {
			a.arm("fmax", t[i], t[i], t[i+n])
		}
	}
	a.arm("fmaxv", t[0], t[0])
	a.free(t[1:]...)
	return t[0]
}

// groupSums stores d times the sums of 32 and of 16 integers.
func groupSums(a *assembler, v []vec, d vec, sum, sum16, step gpr) {
	t := a.vecs(4)
	for i := range t {
		a.op("VADD", "S4", t[i], v[2*i], v[2*i+1])
	}
	a.op("VADDP", "S4", t[0], t[0], t[1])
	a.op("VADDP", "S4", t[2], t[2], t[3])
	a.op("VADDP", "S4", t[0], t[0], t[2])
	a.op("VADDP", "S4", t[0], t[0], t[0])
	a.op("VADDP", "S4", t[1], t[0], t[0])
	for _, v := range t[:2] {
		a.arm("scvtf", v, v)
		a.lane("fmul", v, v, d, 0)
	}
	a.line("VST1.P %v.S[0], (%v)(%v)", t[1], sum, step)
	a.line("VST1.P %v.S[0], (%v)(%v)", t[0], sum16, step)
	a.line("VST1.P %v.S[1], (%v)(%v)", t[0], sum16, step)
	a.free(t...)
}

// split stores the high and low digits of 32 integers, four at a time.
func split(a *assembler, v []vec, high, low, step gpr) {
	h, t := a.vecs(8), a.vec()
	for i := range v {
		a.round(h[i], v[i], digitBits)
		a.shift("VSHL", "S4", t, h[i], digitBits)
		a.op("VSUB", "S4", v[i], v[i], t)
	}
	storeDigits(a, h, high, step)
	storeDigits(a, v, low, step)
	a.free(append(h, t)...)
}

func storeDigits(a *assembler, v []vec, p, step gpr) {
	for i := 0; i < 8; i += 2 {
		a.op("VUZP1", "H8", v[i], v[i], v[i+1])
	}
	for i := 0; i < 8; i += 4 {
		a.op("VUZP1", "B16", v[i], v[i], v[i+2])
		for j := range 4 {
			a.line("VST1.P %v.S[%d], (%v)(%v)", v[i], j, p, step)
		}
	}
}

// interleave transposes words, eight rows by four.
func interleave(a *assembler) {
	r := a.function("interleaveNEON", "dst *byte, dstStep int, src *byte, srcStep, n int", "")
	dst, dstStep, n := r[0], r[1], r[4]
	rows := addresses(a, 5, r[2], r[3], 8)
	a.line("LSR $2, %v, %v", n, n)
	a.loop("fours", n, func() {
		in, pairs := a.vecs(8), a.vecs(8)
		for i, v := range in {
			a.loadNext(rows[i], 16, v)
		}
		for i := 0; i < 8; i += 2 {
			a.op("VTRN1", "S4", pairs[i], in[i], in[i+1])
			a.op("VTRN2", "S4", pairs[i+1], in[i], in[i+1])
		}
		for k := range 4 {
			name := []string{"VTRN1", "VTRN2"}[k/2]
			for half := range 2 {
				a.op(name, "D2", in[half], pairs[4*half+k%2], pairs[4*half+k%2+2])
			}
			a.store(dst, 0, in[0], in[1])
			a.line("ADD %v, %v", dstStep, dst)
		}
		a.free(append(in, pairs...)...)
	})
	a.line("RET")
}

// over starts a function whose body handles eight floats in two registers at a
// time; the parameters' registers move on by themselves.
func over(a *assembler, name, params, result string, setup func(), body func(p []gpr), after func()) {
	r := a.function(name, params, result)
	setup()
	n := r[len(r)-1]
	a.line("LSR $3, %v, %v", n, n)
	a.loop("eights", n, func() { body(r) })
	after()
	a.line("RET")
}

func elementwise(a *assembler) {
	dot(a)
	none := func() {}
	var by vec
	over(a, "scaleMulNEON", "y, x *float32, s float32, w *float32, n int", "",
		func() { by = a.vec(); a.loadFloat("s", by) },
		func(r []gpr) {
			x, w := a.next(r[1]), a.next(r[2])
			for i, v := range x {
				a.arm("fmul", v, v, by)
				a.arm("fmul", v, v, w[i])
			}
			a.storeNext(r[0], 32, x...)
			a.free(append(x, w...)...)
		}, none)
	over(a, "addNEON", "y, x *float32, n int", "", none, func(r []gpr) {
		x, y := a.next(r[1]), a.vecs(2)
		a.load(r[0], 0, y...)
		for i, v := range y {
			a.arm("fadd", v, v, x[i])
		}
		a.storeNext(r[0], 32, y...)
		a.free(append(x, y...)...)
	}, none)
	var top vec
	over(a, "maxNEON", "x *float32, n int", "float32", func() { top = a.floats(math.Inf(-1)) }, func(r []gpr) {
		x := a.next(r[0])
		a.arm("fmax", x[0], x[0], x[1])
		a.arm("fmax", top, top, x[0])
		a.free(x...)
	}, func() { a.arm("fmaxv", top, top); a.storeResult(top) })
	var bounds [2]vec
	over(a, "toHalfNEON", "half *uint16, src *float32, n int", "", func() { bounds = [2]vec{a.floats(65504), a.floats(-65504)} }, func(r []gpr) {
		x := a.next(r[1])
		for _, v := range x {
			a.arm("fmin", v, v, bounds[0])
			a.arm("fmax", v, v, bounds[1])
		}
		a.arm("fcvtn", x[0], x[0])
		a.arm("fcvtn2", x[0], x[1])
		a.storeNext(r[0], 16, x[0])
		a.free(x...)
	}, none)
	exponentials(a)
	rotate(a)
}

// next loads eight floats and moves on.
func (a *assembler) next(p gpr) []vec {
	v := a.vecs(2)
	a.loadNext(p, 32, v...)
	return v
}

// dot takes 32 at a time into eight sums, then what is left by eight.
func dot(a *assembler) {
	r := a.function("dotNEON", "x, y *float32, n int", "float32")
	x, y, n, blocks := r[0], r[1], r[2], gpr(3)
	sums := a.vecs(8)
	a.zero(sums...)
	eight := func(sums []vec) {
		p, q := a.next(x), a.next(y)
		for i, s := range sums {
			a.fmla(s, p[i], q[i])
		}
		a.free(append(p, q...)...)
	}
	a.line("LSR $5, %v, %v", n, blocks)
	a.line("CBZ %v, rest", blocks)
	a.loop("blocks", blocks, func() {
		for i := 0; i < 8; i += 2 {
			eight(sums[i : i+2])
		}
	})
	a.label("rest")
	a.line("LSR $3, %v, %v", n, n)
	a.line("ANDS $3, %v, %v", n, n)
	a.line("BEQ done")
	a.loop("eights", n, func() { eight(sums[:2]) })
	a.label("done")
	for i := 4; i > 0; i /= 2 {
		for j := range i {
			a.arm("fadd", sums[j], sums[j], sums[j+i])
		}
	}
	a.sum(sums[0])
	a.storeResult(sums[0])
	a.line("RET")
}

// sum adds the four lanes up.
func (a *assembler) sum(v vec) {
	a.arm("faddp", v, v, v)
	a.arm("faddp", v, v, v)
}

// exponential holds the constants of e^v = 2^n·e^r with |r| ≤ ln 2 / 2, e^r by
// the polynomial of Cephes' expf (error below 2 ulp). Arguments are kept
// within ±87.
type exponential struct {
	*assembler
	top, bottom, log2e, one vec
	ln2                     [2]vec // in two parts
	terms                   []vec
}

func newExponential(a *assembler) *exponential {
	e := &exponential{assembler: a, top: a.floats(87), bottom: a.floats(-87), log2e: a.floats(math.Log2E), one: a.floats(1),
		ln2: [2]vec{a.floats(0.693359375), a.floats(-2.12194440e-4)}}
	for _, c := range []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		e.terms = append(e.terms, a.floats(c))
	}
	return e
}

// of replaces each v by its exponential.
func (e *exponential) of(vs []vec) {
	for _, v := range vs {
		n, p, t := e.vec(), e.vec(), e.vec()
		e.arm("fmin", v, v, e.top)
		e.arm("fmax", v, v, e.bottom)
		e.arm("fmul", n, v, e.log2e)
		e.arm("frintn", n, n)
		e.fmls(v, n, e.ln2[0])
		e.fmls(v, n, e.ln2[1])
		e.move(p, e.terms[0])
		for _, c := range e.terms[1:] {
			e.move(t, c)
			e.fmla(t, p, v)
			p, t = t, p
		}
		e.arm("fmul", t, v, v)
		e.fmla(v, p, t)
		e.arm("fadd", v, v, e.one)
		e.arm("fcvtns", n, n)
		e.shift("VSHL", "S4", n, n, 23)
		e.op("VADD", "S4", v, v, n)
		e.free(n, p, t)
	}
}

func exponentials(a *assembler) {
	var e *exponential
	var top, total, limit, two vec
	over(a, "expNEON", "x *float32, n int, top float32", "float32",
		func() { e, top, total = newExponential(a), a.vec(), a.vec(); a.loadFloat("top", top); a.zero(total) },
		func(r []gpr) {
			x := a.vecs(2)
			a.load(r[0], 0, x...)
			for _, v := range x {
				a.arm("fsub", v, v, top)
			}
			e.of(x)
			a.storeNext(r[0], 32, x...)
			a.arm("fadd", x[0], x[0], x[1])
			a.arm("fadd", total, total, x[0])
			a.free(x...)
		}, func() { a.sum(total); a.storeResult(total) })
	over(a, "softCapNEON", "x *float32, limit float32, n int", "",
		func() { e, limit, two = newExponential(a), a.vec(), a.floats(2); a.loadFloat("limit", limit) },
		func(r []gpr) { // tanh z = 1 − 2/(1 + exp 2z)
			x := a.vecs(2)
			a.load(r[0], 0, x...)
			for _, v := range x {
				a.arm("fdiv", v, v, limit)
				a.arm("fadd", v, v, v)
			}
			e.of(x)
			for _, v := range x {
				a.arm("fadd", v, v, e.one)
				a.arm("fdiv", v, two, v)
				a.arm("fsub", v, e.one, v)
				a.arm("fmul", v, v, limit)
			}
			a.storeNext(r[0], 32, x...)
			a.free(x...)
		}, func() {})
	gelu(a)
}

// gelu is x/(1 + exp(−2z))·u with z = √(2/π)·(x + 0.044715·x³).
func gelu(a *assembler) {
	var e *exponential
	var linear, cubic vec
	over(a, "geluMulNEON", "y, gate, up *float32, n int", "",
		func() {
			e, linear, cubic = newExponential(a), a.floats(-2*math.Sqrt(2/math.Pi)), a.floats(-2*math.Sqrt(2/math.Pi)*0.044715)
		},
		func(r []gpr) {
			x, up, z := a.next(r[1]), a.next(r[2]), a.vecs(2)
			for i, z := range z {
				t := a.vec()
				a.arm("fmul", t, x[i], x[i])
				a.move(z, linear)
				a.fmla(z, t, cubic)
				a.arm("fmul", z, z, x[i])
				a.free(t)
			}
			e.of(z)
			for i, z := range z {
				a.arm("fadd", z, z, e.one)
				a.arm("fdiv", z, x[i], z)
				a.arm("fmul", z, z, up[i])
			}
			a.storeNext(r[0], 32, z...)
			a.free(append(append(x, up...), z...)...)
		}, func() {})
}

func rotate(a *assembler) {
	r := a.function("rotateNEON", "x *float32, cos, sin *float32, half int", "")
	x, n, upper := r[0], r[3], gpr(4)
	a.line("ADD %v<<2, %v, %v", n, x, upper)
	a.line("LSR $3, %v, %v", n, n)
	a.loop("pairs", n, func() {
		low, high, cos, sin, t := a.vecs(2), a.vecs(2), a.next(r[1]), a.next(r[2]), a.vecs(2)
		a.load(x, 0, low...)
		a.load(upper, 0, high...)
		for i := range 2 {
			a.arm("fmul", t[i], low[i], cos[i])
			a.fmls(t[i], high[i], sin[i])
			a.arm("fmul", high[i], high[i], cos[i])
			a.fmla(high[i], low[i], sin[i])
		}
		a.storeNext(x, 32, t...)
		a.storeNext(upper, 32, high...)
		for _, v := range [][]vec{low, high, cos, sin, t} {
			a.free(v...)
		}
	})
	a.line("RET")
}

// pause is ISB besides YIELD: the cores at hand take YIELD for NOP, and ISB
// stops one for about 18 ns (Go's runtime reckons with that too), which is
// what pool's count of spins was made for.
func pause(a *assembler) {
	n := a.function("pause", "n int", "")[0]
	a.loop("pauses", n, func() {
		a.line("YIELD")
		a.line("ISB $15")
	})
	a.line("RET")
}
