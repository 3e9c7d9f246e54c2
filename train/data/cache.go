package data

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// The format is described in format.md.
const (
	cacheMagic   = "LAPTOKEN"
	cacheVersion = 1
	headSize     = 16
	footSize     = 96
	entrySize    = 44
	partSize     = 12
	maxParts     = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCache says that a token cache cannot be used; it may be deleted and is
// made again then.
var ErrCache = errors.New("not a usable token cache")

// Cache is the documents of a source as tokens, on disk. It may be read from
// several goroutines.
type Cache struct {
	file  io.ReaderAt
	close func() error
	name  string
	cacheFoot
	index      []byte
	signatures []byte
	meta       cacheMeta
}

type cacheFoot struct {
	kind               Kind
	parts, width       int
	documents          int
	tokens             int64
	indexAt, sigAt     int64
	metaAt, metaLength int64
	size               int64
	crc                uint32
}

// cacheMeta is what a cache says about itself in words.
type cacheMeta struct {
	Key       string   `json:"key"`
	Source    string   `json:"source"`
	Classes   []string `json:"classes,omitempty"`
	Languages []string `json:"languages,omitempty"`
	Skipped   int      `json:"skipped,omitempty"`
	Broken    string   `json:"broken,omitempty"` // the first that was skipped
}

// entry is what the index says of a document.
type entry struct {
	offset   int64
	hash     [16]byte
	group    uint64
	label    int
	crc      uint32
	language int
	parts    []partEntry
}

type partEntry struct{ length, first, learnt int }

// OpenCache opens a cache file.
func OpenCache(name string) (*Cache, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	c, err := readCache(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w: %w", name, ErrCache, err)
	}
	c.name, c.close = name, f.Close
	return c, nil
}

// Close closes the file.
func (c *Cache) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

func readCache(f io.ReaderAt, size int64) (*Cache, error) {
	c := &Cache{file: f}
	if err := c.readFoot(size); err != nil {
		return nil, err
	}
	tail := make([]byte, c.metaAt+c.metaLength-c.indexAt)
	if _, err := f.ReadAt(tail, c.indexAt); err != nil {
		return nil, err
	}
	if crc32.Checksum(tail, castagnoli) != c.crc {
		return nil, errors.New("the checksum of its index is wrong")
	}
	c.index = tail[:c.sigAt-c.indexAt]
	c.signatures = tail[c.sigAt-c.indexAt : c.metaAt-c.indexAt]
	if err := json.Unmarshal(tail[c.metaAt-c.indexAt:], &c.meta); err != nil {
		return nil, fmt.Errorf("its description: %w", err)
	}
	return c, c.check()
}

func (c *Cache) readFoot(size int64) error {
	if size < headSize+footSize {
		return errors.New("too short")
	}
	var head [headSize]byte
	var b [footSize]byte
	if _, err := c.file.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := c.file.ReadAt(b[:], size-footSize); err != nil {
		return err
	}
	le := binary.LittleEndian
	switch {
	case string(head[:8]) != cacheMagic || string(b[footSize-8:]) != cacheMagic:
		return errors.New("its first or last bytes are not those of a token cache")
	case le.Uint32(head[8:]) != cacheVersion || le.Uint32(b[72:]) != cacheVersion:
		return fmt.Errorf("version %d, and this program reads version %d", le.Uint32(head[8:]), cacheVersion)
	case crc32.Checksum(b[:76], castagnoli) != le.Uint32(b[76:]):
		return errors.New("the checksum of its foot is wrong")
	}
	c.cacheFoot = cacheFoot{
		kind: Kind(le.Uint32(b[0:])), parts: int(le.Uint32(b[4:])), documents: int(le.Uint64(b[8:])), tokens: int64(le.Uint64(b[16:])),
		indexAt: int64(le.Uint64(b[24:])), sigAt: int64(le.Uint64(b[32:])), width: int(le.Uint32(b[40:])), metaLength: int64(le.Uint32(b[44:])),
		metaAt: int64(le.Uint64(b[48:])), crc: le.Uint32(b[56:]), size: int64(le.Uint64(b[64:])),
	}
	return c.checkFoot(size)
}

// checkFoot bounds everything by the file's size, so that sums cannot overflow
// nor allocations exceed it.
func (c *cacheFoot) checkFoot(size int64) error {
	end := size - footSize
	perDocument := int64(entrySize + partSize*c.parts)
	ok := c.size == size && c.kind >= Texts && c.kind <= Contrasts && c.parts >= 1 && c.parts <= maxParts &&
		(c.width == 0 || c.width == signatureWidth) &&
		c.documents >= 0 && int64(c.documents) <= size/perDocument &&
		c.indexAt >= headSize && c.indexAt <= end && c.sigAt-c.indexAt == int64(c.documents)*perDocument &&
		c.sigAt <= end && c.metaAt-c.sigAt == int64(c.documents)*4*int64(c.width) && c.metaAt <= end && c.metaLength == end-c.metaAt
	if !ok {
		return errors.New("its parts do not fit together")
	}
	return nil
}

// check walks over the index once.
func (c *Cache) check() error {
	var tokens int64
	for i := range c.documents {
		e := c.entry(i)
		if e.offset < headSize || e.offset > c.indexAt || e.size() > c.indexAt-e.offset {
			return fmt.Errorf("document %d lies outside", i)
		}
		if e.label < -1 || e.label >= len(c.meta.Classes) || e.language >= max(1, len(c.meta.Languages)) {
			return fmt.Errorf("document %d has a class or language that is not named", i)
		}
		for _, p := range e.parts {
			tokens += int64(p.length)
			if p.learnt > p.length || p.first > p.length {
				return fmt.Errorf("document %d learns more than it has", i)
			}
		}
	}
	if tokens != c.tokens {
		return errors.New("the number of tokens is not that of its documents")
	}
	return nil
}

// Len is how many documents there are.
func (c *Cache) Len() int { return c.documents }

func (c *Cache) entry(i int) entry {
	le := binary.LittleEndian
	b := c.index[i*(entrySize+partSize*c.parts):]
	e := entry{
		offset: int64(le.Uint64(b)), hash: [16]byte(b[8:24]), group: le.Uint64(b[24:]), label: int(int32(le.Uint32(b[32:]))),
		crc: le.Uint32(b[36:]), language: int(le.Uint16(b[40:])), parts: make([]partEntry, c.parts),
	}
	for p := range e.parts {
		at := b[entrySize+partSize*p:]
		e.parts[p] = partEntry{int(le.Uint32(at)), int(le.Uint32(at[4:])), int(le.Uint32(at[8:]))}
	}
	return e
}

// part is a document's sequence alone, without an allocation.
func (c *Cache) part(i, p int) partEntry {
	le := binary.LittleEndian
	at := c.index[i*(entrySize+partSize*c.parts)+entrySize+partSize*p:]
	return partEntry{int(le.Uint32(at)), int(le.Uint32(at[4:])), int(le.Uint32(at[8:]))}
}

func (c *Cache) signature(i int) []uint32 {
	out := make([]uint32, c.width)
	for j := range out {
		out[j] = binary.LittleEndian.Uint32(c.signatures[4*(i*c.width+j):])
	}
	return out
}

// size is the bytes of a document's data.
func (e *entry) size() int64 {
	var n int64
	for _, p := range e.parts {
		n += 4*int64(p.length) + (int64(p.length)+7)/8
	}
	return n
}

// Document reads a document.
func (c *Cache) Document(i int) (Document, error) {
	if i < 0 || i >= c.documents {
		return Document{}, fmt.Errorf("%s: no document %d among %d", c.name, i, c.documents)
	}
	e := c.entry(i)
	b := make([]byte, e.size())
	if _, err := c.file.ReadAt(b, e.offset); err != nil {
		return Document{}, fmt.Errorf("%s, document %d: %w", c.name, i, err)
	}
	if crc32.Checksum(b, castagnoli) != e.crc {
		return Document{}, fmt.Errorf("%s, document %d: %w: its checksum is wrong; delete the file and it is made again", c.name, i, ErrCache)
	}
	d := Document{Label: e.label}
	for _, p := range e.parts {
		if p.length == 0 {
			continue
		}
		s := Sequence{make([]int32, p.length), make([]bool, p.length)}
		bits := b[4*p.length:]
		for j := range s.Tokens {
			s.Tokens[j] = int32(binary.LittleEndian.Uint32(b[4*j:]))
			s.Loss[j] = bits[j/8]>>(j%8)&1 == 1
		}
		b = bits[(p.length+7)/8:]
		d.Sequences = append(d.Sequences, s)
	}
	return d, nil
}
