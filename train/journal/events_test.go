package journal

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// The same events written by TensorBoard's own classes are the same bytes.
func TestEventsAgainstTensorBoard(t *testing.T) {
	want, err := os.ReadFile("testdata/golden.tfevents")
	if err != nil {
		t.Fatal(err)
	}
	const begin = 1763999000.5
	got := versionRecord(begin)
	got = appendScalars(got, begin+1, 1, map[string]float64{"loss": 5.25, "lr": 1e-4})
	got = appendScalars(got, begin+300, 300, map[string]float64{"loss": -0.1, "eval_loss": math.NaN()})
	got = appendScalars(got, begin+70000, 70000, map[string]float64{"größe/x": 3e38})
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// The file that grew and the one that is made again have the same records, but
// for the order of metrics and timing, and the times of metrics.
func TestEventsAreMadeAgain(t *testing.T) {
	j := create(t, Options{})
	for n := 1; n <= 5; n++ {
		step(t, j, n)
	}
	grew := records(t, filepath.Join(j.Dir(), eventsFile))
	j.Close()
	j = reopen(t, j.Dir(), Options{})
	made := records(t, filepath.Join(j.Dir(), eventsFile))
	if len(grew) != 1+5+5+1 || len(made) != len(grew) {
		t.Errorf("%d records grew, %d were made", len(grew), len(made))
	}
	step(t, j, 6)
	if got := records(t, filepath.Join(j.Dir(), eventsFile)); len(got) != len(made)+2 {
		t.Errorf("%d records after another step", len(got))
	}
}

// records checks the frames of a file and takes them off.
func records(t *testing.T, path string) (all [][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint32(b[8:]) != masked(b[:8]) || binary.LittleEndian.Uint32(b[12+n:]) != masked(b[12:12+n]) {
			t.Fatal("a checksum is wrong")
		}
		all = append(all, b[12:12+n])
		b = b[16+n:]
	}
	return all
}
