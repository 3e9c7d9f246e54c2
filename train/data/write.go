package data

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
)

// Prepared is a document on its way into a cache.
type Prepared struct {
	kind      Kind
	sequences []Sequence
	hash      [16]byte
	group     uint64
	label     string
	language  string
	signature []uint32 // nil without near duplicates
}

// Hash is the same for documents of the same texts.
func (p *Prepared) Hash() [16]byte { return p.hash }

// Signature is the document's MinHash values; nil where they were not wanted.
func (p *Prepared) Signature() []uint32 { return p.signature }

// cacheWriter collects a cache; nothing has its name before finish.
type cacheWriter struct {
	file       *os.File
	out        *bufio.Writer
	at         int64
	kind       Kind
	parts      int
	width      int
	tokens     int64
	entries    []entry
	signatures []byte
	classes    names
	languages  names
}

// names numbers texts in the order in which they come.
type names struct {
	list []string
	ids  map[string]int
}

func (n *names) id(s string) int {
	if id, ok := n.ids[s]; ok {
		return id
	}
	if n.ids == nil {
		n.ids = map[string]int{}
	}
	n.ids[s] = len(n.list)
	n.list = append(n.list, s)
	return len(n.list) - 1
}

func newCacheWriter(dir string, kind Kind, width int) (*cacheWriter, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	w := &cacheWriter{file: f, out: bufio.NewWriterSize(f, 1<<20), kind: kind, parts: 1, width: width}
	var head [headSize]byte
	copy(head[:], cacheMagic)
	binary.LittleEndian.PutUint32(head[8:], cacheVersion)
	return w, w.write(head[:])
}

// abandon removes what was written.
func (w *cacheWriter) abandon() {
	w.file.Close()
	_ = os.Remove(w.file.Name()) // it is only space
}

func (w *cacheWriter) write(b []byte) error {
	n, err := w.out.Write(b)
	w.at += int64(n)
	return err
}

func (w *cacheWriter) add(p *Prepared) error {
	if p.kind != w.kind {
		return fmt.Errorf("a document of %s among %s", p.kind, w.kind)
	}
	e := entry{offset: w.at, hash: p.hash, group: p.group, label: -1, language: w.languages.id(p.language)}
	if p.kind == Labelled {
		e.label = w.classes.id(p.label)
	}
	if e.language > math.MaxUint16 {
		return errors.New("too many languages")
	}
	var b []byte
	for _, s := range p.sequences {
		b = appendSequence(b, s)
		e.parts = append(e.parts, partOf(s))
		w.tokens += int64(len(s.Tokens))
	}
	w.parts = max(w.parts, len(e.parts))
	e.crc = crc32.Checksum(b, castagnoli)
	w.entries = append(w.entries, e)
	if w.width > 0 {
		for _, v := range p.signature {
			w.signatures = binary.LittleEndian.AppendUint32(w.signatures, v)
		}
	}
	return w.write(b)
}

func appendSequence(b []byte, s Sequence) []byte {
	for _, id := range s.Tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	bits := make([]byte, (len(s.Tokens)+7)/8)
	for i, l := range s.Loss {
		if l {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return append(b, bits...)
}

// partOf counts what can be learnt: never the first token.
func partOf(s Sequence) partEntry {
	p := partEntry{length: len(s.Tokens), first: len(s.Tokens)}
	for i, l := range s.Loss {
		if l && i > 0 {
			p.first = min(p.first, i)
			p.learnt++
		}
	}
	return p
}

// finish writes index, description and foot, and gives the file its name.
func (w *cacheWriter) finish(name string, meta cacheMeta) error {
	meta.Classes, meta.Languages = w.classes.list, w.languages.list
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	foot := make([]byte, 0, footSize)
	le := binary.LittleEndian
	indexAt := w.at
	crc := crc32.New(castagnoli)
	tail := io.MultiWriter(w.out, crc)
	for i := range w.entries {
		if _, err := tail.Write(w.appendEntry(nil, &w.entries[i])); err != nil {
			return err
		}
	}
	sigAt := indexAt + int64(len(w.entries))*int64(entrySize+partSize*w.parts)
	metaAt := sigAt + int64(len(w.signatures))
	for _, b := range [][]byte{w.signatures, text} {
		if _, err := tail.Write(b); err != nil {
			return err
		}
	}
	foot = le.AppendUint32(foot, uint32(w.kind))
	foot = le.AppendUint32(foot, uint32(w.parts))
	foot = le.AppendUint64(foot, uint64(len(w.entries)))
	foot = le.AppendUint64(foot, uint64(w.tokens))
	foot = le.AppendUint64(foot, uint64(indexAt))
	foot = le.AppendUint64(foot, uint64(sigAt))
	foot = le.AppendUint32(foot, uint32(w.width))
	foot = le.AppendUint32(foot, uint32(len(text)))
	foot = le.AppendUint64(foot, uint64(metaAt))
	foot = le.AppendUint32(foot, crc.Sum32())
	foot = le.AppendUint32(foot, 0)
	foot = le.AppendUint64(foot, uint64(metaAt)+uint64(len(text))+footSize)
	foot = le.AppendUint32(foot, cacheVersion)
	foot = le.AppendUint32(foot, crc32.Checksum(foot, castagnoli))
	foot = le.AppendUint64(foot, 0)
	foot = append(foot, cacheMagic...)
	if _, err := w.out.Write(foot); err != nil {
		return err
	}
	return w.publish(name)
}

func (w *cacheWriter) appendEntry(b []byte, e *entry) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(e.offset))
	b = append(b, e.hash[:]...)
	b = le.AppendUint64(b, e.group)
	b = le.AppendUint32(b, uint32(e.label))
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint16(b, uint16(e.language))
	b = le.AppendUint16(b, 0)
	for p := range w.parts {
		var part partEntry
		if p < len(e.parts) {
			part = e.parts[p]
		}
		b = le.AppendUint32(b, uint32(part.length))
		b = le.AppendUint32(b, uint32(part.first))
		b = le.AppendUint32(b, uint32(part.learnt))
	}
	return b
}

func (w *cacheWriter) publish(name string) error {
	if err := w.out.Flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	return os.Rename(w.file.Name(), filepath.Clean(name))
}
