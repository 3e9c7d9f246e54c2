package data_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lapidary/train/data"
)

// numbered writes n JSON lines that begin with their number and are as long as
// lengths say.
func numbered(t testing.TB, dir, name string, lengths []int) string {
	var b strings.Builder
	for i, n := range lengths {
		fmt.Fprintf(&b, "{\"t\": \"%s%05d%s\", \"l\": \"%d\"}\n", name[:1], i, strings.Repeat("x", n), i%3)
	}
	return write(t, dir, name, b.String())
}

func drain(t testing.TB, st *data.Stream) []data.Batch {
	t.Helper()
	var out []data.Batch
	for {
		b, err := st.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
}

// texts are the documents of a batch.
func texts(t testing.TB, b data.Batch) []string {
	t.Helper()
	if len(b.Tokens) != b.Lines*b.Length || len(b.Loss) != len(b.Tokens) || len(b.Documents) != b.Lines {
		t.Fatalf("a batch of %d × %d with %d tokens, %d weights, %d lines of documents", b.Lines, b.Length, len(b.Tokens), len(b.Loss), len(b.Documents))
	}
	var out []string
	for i, lengths := range b.Documents {
		at := i * b.Length
		for _, n := range lengths {
			if b.Loss[at] != 0 {
				t.Fatal("a document's first token is to be predicted")
			}
			out = append(out, text(b.Tokens[at:at+n]))
			at += n
		}
		for ; at < (i+1)*b.Length; at++ {
			if b.Tokens[at] != 0 || b.Loss[at] != 0 {
				t.Fatal("padding is not empty")
			}
		}
	}
	return out
}

// TestStream: in every epoch each document comes once, whatever the shape, and
// a stream goes on from any position as the first one did.
func TestStream(t *testing.T) {
	dir := t.TempDir()
	serial := 0
	rapid.Check(t, func(rt *rapid.T) {
		serial++
		lengths := rapid.SliceOfN(rapid.IntRange(0, 60), 1, 40).Draw(rt, "lengths")
		path := numbered(t, dir, fmt.Sprintf("a%d.jsonl", serial), lengths)
		source := data.Source{Path: path, Text: "t"}
		if rapid.Bool().Draw(rt, "labelled") {
			source.Label = "l"
		}
		set, err := data.Prepare(context.Background(), []data.Source{source}, bytesTokenizer{}, data.Settings{Folder: dir})
		if err != nil {
			rt.Fatal(err)
		}
		defer set.Close()
		drawing := data.Drawing{
			Lines: rapid.IntRange(1, 4).Draw(rt, "lines"), Length: rapid.IntRange(80, 200).Draw(rt, "length"), Shuffle: rapid.Bool().Draw(rt, "shuffle"),
			Seed: rapid.Uint64().Draw(rt, "seed"), Epochs: rapid.IntRange(1, 3).Draw(rt, "epochs"), Unpacked: rapid.Bool().Draw(rt, "unpacked"),
			Window: rapid.IntRange(1, 50).Draw(rt, "window"),
		}
		st, err := set.Stream(data.Train, drawing)
		if err != nil {
			rt.Fatal(err)
		}
		var batches []data.Batch
		var places []data.Position
		for {
			places = append(places, st.Position())
			b, err := st.Next(context.Background())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				rt.Fatal(err)
			}
			batches = append(batches, b)
		}
		count := map[string]int{}
		for _, b := range batches {
			for _, text := range texts(t, b) {
				count[text]++
			}
		}
		if len(count) != len(lengths) {
			rt.Fatalf("%d documents of %d", len(count), len(lengths))
		}
		for text, n := range count {
			if n != drawing.Epochs {
				rt.Fatalf("%s came %d times in %d epochs", text, n, drawing.Epochs)
			}
		}
		at := rapid.IntRange(0, len(batches)).Draw(rt, "at")
		if places[at].Batches != int64(at) {
			rt.Fatalf("position %d says %d", at, places[at].Batches)
		}
		again, err := set.Stream(data.Train, drawing)
		if err != nil {
			rt.Fatal(err)
		}
		var p data.Position
		if b, err := json.Marshal(places[at]); err != nil || json.Unmarshal(b, &p) != nil {
			rt.Fatal("the position does not survive JSON")
		}
		if err := again.Seek(p); err != nil {
			rt.Fatal(err)
		}
		if rest := drain(t, again); len(rest) != len(batches)-at || len(rest) > 0 && !reflect.DeepEqual(rest, batches[at:]) {
			rt.Fatalf("from batch %d on others came", at)
		}
	})
}

func TestShuffleDependsOnSeedAndEpoch(t *testing.T) {
	path := numbered(t, t.TempDir(), "a.jsonl", make([]int, 100))
	set := prepare(t, data.Settings{}, data.Source{Path: path, Text: "t"})
	order := func(seed uint64, shuffle bool) (out []string) {
		st, err := set.Stream(data.Train, data.Drawing{Lines: 1, Length: 100, Shuffle: shuffle, Seed: seed, Epochs: 2, Unpacked: true, Window: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range drain(t, st) {
			out = append(out, texts(t, b)...)
		}
		return out
	}
	a, b, plain := order(1, true), order(2, true), order(1, false)
	switch {
	case !slices.Equal(a, order(1, true)):
		t.Error("one seed, two orders")
	case slices.Equal(a, b):
		t.Error("two seeds, one order")
	case slices.Equal(a[:100], a[100:]):
		t.Error("two epochs, one order")
	case !slices.IsSorted(plain[:100]) || !slices.Equal(plain[:100], plain[100:]):
		t.Error("without shuffling the order is not that of the file")
	}
}

// TestWeights: the shares of tokens are as asked.
func TestWeights(t *testing.T) {
	dir := t.TempDir()
	lengths := make([]int, 50)
	for i := range lengths {
		lengths[i] = 40
	}
	set := prepare(t, data.Settings{},
		data.Source{Path: numbered(t, dir, "a.jsonl", make([]int, 30)), Text: "t", Weight: 3},
		data.Source{Path: numbered(t, dir, "b.jsonl", lengths), Text: "t", Weight: 1},
	)
	st, err := set.Stream(data.Train, data.Drawing{Lines: 4, Length: 128, Shuffle: true, Window: 64})
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[byte]int{}
	for range 200 {
		b, err := st.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts(t, b) {
			tokens[text[1]] += len(text)
		}
	}
	if share := float64(tokens['a']) / float64(tokens['a']+tokens['b']); share < 0.72 || share > 0.78 {
		t.Errorf("a has %.3f of the tokens, and 0.75 was asked for: %v", share, tokens)
	}
}

func TestKindsOfBatches(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "p.jsonl", `{"p": "q", "c": "good", "r": "bad"}`+"\n"+`{"p": "q2", "c": "`+strings.Repeat("x", 100)+`", "r": "bad2"}`)
	set := prepare(t, data.Settings{}, data.Source{Path: path, Prompt: "p", Chosen: "c", Rejected: "r"})
	st, err := set.Stream(data.Train, data.Drawing{Lines: 1, Length: 80, Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	batches := drain(t, st)
	if len(batches) != 2 || batches[0].Parts != 2 || batches[0].Lines != 2 || batches[0].Length != 64 || batches[1].Length != 80 {
		t.Fatalf("%+v", batches)
	}
	if got := texts(t, batches[0]); !slices.Equal(got, []string{"^qgood$", "^qbad$"}) {
		t.Errorf("%q", got)
	}
	if got, want := batches[0].Loss[:8], []float32{0, 0, 1, 1, 1, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("loss %v, want %v", got, want)
	}
	if got := texts(t, batches[1])[0]; got != "^"+strings.Repeat("x", 78)+"$" {
		t.Errorf("cut on the left: %q", got)
	}

	set = prepare(t, data.Settings{}, data.Source{Path: numbered(t, dir, "l.jsonl", make([]int, 5)), Text: "t", Label: "l"})
	if st, err = set.Stream(data.Train, data.Drawing{Lines: 2, Length: 80, Epochs: 1}); err != nil {
		t.Fatal(err)
	}
	var labels []int32
	for _, b := range drain(t, st) {
		labels = append(labels, b.Labels...)
	}
	if want := []int32{0, 1, 2, 0, 1, -1}; !slices.Equal(labels, want) {
		t.Errorf("labels %v, want %v", labels, want)
	}
}

func TestRefusedStreams(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a.jsonl", `{"p": "a long prompt", "a": "x"}`)
	set := prepare(t, data.Settings{}, data.Source{Path: path, Prompt: "p", Answer: "a"})
	for _, test := range []struct {
		side    data.Side
		drawing data.Drawing
		reason  string
	}{
		{data.Validation, data.Drawing{Lines: 1, Length: 8}, "no documents for validation"},
		{data.Train, data.Drawing{Lines: 0, Length: 8}, "0 lines"},
		{data.Train, data.Drawing{Lines: 1 << 20, Length: 1 << 20}, "at most"},
		{data.Train, data.Drawing{Lines: 1, Length: 8, Long: "fold"}, `"fold" is none of`},
		{data.Train, data.Drawing{Lines: 1, Length: 8, Long: data.Drop}, "nothing"},
		{data.Train, data.Drawing{Lines: 1, Length: 8, Epochs: -1}, "negative"},
	} {
		_, err := set.Stream(test.side, test.drawing)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "no document has anything", "nothing"), test.reason) {
			t.Errorf("%+v: got %v, want %q", test.drawing, err, test.reason)
		}
	}
	st, err := set.Stream(data.Train, data.Drawing{Lines: 1, Length: 8})
	if err != nil {
		t.Fatal(err)
	}
	other, err := set.Stream(data.Train, data.Drawing{Lines: 1, Length: 9})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Seek(other.Position()); err == nil || !strings.Contains(err.Error(), "other data") {
		t.Errorf("a position of another stream: %v", err)
	}
	damaged := st.Position()
	damaged.Cursors[0].Next = 77
	if err := st.Seek(damaged); err == nil {
		t.Error("a damaged position was taken")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := st.Next(ctx); err == nil {
		t.Error("a cancelled context was not noticed")
	}
}

// TestSplit: documents stay on their side whatever else is there, and what
// belongs together stays together.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	sides := func(n int, by string) map[string]data.Side {
		path := numbered(t, dir, fmt.Sprintf("a%d.jsonl", n), make([]int, n))
		set := prepare(t, data.Settings{}, data.Source{Path: path, Text: "t", Split: 0.3, SplitBy: by})
		out := map[string]data.Side{}
		for _, side := range []data.Side{data.Train, data.Validation} {
			for _, d := range documents(t, set, side) {
				out[d] = side
			}
		}
		return out
	}
	few, many := sides(200, ""), sides(400, "")
	held := 0
	for d, side := range few {
		if many[d] != side {
			t.Errorf("%s changed sides when documents were added", d)
		}
		held += int(side)
	}
	if held < 35 || held > 85 { // 60 are expected, with a standard deviation of 6.5
		t.Errorf("%d of 200 are held out, and 0.3 was asked for", held)
	}
	group := map[string]data.Side{}
	for d, side := range sides(300, "group {l}") {
		var number int
		if _, err := fmt.Sscanf(d, "^[a%d", &number); err != nil {
			t.Fatal(err)
		}
		g := fmt.Sprint(number % 3)
		if known, ok := group[g]; ok && known != side {
			t.Errorf("group %s is on both sides", g)
		}
		group[g] = side
	}
}

func TestDuplicates(t *testing.T) {
	dir := t.TempDir()
	var words strings.Builder
	for i := range 200 {
		fmt.Fprintf(&words, "w%d ", i)
	}
	long := words.String()
	near := strings.Replace(long, "w100 ", "v ", 1) // 5 of 196 shingles differ: 0.95
	path := write(t, dir, "a.txt", strings.Join([]string{long, "other", near, long, "other words"}, "\n\n"))
	source := data.Source{Path: path, Blank: true}
	for _, test := range []struct {
		dedup             data.Dedup
		left, exact, near int
	}{
		{data.Dedup{}, 5, 1, 0},
		{data.Dedup{Exact: true}, 4, 1, 0},
		{data.Dedup{Near: 0.8}, 3, 1, 1},
		{data.Dedup{Near: 0.99}, 4, 1, 0},
	} {
		set := prepare(t, data.Settings{Dedup: test.dedup}, source)
		r := set.Report().Total
		if set.Len(data.Train) != test.left || r.Exact != test.exact || r.Near != test.near {
			t.Errorf("%+v: %d are left, %d exact and %d near; want %d, %d, %d", test.dedup, set.Len(data.Train), r.Exact, r.Near, test.left, test.exact, test.near)
		}
	}
	path = write(t, dir, "b.jsonl", `{"t": "`+long+`", "q": "one"}`+"\n"+`{"t": "`+near+`", "q": "two"}`)
	set := prepare(t, data.Settings{Dedup: data.Dedup{Near: 0.8}}, data.Source{Path: path, Prompt: "{t}", Answer: "q", DedupBy: "q"})
	if set.Len(data.Train) != 2 {
		t.Error("documents that differ in what they are told by count as duplicates")
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a.jsonl", `{"q": "the question of the day is this", "a": "yes"}`+"\n"+`{"q": "der Hund und die Katze", "a": "ja"}`+"\n{\n")
	set := prepare(t, data.Settings{}, data.Source{Path: path, Prompt: "q", Answer: "a", SkipBroken: true})
	r := set.Report()
	if r.Total.Documents != 2 || r.Total.Learnt != 7 || r.Total.Lengths.Max != 36 || r.Total.Languages["en"] != 1 || r.Total.Languages["de"] != 1 {
		t.Errorf("%+v", r.Total)
	}
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{path, "estimated", "skipped 1", "line 3"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// TestCacheIsUsedAndRenewed: the second preparation reads no source, and a
// changed one is noticed.
func TestCacheIsUsedAndRenewed(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	path := write(t, dir, "a.jsonl", `{"t": "one"}`)
	calls := 0
	settings := data.Settings{Folder: folder, Progress: func(string, int, int64) { calls++ }}
	source := data.Source{Path: path, Text: "t"}
	prepare(t, settings, source)
	first := calls
	source.Split = 0.5
	prepare(t, settings, source)
	if first == 0 || calls != first {
		t.Errorf("%d calls at first, %d later", first, calls-first)
	}
	write(t, dir, "a.jsonl", `{"t": "another"}`)
	if got := documents(t, prepare(t, settings, data.Source{Path: path, Text: "t"}), data.Train); !slices.Equal(got, []string{"^[another$]"}) {
		t.Errorf("%q", got)
	}
	set, err := data.Prepare(context.Background(), []data.Source{{Path: path, Text: "t"}}, bytesTokenizer{"2"}, settings)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if before := first + 1; calls <= before {
		t.Error("another tokenizer was given the first one's tokens")
	}
}

func TestMixedSettings(t *testing.T) {
	path := write(t, t.TempDir(), "a.jsonl", `{"t": "one"}`)
	for reason, sources := range map[string][]data.Source{
		"no sources": nil,
		"one kind":   {{Path: path, Text: "t"}, {Path: path, Text: "t", Label: "t"}},
		"or none":    {{Path: path, Text: "t", Weight: 1}, {Path: path, Text: "t"}},
	} {
		_, err := data.Prepare(context.Background(), sources, bytesTokenizer{}, data.Settings{Folder: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("got %v, want %q", err, reason)
		}
	}
}
