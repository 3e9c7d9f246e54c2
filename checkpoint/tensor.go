package checkpoint

// Tensor is a named array as a file stores it.
type Tensor struct {
	Name string // canonical name (names.go)
	Type Type
	// Shape is row-major with the outermost axis first, as PyTorch prints it:
	// a linear layer is [outputs, inputs]. (GGUF stores the reverse order.)
	Shape []int
	// Data aliases the file's memory map: read-only, valid until the
	// checkpoint is closed.
	Data []byte
}

// Cols is the length of the innermost axis: the elements that blocks pack.
func (t Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Rows is the product of all axes but the innermost.
func (t Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	return n
}

// RowBytes is the number of bytes one row of Cols elements takes.
func (t Tensor) RowBytes() int { return t.Cols() / t.Type.Block() * t.Type.BlockBytes() }

// Row is the stored bytes of row i.
func (t Tensor) Row(i int) []byte {
	n := t.RowBytes()
	return t.Data[i*n : (i+1)*n]
}
