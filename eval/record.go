package eval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Header says what a run evaluates. It is the first line of its records, and two
// runs may be compared if they agree in Task and Data.
type Header struct {
	Task     string `json:"task"`
	Setup    string `json:"setup"` // SHA-256 of the whole task
	Data     string `json:"data"`  // SHA-256 of the files
	Examples int    `json:"examples"`
	Model    string `json:"model"`
	Opened   string `json:"opened,omitempty"` // how, if not by default
	Engine   string `json:"engine"`
	Mode     string `json:"mode"`
	Seed     uint64 `json:"seed"`
	// Metrics are those that the task asks for.
	Metrics []string `json:"metrics"`
}

// Record is what became of an example.
type Record struct {
	ID       string   `json:"id"`
	Group    string   `json:"group"`
	Expected []string `json:"expected,omitempty"` // the right answers
	// Output is what the model wrote, Answer what was extracted from it.
	Output string `json:"output,omitempty"`
	Answer string `json:"answer,omitempty"`
	// Chosen is the likeliest of Choices.
	Chosen     string             `json:"chosen,omitempty"`
	Choices    []Choice           `json:"choices,omitempty"`
	Likelihood *Likelihood        `json:"likelihood,omitempty"`
	Scores     map[string]float64 `json:"scores,omitempty"`
	// Skipped says why the example could not be evaluated.
	Skipped string `json:"skipped,omitempty"`
}

// Choice is an answer that could be chosen, with the natural logarithm of its
// probability.
type Choice struct {
	Text    string  `json:"text"`
	LogProb float64 `json:"logprob"`
}

// Likelihood is that of a text: its negative log-likelihood, in nats, over so
// many tokens and bytes.
type Likelihood struct {
	NLL    float64 `json:"nll"`
	Tokens int     `json:"tokens"`
	Bytes  int     `json:"bytes"`
}

// Log keeps the records of a run. With a path it writes each as a line of
// JSON to path.part, which a run of the same header goes on with, and which
// becomes path when the run is complete.
type Log struct {
	path    string // "" for none
	file    *os.File
	records map[string]Record
}

// ErrOther refuses to go on with the records of another run.
var ErrOther = errors.New("holds the records of another evaluation")

// OpenLog starts a log, or goes on with one of the same header. What stands at
// the path and is of another run is refused with [ErrOther].
func OpenLog(path string, h Header) (*Log, error) {
	l := &Log{path: path, records: map[string]Record{}}
	if path == "" {
		return l, nil
	}
	if _, err := os.Stat(path); err == nil {
		_, err := l.resume(path, h)
		if err == nil && len(l.records) < h.Examples {
			err = fmt.Errorf("%s is not complete: remove it or name another file", path)
		}
		return l, err
	}
	part := path + ".part"
	end, err := l.resume(part, h)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if l.file, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	if err = l.begin(h, end); err != nil {
		_ = l.file.Close() // what went wrong before it matters more
		return nil, fmt.Errorf("%s: %w", part, err)
	}
	return l, nil
}

// begin drops an unfinished last line, and writes the header of an empty file.
func (l *Log) begin(h Header, end int64) error {
	if err := l.file.Truncate(end); err != nil {
		return err
	}
	if _, err := l.file.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end > 0 {
		return nil
	}
	return l.write(h)
}

// resume reads what is there and says where the last whole line ends.
func (l *Log) resume(path string, h Header) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	found, records, end, err := readRecords(f)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if end == 0 {
		return 0, nil
	}
	if a, b := found.line(), h.line(); !bytes.Equal(a, b) {
		return 0, fmt.Errorf("%s %w (%s, not %s): remove it or name another file", path, ErrOther, found.what(), h.what())
	}
	for _, r := range records {
		l.records[r.ID] = r
	}
	return end, nil
}

func (h *Header) line() []byte {
	line, _ := json.Marshal(h) // strings and numbers always can be
	return line
}

func (h *Header) what() string {
	digest := h.Setup + h.Data
	if len(digest) > 8 {
		digest = h.Setup[:4] + h.Data[:4]
	}
	return fmt.Sprintf("%s with %s, %d examples, %s", h.Task, h.Model, h.Examples, digest)
}

// Add keeps a record and writes it at once.
func (l *Log) Add(r Record) error {
	l.records[r.ID] = r
	if l.file == nil {
		return nil
	}
	if err := l.write(r); err != nil {
		return fmt.Errorf("%s.part: %w; what is written is kept", l.path, err)
	}
	return nil
}

// write adds a line in one piece.
func (l *Log) write(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := l.file.Write(b.Bytes())
	return err
}

// Finish gives a complete log its name.
func (l *Log) Finish() error {
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close())
	l.file = nil
	if err != nil {
		return err
	}
	return os.Rename(l.path+".part", l.path)
}

// Close leaves an incomplete log as it is, to be gone on with.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// ReadLog reads the records of a run, complete or not.
func ReadLog(path string) (Header, []Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return Header{}, nil, err
	}
	defer f.Close()
	h, records, end, err := readRecords(f)
	if err == nil && (end == 0 || h.Task == "") {
		err = errors.New("it has no records of an evaluation: make them with lapidary eval --out")
	}
	if err != nil {
		return h, nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, records, nil
}

// readRecords reads whole lines; end is where the last of them ends.
func readRecords(r io.Reader) (h Header, records []Record, end int64, err error) {
	b := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := b.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return h, records, end, nil
		}
		if err != nil {
			return h, records, end, err
		}
		if n == 1 {
			err = json.Unmarshal(line, &h)
		} else {
			var rec Record
			err = json.Unmarshal(line, &rec)
			records = append(records, rec)
		}
		if err != nil {
			return h, records, end, fmt.Errorf("line %d is no record: %w", n, err)
		}
		end += int64(len(line))
	}
}
