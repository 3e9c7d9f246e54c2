package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

const (
	// maxHeader is the specification's limit.
	maxHeader  = 100_000_000
	maxIndex   = 100_000_000
	maxConfig  = 1 << 24
	headerAt   = 8 // after the u64 that says how long it is
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
	configFile = "config.json"
)

// safetensorsTypes maps the dtypes a header can name.
var safetensorsTypes = func() map[string]Type {
	types := map[string]Type{"F32": F32, "F16": F16, "BF16": BF16}
	for i, l := range opaques {
		types[l.name] = opaqueBase + Type(i)
	}
	return types
}()

func safetensorsType(dtype string) Type {
	if t, ok := safetensorsTypes[dtype]; ok {
		return t
	}
	return opaqueBase + Type(len(opaques)-1)
}

// openFolder opens a Hugging Face folder.
func (c *Checkpoint) openFolder(dir string) error {
	single := filepath.Join(dir, singleFile)
	data, err := c.mapFile(single)
	if err == nil {
		return c.addSafetensors(dir, single, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = c.openShards(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, missing := os.Stat(filepath.Join(dir, indexFile)); missing == nil {
		return err // the index is there, a shard is not
	}
	return fmt.Errorf("%s: the folder has neither %s nor %s; name a model file or a folder that has one", dir, singleFile, indexFile)
}

func (c *Checkpoint) openSafetensors(data []byte) error {
	return c.addSafetensors(filepath.Dir(c.path), c.path, data)
}

// addSafetensors takes in one mapped file of the checkpoint in folder.
func (c *Checkpoint) addSafetensors(folder, path string, data []byte) error {
	stored, err := readSafetensors(path, data)
	if err != nil {
		return err
	}
	if err := c.add(path, stored, CanonicalName); err != nil {
		return err
	}
	return c.enterFolder(folder)
}

// enterFolder notes where the siblings are.
func (c *Checkpoint) enterFolder(folder string) error {
	if c.folder != "" {
		return nil
	}
	config, err := readSmall(filepath.Join(folder, configFile), maxConfig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.format, c.folder, c.config = "safetensors", folder, config
	return nil
}

// openShards reads the index and the files it names, which may be links but
// must be named inside the folder.
func (c *Checkpoint) openShards(folder string) error {
	path := filepath.Join(folder, indexFile)
	shards, raw, err := readIndex(path)
	if err != nil {
		return err
	}
	problem := func(tensor, format string, args ...any) error {
		at := max(bytes.Index(raw, []byte(strconv.Quote(tensor))), 0)
		return &FormatError{path, int64(at), fmt.Sprintf("weight_map %q", tensor), fmt.Sprintf(format, args...)}
	}
	for _, name := range slices.Sorted(maps.Keys(shards)) {
		first := shards[name][0]
		local, err := filepath.Localize(name)
		if err != nil {
			return problem(first, "the file %q is not inside the folder", name)
		}
		file := filepath.Join(folder, local)
		data, err := c.mapFile(file)
		if err != nil {
			return fmt.Errorf("%s: weight_map %q: %w", path, first, err)
		}
		from := len(c.tensors)
		if err := c.addSafetensors(folder, file, data); err != nil {
			return err
		}
		if missing := missingFrom(c.tensors[from:], shards[name]); missing != "" {
			return problem(missing, "%s has no such tensor; fetch both again", file)
		}
	}
	return nil
}

// readIndex gives the tensors of each shard, by the shard's file name, and the
// bytes that say so.
func readIndex(path string) (shards map[string][]string, raw []byte, err error) {
	if raw, err = readSmall(path, maxIndex); err != nil {
		return nil, nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, nil, &FormatError{path, jsonOffset(err), "index", err.Error()}
	}
	if len(index.WeightMap) == 0 {
		return nil, nil, &FormatError{path, 0, "weight_map", "is missing or empty"}
	}
	shards = map[string][]string{}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		file := index.WeightMap[tensor]
		shards[file] = append(shards[file], tensor)
	}
	return shards, raw, nil
}

// missingFrom is the first of names, as a file spells them, that is not there.
func missingFrom(tensors []Tensor, names []string) string {
	have := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		have[t.Name] = true
	}
	for _, name := range names {
		if !have[CanonicalName(name)] {
			return name
		}
	}
	return ""
}

func jsonOffset(err error) int64 {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return e.Offset
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return e.Offset
	}
	return 0
}

// looksLikeSafetensors guesses from a header's length and first byte.
func looksLikeSafetensors(data []byte) bool {
	if len(data) < headerAt+2 || data[headerAt] != '{' {
		return false
	}
	return binary.LittleEndian.Uint64(data) <= uint64(len(data)-headerAt)
}

// readSafetensors parses a file as huggingface.co/docs/safetensors describes:
//
//	length:u64 header:JSON data
//
// where the header maps names to {"dtype", "shape", "data_offsets": [from, to]}
// with offsets from the start of the data, which the tensors cover without
// overlap or gap.
func readSafetensors(path string, data []byte) ([]storedTensor, error) {
	c := &cursor{path: path, data: data}
	n := c.u64("header length")
	switch {
	case c.err != nil:
		return nil, c.err
	case n > maxHeader:
		c.fail(0, "header length", "%d; at most %d are allowed%s", n, maxHeader, hint(data))
		return nil, c.err
	}
	header := c.take(n, "header")
	if c.err != nil {
		return nil, c.err
	}
	tensors := readJSONHeader(c, header)
	checkCover(c, tensors)
	return tensors, c.err
}

// jsonTensor is an entry of the header; pointers tell what is missing.
type jsonTensor struct {
	DType   string    `json:"dtype"`
	Shape   *[]uint64 `json:"shape"`
	Offsets *[]uint64 `json:"data_offsets"`
}

func readJSONHeader(c *cursor, header []byte) []storedTensor {
	dec := json.NewDecoder(bytes.NewReader(header))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		c.fail(headerAt, "header", "is not a JSON object")
		return nil
	}
	var tensors []storedTensor
	seen := map[string]bool{}
	for i := uint64(0); c.err == nil && dec.More(); i++ {
		c.enter("tensor", i)
		if t, ok := readJSONEntry(c, dec, seen); ok {
			tensors = append(tensors, t)
		}
	}
	c.leave()
	_, err := dec.Token()
	if err != nil {
		c.fail(decodedTo(dec), "header", "%v", err)
	} else if _, err = dec.Token(); err != io.EOF {
		c.fail(decodedTo(dec), "header", "something follows the JSON object")
	}
	return tensors
}

// decodedTo is where in the file a header's decoder stands.
func decodedTo(dec *json.Decoder) int { return headerAt + int(dec.InputOffset()) }

// readJSONEntry reads a name and its value; there is no tensor when that fails
// or when it is the comments that "__metadata__" holds.
func readJSONEntry(c *cursor, dec *json.Decoder, seen map[string]bool) (storedTensor, bool) {
	key, err := dec.Token()
	if err != nil {
		c.fail(decodedTo(dec), "name", "%v", err)
		return storedTensor{}, false
	}
	at := decodedTo(dec)
	c.name = key.(string) // all that a decoder lets stand before a colon
	if seen[c.name] {
		c.fail(at, "name", "appears twice")
	}
	seen[c.name] = true
	if c.name == "__metadata__" {
		if err := dec.Decode(&json.RawMessage{}); err != nil {
			c.fail(decodedTo(dec), "value", "%v", err)
		}
		return storedTensor{}, false
	}
	var entry jsonTensor
	if err := dec.Decode(&entry); err != nil {
		c.fail(decodedTo(dec), "value", "%v", err)
		return storedTensor{}, false
	}
	return jsonEntry(c, at, entry), c.err == nil
}

// jsonEntry checks an entry that stands at the given offset of the file.
func jsonEntry(c *cursor, at int, entry jsonTensor) storedTensor {
	t := storedTensor{stored: c.name, info: at}
	t.Type = safetensorsType(entry.DType)
	switch {
	case entry.DType == "":
		c.fail(at, "dtype", "is missing")
	case entry.Shape == nil:
		c.fail(at, "shape", "is missing")
	case entry.Offsets == nil || len(*entry.Offsets) != 2:
		c.fail(at, "data_offsets", "must be two numbers")
	}
	if c.err != nil {
		return t
	}
	from, to, body := (*entry.Offsets)[0], (*entry.Offsets)[1], uint64(c.left())
	if from > to || to > body {
		c.fail(at, "data_offsets", "%d to %d are not within the %d bytes of data; the file is cut short or damaged, fetch it again", from, to, body)
		return t
	}
	size, ok := jsonBytes(*entry.Shape, t.Type)
	switch {
	case !ok:
		c.fail(at, "shape", "%v overflows", *entry.Shape)
		return t
	case size != to-from && t.Type.BlockBytes() > 0:
		c.fail(at, "data_offsets", "%d to %d are %d bytes; the shape %v of %s takes %d", from, to, to-from, *entry.Shape, t.Type, size)
		return t
	}
	t.start = c.at + int(from)
	t.Data = c.data[t.start : c.at+int(to) : c.at+int(to)]
	for _, d := range *entry.Shape {
		t.Shape = append(t.Shape, int(d))
	}
	return t
}

// jsonBytes is what a tensor of one-element blocks takes. A zero dimension is
// allowed; the others must still multiply to something that fits.
func jsonBytes(shape []uint64, t Type) (size uint64, ok bool) {
	n, empty := uint64(max(t.BlockBytes(), 1)), false
	for _, d := range shape {
		if d == 0 {
			empty = true
			continue
		}
		high, low := bits.Mul64(n, d)
		if high != 0 || low > 1<<62 {
			return 0, false
		}
		n = low
	}
	if empty {
		return 0, true
	}
	return n, true
}

// checkCover puts the tensors in the order of their data and refuses overlaps
// and gaps, which the specification forbids.
func checkCover(c *cursor, tensors []storedTensor) {
	if c.err != nil {
		return
	}
	slices.SortStableFunc(tensors, func(a, b storedTensor) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return len(a.Data) - len(b.Data) // empty ones first
	})
	end := c.at
	for i, t := range tensors {
		if t.start != end {
			c.fail(t.info, fmt.Sprintf("tensor %q data_offsets", t.stored), "%s", gapOrOverlap(tensors, i, end))
			return
		}
		end += len(t.Data)
	}
	if end != len(c.data) {
		c.fail(end, "data", "%d bytes belong to no tensor; the file is damaged, fetch it again", len(c.data)-end)
	}
}

func gapOrOverlap(tensors []storedTensor, i, end int) string {
	if start := tensors[i].start; start > end {
		return fmt.Sprintf("leaves %d bytes before it to no tensor", start-end)
	}
	return fmt.Sprintf("overlaps tensor %q", tensors[i-1].stored)
}
