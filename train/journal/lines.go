package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Line is the values of one step; a step may have several lines.
type Line struct {
	Step   int
	Values map[string]float64
}

// keys of a line that are no metrics.
const (
	stepKey = "step"
	timeKey = "time" // seconds since 1970
)

// encodeLine is a line of JSON with the step first and the values by name.
// Numbers that JSON does not have are the texts "NaN", "+Inf" and "-Inf".
func encodeLine(step int, values map[string]float64) ([]byte, error) {
	line := strconv.AppendInt([]byte(`{"step":`), int64(step), 10)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if name == stepKey {
			return nil, errors.New(`a metric cannot be called "step"`)
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		line = append(append(append(line, ','), key...), ':')
		x := values[name]
		if math.IsNaN(x) || math.IsInf(x, 0) {
			line = strconv.AppendQuote(line, strconv.FormatFloat(x, 'g', -1, 64))
			continue
		}
		line = strconv.AppendFloat(line, x, 'g', -1, 64)
	}
	return append(line, "}\n"...), nil
}

func decodeLine(text []byte) (Line, error) {
	l := Line{Values: map[string]float64{}}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return l, err
	}
	step, ok := fields[stepKey]
	if !ok {
		return l, errors.New("there is no step")
	}
	if err := json.Unmarshal(step, &l.Step); err != nil {
		return l, err
	}
	for name, raw := range fields {
		if name == stepKey {
			continue
		}
		text := string(bytes.Trim(raw, `"`))
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
		l.Values[name] = x
	}
	return l, nil
}

// maxLine is far more than the values of a step take.
const maxLine = 1 << 20

// readLines calls each for every whole line, with the offset behind it, until
// it says no. A last line that was not finished is left out.
func readLines(r io.Reader, each func(l Line, end int64) bool) error {
	in := bufio.NewReaderSize(r, 1<<16)
	end := int64(0)
	for number := 1; ; number++ {
		text, err := in.ReadSlice('\n')
		var long []byte
		for errors.Is(err, bufio.ErrBufferFull) && len(long) < maxLine {
			long = append(long, text...)
			text, err = in.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if long != nil {
			text = append(long, text...)
		}
		end += int64(len(text))
		l, err := decodeLine(text)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if !each(l, end) {
			return nil
		}
	}
}

// ReadMetrics reads the metrics of the run in dir, also while it is written.
func ReadMetrics(dir string) ([]Line, error) { return readFile(dir, metricsFile) }

// ReadTiming reads how the steps of the run in dir went; the value "time" is
// in seconds since 1970.
func ReadTiming(dir string) ([]Line, error) { return readFile(dir, timingFile) }

func readFile(dir, name string) ([]Line, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Line
	err = readLines(f, func(l Line, _ int64) bool {
		all = append(all, l)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return all, nil
}

// cut removes the lines of steps after step, and what is left of a line that
// was being written.
func cut(path string, step int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return full(err)
	}
	keep := int64(0)
	err = readLines(f, func(l Line, end int64) bool {
		if l.Step > step {
			return false
		}
		keep = end
		return true
	})
	if err != nil {
		f.Close()
		return fmt.Errorf("%s: %w; it was changed by something else", path, err)
	}
	return full(errors.Join(f.Truncate(keep), f.Sync(), f.Close()))
}
