package checkpoint

import "fmt"

// FormatError reports a file that breaks its format: where, in what, and how.
type FormatError struct {
	Path    string
	Offset  int64  // of the field's first byte, from the start of the file
	Field   string // `tensor 3 "blk.0.attn_q.weight" type`
	Problem string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: offset %d: %s: %s", e.Path, e.Offset, e.Field, e.Problem)
}
