package checkpoint

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// StreamSafetensors writes a safetensors file that [Open] reads back. Tensors
// are F32, F16 or BF16 and go by the names they have. data writes those of one
// after the other, as many bytes as its shape and format take; Tensor.Data is
// not looked at.
func StreamSafetensors(w io.Writer, tensors []Tensor, data func(w io.Writer, t Tensor) error) error {
	head, err := safetensorsHead(tensors)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	c := &counter{w: bufio.NewWriter(w)}
	if _, err := c.Write(head); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := c.tensor(t, data); err != nil {
			return err
		}
	}
	return c.w.Flush()
}

// safetensorsHead is the length and the header, padded with spaces so that the
// data is aligned.
func safetensorsHead(tensors []Tensor) ([]byte, error) {
	type entry struct {
		DType   string    `json:"dtype"`
		Shape   []int     `json:"shape"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := uint64(0)
	for _, t := range tensors {
		if _, twice := header[t.Name]; twice {
			return nil, fmt.Errorf("tensor %q is there twice", t.Name)
		}
		if t.Type != F32 && t.Type != F16 && t.Type != BF16 {
			return nil, fmt.Errorf("tensor %q: format %s cannot be stored; F32, F16 and BF16 can", t.Name, t.Type)
		}
		header[t.Name] = entry{t.Type.String(), append([]int{}, t.Shape...), [2]uint64{at, at + t.size()}}
		at += t.size()
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}
