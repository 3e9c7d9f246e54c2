package checkpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// WriteGGUF writes a GGUF file of version 3 that [Open] reads back.
//
// A metadata value is a sized integer, float32, float64, bool, string, a slice
// of one of these, or a [StringArray]. Keys are written in sorted order, those
// that start with "general." first. Data is aligned to the uint32
// "general.alignment", or to 32 bytes.
//
// Canonical tensor names are written as llama.cpp spells them for the
// architecture under "general.architecture"; other names stay as they are.
// Data goes to w as it is stored and is not held in memory a second time.
func WriteGGUF(w io.Writer, metadata map[string]any, tensors []Tensor) error {
	for _, t := range tensors {
		if err := t.checkData(); err != nil {
			return fmt.Errorf("write gguf: %w", err)
		}
	}
	return StreamGGUF(w, metadata, tensors, func(w io.Writer, t Tensor) error {
		_, err := w.Write(t.Data)
		return err
	})
}

// StreamGGUF is [WriteGGUF] for tensors whose data is made on the way: data
// writes those of one after the other, as many bytes as its shape and format
// take, and Tensor.Data is not looked at.
func StreamGGUF(w io.Writer, metadata map[string]any, tensors []Tensor, data func(w io.Writer, t Tensor) error) error {
	align := uint64(32)
	if v, ok := metadata["general.alignment"].(uint32); ok {
		align = uint64(v)
	}
	if !validAlignment(align) {
		return fmt.Errorf("write gguf: general.alignment %d; a power of two from %d to %d is needed", align, minAlignment, maxAlignment)
	}
	arch, _ := metadata["general.architecture"].(string)
	head, err := appendEntries(ggufHead(len(tensors), len(metadata)), metadata)
	if err != nil {
		return err
	}
	if head, err = appendInfos(head, arch, tensors, align); err != nil {
		return err
	}
	b := &counter{w: bufio.NewWriter(w)}
	if _, err := b.Write(pad(head, align)); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := b.tensor(t, data); err != nil {
			return err
		}
		if _, err := b.Write(make([]byte, padding(t.size(), align))); err != nil {
			return err
		}
	}
	return b.w.Flush()
}

// counter counts what is written.
type counter struct {
	w *bufio.Writer
	n uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// tensor writes a tensor's data and makes sure that it is all there.
func (c *counter) tensor(t Tensor, data func(w io.Writer, t Tensor) error) error {
	from := c.n
	if err := data(c, t); err != nil {
		return err
	}
	if n := c.n - from; n != t.size() {
		return fmt.Errorf("tensor %q: %d bytes were written; the shape %v of %s takes %d", t.Name, n, t.Shape, t.Type, t.size())
	}
	return nil
}

// size is the number of bytes that shape and format take.
func (t Tensor) size() uint64 { return uint64(t.Rows()) * uint64(t.RowBytes()) }

// checkData compares the data with what shape and format take.
func (t Tensor) checkData() error {
	if t.Type.Known() && t.Cols()%t.Type.Block() == 0 && t.size() != uint64(len(t.Data)) {
		return fmt.Errorf("tensor %q: %d bytes of data; the shape %v takes %d", t.Name, len(t.Data), t.Shape, t.size())
	}
	return nil
}

func ggufHead(tensors, entries int) []byte {
	head := binary.LittleEndian.AppendUint32([]byte(ggufMagic), 3)
	head = binary.LittleEndian.AppendUint64(head, uint64(tensors))
	return binary.LittleEndian.AppendUint64(head, uint64(entries))
}

func appendEntries(head []byte, metadata map[string]any) ([]byte, error) {
	keys := slices.SortedFunc(maps.Keys(metadata), func(a, b string) int {
		if general := strings.HasPrefix(a, "general."); general != strings.HasPrefix(b, "general.") {
			if general {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		typ, array, n := encodingOf(metadata[key])
		if typ == valueTypes {
			return nil, fmt.Errorf("write gguf: metadata %q: a %T cannot be stored; use a sized integer, float, bool, string or a slice of them", key, metadata[key])
		}
		head = appendText(head, key)
		if array {
			head = binary.LittleEndian.AppendUint32(head, uint32(typeArray))
		}
		head = binary.LittleEndian.AppendUint32(head, uint32(typ))
		if array {
			head = binary.LittleEndian.AppendUint64(head, uint64(n))
		}
		head = appendValue(head, metadata[key])
	}
	return head, nil
}

// encodingOf is the metadata type of a Go value; valueTypes when it has none.
func encodingOf(v any) (typ valueType, array bool, n int) {
	switch v := v.(type) {
	case uint8:
		return typeUint8, false, 1
	case int8:
		return typeInt8, false, 1
	case uint16:
		return typeUint16, false, 1
	case int16:
		return typeInt16, false, 1
	case uint32:
		return typeUint32, false, 1
	case int32:
		return typeInt32, false, 1
	case float32:
		return typeFloat32, false, 1
	case bool:
		return typeBool, false, 1
	case string:
		return typeString, false, 1
	case uint64:
		return typeUint64, false, 1
	case int64:
		return typeInt64, false, 1
	case float64:
		return typeFloat64, false, 1
	case []string:
		return typeString, true, len(v)
	case StringArray:
		return typeString, true, v.n
	}
	return sliceEncoding(v)
}

func sliceEncoding(v any) (typ valueType, array bool, n int) {
	switch v := v.(type) {
	case []uint8:
		return typeUint8, true, len(v)
	case []int8:
		return typeInt8, true, len(v)
	case []uint16:
		return typeUint16, true, len(v)
	case []int16:
		return typeInt16, true, len(v)
	case []uint32:
		return typeUint32, true, len(v)
	case []int32:
		return typeInt32, true, len(v)
	case []float32:
		return typeFloat32, true, len(v)
	case []bool:
		return typeBool, true, len(v)
	case []uint64:
		return typeUint64, true, len(v)
	case []int64:
		return typeInt64, true, len(v)
	case []float64:
		return typeFloat64, true, len(v)
	}
	return valueTypes, false, 0
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(b, v)
	case []string:
		for _, s := range v {
			b = appendText(b, s)
		}
		return b
	case StringArray:
		return append(b, v.raw...)
	}
	b, _ = binary.Append(b, binary.LittleEndian, v) // encodingOf has vetted the type
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendInfos(head []byte, arch string, tensors []Tensor, align uint64) ([]byte, error) {
	offset := uint64(0)
	for _, t := range tensors {
		shape := make([]uint64, 0, len(t.Shape))
		for _, d := range slices.Backward(t.Shape) {
			shape = append(shape, uint64(d))
		}
		size, problem := storedBytes(shape, t.Type)
		switch {
		case !t.Type.Known():
			problem = fmt.Sprintf("format %s cannot be written; convert it first", t.Type)
		case len(shape) > maxDims:
			problem = fmt.Sprintf("%d dimensions; at most %d are allowed", len(shape), maxDims)
		}
		if problem != "" {
			return nil, fmt.Errorf("write gguf: tensor %q: %s", t.Name, problem)
		}
		head = appendText(head, ggufName(arch, t.Name))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(shape)))
		for _, d := range shape {
			head = binary.LittleEndian.AppendUint64(head, d)
		}
		head = binary.LittleEndian.AppendUint32(head, uint32(t.Type))
		head = binary.LittleEndian.AppendUint64(head, offset)
		offset += size + padding(size, align)
	}
	return head, nil
}

// padding is the bytes from n to the next multiple of align, a power of two.
func padding(n, align uint64) uint64 { return -n & (align - 1) }

func pad(b []byte, align uint64) []byte {
	return append(b, make([]byte, padding(uint64(len(b)), align))...)
}
