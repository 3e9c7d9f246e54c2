package checkpoint

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Limits of the GGUF reader. The specification sets the first two; the others
// are far above any real file and keep a hostile one from costing memory.
const (
	maxKeyBytes  = 1<<16 - 1
	maxDims      = 4
	maxNameBytes = 1 << 10
	maxKeys      = 1 << 16
	maxTensors   = 1 << 20
	minAlignment = 8 // below it, data would not be aligned for its elements
	maxAlignment = 1 << 20
	maxText      = 1 << 28
)

const ggufMagic = "GGUF"

// storedTensor is a tensor as its file names and places it.
type storedTensor struct {
	Tensor
	stored string // name in the file
	start  int    // of its data, in the file
	info   int    // offset of the field that says so
}

// readGGUF parses a GGUF file of version 2 or 3, little endian. See
// github.com/ggml-org/ggml/blob/master/docs/gguf.md. The layout is
//
//	"GGUF" version:u32 tensors:u64 entries:u64
//	entries × (key:string type:u32 value)
//	tensors × (name:string dims:u32 dims×u64 type:u32 offset:u64)
//	padding to general.alignment, then the data that offsets count from
//
// where a string is a u64 length and that many bytes.
func readGGUF(path string, data []byte) (*Metadata, []storedTensor, error) {
	c := &cursor{path: path, data: data}
	tensors, entries := readHeader(c)
	m := readEntries(c, entries)
	if c.err != nil {
		return nil, nil, c.err
	}
	align := alignment(c, m)
	infos := readInfos(c, tensors)
	place(c, infos, align)
	if c.err != nil {
		return nil, nil, c.err
	}
	checkOverlap(c, infos)
	return m, infos, c.err
}

func readHeader(c *cursor) (tensors, entries uint64) {
	if magic := c.take(4, "magic"); c.err == nil && string(magic) != ggufMagic {
		c.fail(0, "magic", "%q; a GGUF file starts with %q", magic, ggufMagic)
	}
	at := c.at
	version := c.u32("version")
	switch swapped := bits.ReverseBytes32(version); {
	case c.err != nil || version == 2 || version == 3:
	case swapped > 0 && swapped <= 1<<16:
		c.fail(at, "version", "%d in big-endian order; big-endian files cannot be read, convert it with gguf_convert_endian.py", swapped)
	default:
		c.fail(at, "version", "%d; versions 2 and 3 can be read", version)
	}
	at = c.at
	if tensors = c.u64("tensor count"); tensors > maxTensors {
		c.fail(at, "tensor count", "%d; at most %d are allowed", tensors, maxTensors)
	}
	at = c.at
	if entries = c.u64("metadata count"); entries > maxKeys {
		c.fail(at, "metadata count", "%d; at most %d are allowed", entries, maxKeys)
	}
	return tensors, entries
}

func readEntries(c *cursor, n uint64) *Metadata {
	m := &Metadata{values: map[string]value{}}
	for i := uint64(0); i < n && c.err == nil; i++ {
		c.enter("metadata entry", i)
		at := c.at
		key := string(c.str(maxKeyBytes, "key"))
		c.name = key
		v := readValue(c)
		if _, twice := m.values[key]; twice {
			c.fail(at, "key", "appears twice")
		}
		m.keys = append(m.keys, key)
		m.values[key] = v
	}
	c.leave()
	return m
}

func readValue(c *cursor) value {
	at := c.at
	typ := valueType(c.u32("type"))
	switch {
	case typ == typeString:
		return value{typ: typ, n: 1, from: at + 4, raw: c.str(maxText, "value")}
	case typ == typeArray:
		return readArray(c)
	case typ >= valueTypes:
		c.fail(at, "type", "%d is not a metadata type; 0 to %d are", typ, valueTypes-1)
		return value{}
	}
	v := value{typ: typ, n: 1, from: at + 4, raw: c.take(valueBytes[typ], "value")}
	checkBools(c, v)
	return v
}

func readArray(c *cursor) value {
	at := c.at
	typ := valueType(c.u32("element type"))
	switch {
	case typ == typeArray:
		c.fail(at, "element type", "arrays of arrays cannot be read")
	case typ >= valueTypes:
		c.fail(at, "element type", "%d is not a metadata type; 0 to %d are", typ, valueTypes-1)
	}
	at = c.at
	n := c.u64("array length")
	if c.err != nil {
		return value{}
	}
	width := max(valueBytes[typ], 1)
	if typ == typeString {
		width = 8
	}
	if n > uint64(c.left())/width {
		c.fail(at, "array length", "%d elements pass the end of the file", n)
		return value{}
	}
	v := value{typ: typ, array: true, n: int(n), from: c.at}
	if typ == typeString {
		v.raw = c.strings(n, "value")
	} else {
		v.raw = c.take(n*width, "value")
	}
	checkBools(c, v)
	return v
}

// checkBools refuses truth values other than 0 and 1, as the specification does.
func checkBools(c *cursor, v value) {
	if v.typ != typeBool {
		return
	}
	for i, b := range v.raw {
		if b > 1 {
			c.fail(c.at-len(v.raw)+i, "value", "byte %d is not a truth value; 0 and 1 are", b)
			return
		}
	}
}

func alignment(c *cursor, m *Metadata) uint64 {
	const key, usual = "general.alignment", 32
	v, ok := m.values[key]
	if !ok {
		return usual
	}
	align, ok := m.Uint(key)
	if !ok || !validAlignment(align) {
		c.fail(v.from, "metadata entry "+strconv.Quote(key)+" value", "a power of two from %d to %d is needed", minAlignment, maxAlignment)
		return usual
	}
	return align
}

func validAlignment(n uint64) bool {
	return n >= minAlignment && n <= maxAlignment && bits.OnesCount64(n) == 1
}

// readInfos reads the tensor table; offsets stay relative to the data part.
func readInfos(c *cursor, n uint64) []storedTensor {
	const least = 8 + 4 + 4 + 8 // bytes of an entry with no name and no dimensions
	if n > uint64(c.left())/least {
		c.fail(c.at, "tensor table", "%d tensors pass the end of the file", n)
		return nil
	}
	var infos []storedTensor
	seen := map[string]bool{}
	for i := uint64(0); i < n && c.err == nil; i++ {
		c.enter("tensor", i)
		infos = append(infos, readInfo(c, seen))
	}
	c.leave()
	return infos
}

func readInfo(c *cursor, seen map[string]bool) storedTensor {
	at := c.at
	t := storedTensor{stored: string(c.str(maxNameBytes, "name"))}
	c.name = t.stored
	if seen[t.stored] {
		c.fail(at, "name", "appears twice")
	}
	seen[t.stored] = true

	at = c.at
	dims := c.u32("dimension count")
	if dims > maxDims {
		c.fail(at, "dimension count", "%d; at most %d are allowed", dims, maxDims)
		return t
	}
	shapeAt := c.at
	shape := make([]uint64, dims)
	for i := range shape {
		shape[i] = c.u64("dimension")
	}
	at = c.at
	t.Type = Type(c.u32("type"))
	if c.err == nil && !t.Type.Known() {
		c.fail(at, "type", "%d%s cannot be read; convert the tensor to one of %s",
			uint32(t.Type), otherName(t.Type), readable())
	}
	t.info = c.at
	offset := c.u64("data offset")
	size, problem := storedBytes(shape, t.Type)
	if c.err == nil && problem != "" {
		c.fail(shapeAt, "dimensions", "%s", problem)
	}
	if offset > uint64(len(c.data)) || size > uint64(len(c.data)) {
		c.fail(t.info, "data offset", "%d bytes from %d pass the end of the file, which has %d; it is cut short or damaged, fetch it again", size, offset, len(c.data))
		return t
	}
	t.start = int(offset)
	t.Data = c.data[:size] // place moves it
	for _, d := range slices.Backward(shape) {
		t.Shape = append(t.Shape, int(d))
	}
	return t
}

// storedBytes is what a tensor takes on disk; shape has the innermost axis
// first, as GGUF orders it. The problem is empty when there is none.
func storedBytes(shape []uint64, t Type) (size uint64, problem string) {
	if !t.Known() {
		return 0, ""
	}
	elements := uint64(1)
	for _, d := range shape {
		high, low := bits.Mul64(elements, d)
		if d == 0 {
			return 0, fmt.Sprintf("%v has a zero", shape)
		}
		if high != 0 || low > 1<<62 {
			return 0, fmt.Sprintf("%v overflows", shape)
		}
		elements = low
	}
	cols := uint64(1)
	if len(shape) > 0 {
		cols = shape[0]
	}
	block := uint64(t.Block())
	if cols%block != 0 {
		return 0, fmt.Sprintf("a row of %d elements is not a whole number of %s blocks of %d", cols, t, block)
	}
	high, size := bits.Mul64(elements/block, uint64(t.BlockBytes()))
	if high != 0 {
		return 0, fmt.Sprintf("%v overflows", shape)
	}
	return size, ""
}

// place turns offsets into slices of the file.
func place(c *cursor, infos []storedTensor, align uint64) {
	if c.err != nil {
		return
	}
	base := uint64(c.at) + padding(uint64(c.at), align)
	for i := range infos {
		t := &infos[i]
		c.enter("tensor", uint64(i))
		c.name = t.stored
		start, size := base+uint64(t.start), uint64(len(t.Data))
		if uint64(t.start)%align != 0 {
			c.fail(t.info, "data offset", "%d is not a multiple of the alignment %d", t.start, align)
			return
		}
		if start > uint64(len(c.data)) || size > uint64(len(c.data))-start {
			c.fail(t.info, "data offset", "%d bytes from %d pass the end of the file, which has %d; it is cut short or damaged, fetch it again", size, start, len(c.data))
			return
		}
		t.start = int(start)
		t.Data = c.data[start : start+size : start+size]
	}
	c.leave()
}

// checkOverlap refuses tensors that share bytes.
func checkOverlap(c *cursor, infos []storedTensor) {
	order := make([]int, len(infos))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return infos[a].start - infos[b].start })
	for k := 1; k < len(order); k++ {
		a, b := &infos[order[k-1]], &infos[order[k]]
		if a.start+len(a.Data) > b.start && len(b.Data) > 0 {
			c.enter("tensor", uint64(order[k]))
			c.name = b.stored
			c.fail(b.info, "data offset", "overlaps tensor %q", a.stored)
			return
		}
	}
}

// readable lists the formats that can be read, for messages.
func readable() string { return formats(func(l layout) bool { return l.unpack != nil }) }

// writable lists the formats that can be written.
func writable() string { return formats(func(l layout) bool { return l.pack != nil }) }

func formats(want func(layout) bool) string {
	var names []string
	for _, l := range layouts {
		if l.block > 0 && want(l) {
			names = append(names, l.name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
