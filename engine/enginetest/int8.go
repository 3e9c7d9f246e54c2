package enginetest

import (
	"math"
	"slices"

	"lapidary/engine"
)

// int8Caches: what memories of codes have to do beyond being near.
func int8Caches(l *lab) {
	if !slices.Contains(l.without, Roomy) {
		l.Run("size", int8Size)
	}
	l.Run("outliers", int8Outliers)
	l.Run("nothing", int8Nothing)
	l.Run("truncate", int8Truncate)
	l.Run("mixed", int8Mixed)
}

// int8Size: codes take little more than half of half precision, also once
// pages come and go.
func int8Size(l *lab) {
	for _, window := range []int{0, 100} {
		a := attention(1, 1, 64, window, 0)
		half, codes := l.NewCache(keeping(engine.Half, a)), l.NewCache(keeping(engine.Int8, a))
		s := l.sequence(a, 450)
		for range 3 {
			l.run(s, half, 150)
			l.run(s, codes, 150)
			// 64 codes and a scale in place of 64 numbers of two bytes.
			if h, c := half.Bytes(), codes.Bytes(); float64(c) > float64(h)*0.54 {
				l.Errorf("%d positions with a window of %d take %d bytes in int8, %d in half precision", codes.Len(), window, c, h)
			}
		}
	}
}

// int8Outliers: elements that are always great, as some of Gemma's keys and
// values are, must not cost the others their codes.
func int8Outliers(l *lab) {
	for _, a := range []engine.Attend{attention(2, 1, 256, 0, 0), attention(2, 2, 64, 90, 0), attention(2, 1, 96, 0, 0)} {
		s := l.sequence(a, 200)
		for i := 3; i < len(s.k); i += a.C {
			s.k[i] *= 20
			s.v[i] *= 20
		}
		for i := 3; i < len(s.q); i += a.C {
			s.q[i] /= 20
		}
		c := l.NewCache(keeping(engine.Int8, a))
		l.run(s, c, 150, 1, 7, 1, 1)
		c.Close()
	}
}

// int8Nothing: heads of zeros and of next to nothing give what they are. The
// tested engine alone is asked: so near zero nothing is relative.
func int8Nothing(l *lab) {
	a := attention(1, 1, 32, 0, 0)
	for _, size := range []float64{0, 1e-42, 1e-38, 1e-30, 1e30} {
		s, c := l.sequence(a, 1), l.tested.NewCache(keeping(engine.Int8, a))
		clear(s.k)
		for i := range s.v {
			s.v[i] *= float32(size)
		}
		limit := attentionInt8*greatest(s.v) + 1e-35
		for i, x := range l.first(s, c, 1) {
			if !(math.Abs(float64(x-s.v[i])) <= limit) {
				l.Errorf("the only value's element %d is %v, want %v", i, x, s.v[i])
			}
		}
		c.Close()
	}
}

// first attends the first positions of the sequence in the tested engine alone.
func (l *lab) first(s *sequence, c engine.Cache, n int) []float32 {
	l.Helper()
	p := l.tested.Begin(l.Context(), []engine.Span{{Cache: c, Rows: n}})
	q, k, v := s.rows(0, n)
	y := attend(p, s.a, q, k, v)
	out := make([]float32, n*s.a.Heads*s.a.C)
	p.Read(y, out)
	l.end(p)
	return out
}

// int8Truncate: what stood in a place leaves nothing behind, not even where it
// was no number.
func int8Truncate(l *lab) {
	a := attention(2, 1, 32, 0, 0)
	c := l.tested.NewCache(keeping(engine.Int8, a))
	defer c.Close()
	s := l.sequence(a, 40)
	want := l.first(s, c, 40)
	for _, bad := range []float64{math.NaN(), math.Inf(1), 3e38} {
		broken := l.sequence(a, 130)
		for i := range broken.v {
			broken.k[i], broken.v[i] = float32(bad), float32(bad)
		}
		l.empty(c)
		l.first(broken, c, 130)
		l.empty(c)
		for i, x := range l.first(s, c, 40) {
			if x != want[i] {
				l.Fatalf("after %v was truncated element %d is %v, want %v as before", bad, i, x, want[i])
			}
		}
	}
}

func (l *lab) empty(c engine.Cache) {
	l.Helper()
	if err := c.Truncate(0); err != nil {
		l.Fatal(err)
	}
}

// int8Mixed: a pass over sequences whose memories differ in precision, layers
// too.
func int8Mixed(l *lab) {
	local, global := attention(4, 2, 32, 70, 0), attention(4, 1, 64, 0, 0)
	global.Layer = 1
	layers := keeping(engine.Int8, local, global)
	layers[0].Keep = engine.Half
	c, d := l.NewCache(layers), l.NewCache(keeping(engine.Int8, local, global))
	for _, rows := range []int{100, 1, 33} {
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}, {Rows: 3}, {Cache: d, Rows: 2}})
		for _, a := range []engine.Attend{local, global} {
			s := l.sequence(a, rows+5)
			attend(p, a, s.q, s.k, s.v)
		}
		l.end(p)
	}
}
