package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// slab is how many elements are held as floats at a time by each processor.
const slab = 1 << 18

// Recode writes a tensor's elements in another format, a few rows at a time,
// with all processors. The importance is that of a column (see [Quantize]) and
// may be nil. Elements that are not finite, and those that the format cannot
// hold, are refused even when the format stays the same.
//
// It returns early with the context's error when that ends.
func (t Tensor) Recode(ctx context.Context, w io.Writer, to Type, importance []float32) error {
	switch {
	case !t.Type.Known():
		return fmt.Errorf("tensor %q: format %s cannot be read", t.Name, t.Type)
	case to.layout().pack == nil && to != t.Type:
		return fmt.Errorf("tensor %q: format %s cannot be written; choose one of %s", t.Name, to, writable())
	case t.Cols()%to.Block() != 0:
		return fmt.Errorf("tensor %q: a row of %d elements is not a whole number of %s blocks of %d", t.Name, t.Cols(), to, to.Block())
	case importance != nil && len(importance) != t.Cols():
		return fmt.Errorf("tensor %q: importances for %d columns of %d", t.Name, len(importance), t.Cols())
	}
	r := recoder{Tensor: t, to: to, importance: importance, workers: runtime.GOMAXPROCS(0)}
	r.step = max(1, slab/max(t.Cols(), 1))
	for row := 0; row < t.Rows(); row += r.step * r.workers {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := r.rows(row)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
	return nil
}

type recoder struct {
	Tensor
	to            Type
	importance    []float32
	workers, step int // step: rows of a worker
	out           []byte
}

// rows encodes as many rows as the workers take, from the given one on.
func (r *recoder) rows(from int) ([]byte, error) {
	all := min(r.step*r.workers, r.Rows()-from)
	bytes := r.Cols() / r.to.Block() * r.to.BlockBytes()
	if r.out == nil {
		r.out = make([]byte, all*bytes)
	}
	errs := make([]error, r.workers)
	var group sync.WaitGroup
	for k := range r.workers {
		first, last := min(k*r.step, all), min((k+1)*r.step, all)
		group.Go(func() {
			errs[k] = r.encode(r.out[first*bytes:last*bytes], from+first, from+last)
		})
	}
	group.Wait()
	return r.out[:all*bytes], errors.Join(errs...)
}

// encode turns the rows from first to last into dst.
func (r *recoder) encode(dst []byte, first, last int) error {
	if first == last {
		return nil
	}
	cols, bytes := r.Cols(), len(dst)/(last-first)
	row := make([]float32, cols)
	for i := first; i < last; i++ {
		if err := Dequantize(r.Type, row, r.Row(i)); err != nil {
			return err
		}
		out := dst[(i-first)*bytes : (i-first+1)*bytes]
		if err := r.encodeRow(out, row, i); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

func (r *recoder) encodeRow(out []byte, row []float32, i int) error {
	if r.to != r.Type {
		return Quantize(r.to, out, row, r.importance)
	}
	if bad := unfit(F32, row); bad >= 0 {
		return &ValueError{bad, row[bad], r.to}
	}
	copy(out, r.Row(i))
	return nil
}
