package data

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// maxRecord bounds a line and a JSON document, so that a file without line ends
// is an error and not all of the memory.
const maxRecord = 1 << 30

var errTooLong = fmt.Errorf("longer than %d bytes", maxRecord)

// records reads one file. A *[Broken] leaves the reading where it can go on;
// after any other error nothing follows.
func (s *Source) records(name string) iter.Seq2[*Record, error] {
	read := map[string]func(string, func(*Record, error) bool) error{
		"text": s.readText, "jsonl": readLines, "json": readJSON,
		"csv":     func(n string, y func(*Record, error) bool) error { return s.readTable(n, ',', y) },
		"tsv":     func(n string, y func(*Record, error) bool) error { return s.readTable(n, '\t', y) },
		"parquet": readParquet,
	}[cmp.Or(s.Format, formatOf(name))]
	return func(yield func(*Record, error) bool) {
		if read == nil {
			yield(nil, fmt.Errorf("%s: its format is not known", name))
			return
		}
		if err := read(name, yield); err != nil {
			yield(nil, err)
		}
	}
}

// readText gives a file as {"text": …, "name": …}, or each of its paragraphs.
func (s *Source) readText(name string, yield func(*Record, error) bool) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if s.Blank {
		return paragraphs(name, f, yield)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case len(b) > maxRecord:
		return fmt.Errorf("%s: %w; split it with blank_lines: true", name, errTooLong)
	}
	yield(textRecord(name, "line 1", string(b)), nil)
	return nil
}

func textRecord(name, place, text string) *Record {
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	return &Record{File: name, Place: place, Value: map[string]any{"text": text, "name": name}}
}

func paragraphs(name string, f io.Reader, yield func(*Record, error) bool) error {
	var b strings.Builder
	first := 1
	emit := func() bool {
		text := strings.TrimRight(b.String(), "\r\n")
		b.Reset()
		return text == "" || yield(textRecord(name, fmt.Sprintf("line %d", first), text), nil)
	}
	for line, err := range lines(f) {
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", name, line.number, err)
		}
		if len(bytes.TrimSpace(line.text)) == 0 {
			if !emit() {
				return nil
			}
			first = line.number + 1
			continue
		}
		if b.Len()+len(line.text) > maxRecord {
			return fmt.Errorf("%s, line %d: the paragraph is %w", name, first, errTooLong)
		}
		b.Write(line.text)
		b.WriteByte('\n')
	}
	emit()
	return nil
}

type line struct {
	number int
	text   []byte // without its end; valid until the next
}

// lines cuts a stream at newlines.
func lines(f io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		in := bufio.NewReaderSize(f, 1<<20)
		var buf []byte
		for n := 1; ; n++ {
			buf = buf[:0]
			var err error
			for {
				var piece []byte
				piece, err = in.ReadSlice('\n')
				buf = append(buf, piece...)
				if !errors.Is(err, bufio.ErrBufferFull) {
					break
				}
				if len(buf) > maxRecord {
					yield(line{number: n}, errTooLong)
					return
				}
			}
			if err != nil && err != io.EOF {
				yield(line{number: n}, err)
				return
			}
			text := bytes.TrimSuffix(bytes.TrimSuffix(buf, []byte("\n")), []byte("\r"))
			if (len(buf) > 0 && !yield(line{n, text}, nil)) || err == io.EOF {
				return
			}
		}
	}
}

// readLines reads JSON lines; empty ones are passed over.
func readLines(name string, yield func(*Record, error) bool) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for line, err := range lines(f) {
		r := &Record{File: name, Place: fmt.Sprintf("line %d", line.number)}
		if err != nil {
			return fmt.Errorf("%s, %s: %w", name, r.Place, err)
		}
		text := line.text
		if line.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if r.Value, err = decodeJSON(text); err != nil {
			r, err = nil, r.broken(err)
		}
		if !yield(r, err) {
			return nil
		}
	}
	return nil
}

// readJSON reads an array of records one by one, or one object.
func readJSON(name string, yield func(*Record, error) bool) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	count := &newlines{r: f}
	in := bufio.NewReader(count)
	if b, err := in.Peek(3); err == nil && string(b) == "\ufeff" {
		_, _ = in.Discard(3) // they are in the buffer
	}
	first, err := firstByte(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, jsonError(err))
	}
	dec := json.NewDecoder(in)
	dec.UseNumber()
	if first != '[' {
		r := &Record{File: name, Place: "line 1"}
		if err := dec.Decode(&r.Value); err != nil {
			return fmt.Errorf("%s, %s: %w", name, count.at(err, dec), jsonError(err))
		}
		yield(r, nil)
		return nil
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("%s: %w", name, jsonError(err))
	}
	for n := 1; dec.More(); n++ {
		r := &Record{File: name, Place: fmt.Sprintf("record %d", n)}
		if err := dec.Decode(&r.Value); err != nil {
			return fmt.Errorf("%s, %s, %s: %w", name, count.at(err, dec), r.Place, jsonError(err))
		}
		if !yield(r, nil) {
			return nil
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("%s, %s: %w", name, count.at(err, dec), jsonError(err))
	}
	return nil
}

// firstByte is the first byte that is not white space.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, in.UnreadByte()
		}
	}
}

// newlines remembers where lines end, to tell a byte's line. It keeps one
// number a line.
type newlines struct {
	r    io.Reader
	read int64
	ends []int64
}

func (n *newlines) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	for i, b := range p[:k] {
		if b == '\n' {
			n.ends = append(n.ends, n.read+int64(i))
		}
	}
	n.read += int64(k)
	return k, err
}

func (n *newlines) at(err error, dec *json.Decoder) string {
	offset := dec.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	}
	i, _ := slices.BinarySearch(n.ends, offset)
	return fmt.Sprintf("line %d", i+1)
}

// readTable reads CSV (RFC 4180), or the same with tabs.
func (s *Source) readTable(name string, comma rune, yield func(*Record, error) bool) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if b, err := in.Peek(3); err == nil && string(b) == "\ufeff" {
		_, _ = in.Discard(3) // they are in the buffer
	}
	table := csv.NewReader(in)
	table.Comma, table.LazyQuotes = comma, comma == '\t'
	columns := s.Columns
	if columns == nil {
		if columns, err = table.Read(); err != nil {
			return fmt.Errorf("%s, line 1: %w", name, cmp.Or(endless(err), err))
		}
	}
	table.FieldsPerRecord = len(columns)
	for {
		cells, err := table.Read()
		if err == io.EOF {
			return nil
		}
		r := &Record{File: name}
		var broken *csv.ParseError
		switch {
		case errors.As(err, &broken):
			r.Place = fmt.Sprintf("line %d", broken.StartLine)
			if errors.Is(err, csv.ErrFieldCount) {
				broken.Err = fmt.Errorf("%d cells where the table has %d columns", len(cells), len(columns))
			}
			if !yield(nil, r.broken(broken.Err)) {
				return nil
			}
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		at, _ := table.FieldPos(0)
		r.Place = fmt.Sprintf("line %d", at)
		row := make(map[string]any, len(cells))
		for i, c := range cells {
			row[columns[i]] = c
		}
		r.Value = row
		if !yield(r, nil) {
			return nil
		}
	}
}

// endless says of a table without a line what it lacks.
func endless(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the table is empty: its first line names the columns")
	}
	return nil
}
