package data

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2000).Draw(t, "n")
		p := newPermutation(n, rapid.Uint64().Draw(t, "seed"))
		seen := make([]bool, n)
		for i := range n {
			at := p.at(i)
			if at < 0 || at >= n || seen[at] {
				t.Fatalf("place %d: %d is outside or came before", i, at)
			}
			seen[at] = true
		}
	})
}

// TestPermutationIsEven: every number comes first about as often as another.
func TestPermutationIsEven(t *testing.T) {
	const n, rounds = 10, 20000
	var first, step [n]int
	for seed := range rounds {
		p := newPermutation(n, uint64(seed), 3)
		first[p.at(0)]++
		step[(p.at(1)-p.at(0)+n)%n]++
	}
	for i := range n {
		// 2000 are expected with a standard deviation of 42.
		if first[i] < 1800 || first[i] > 2200 {
			t.Errorf("%d came first %d times of %d", i, first[i], rounds)
		}
		if want := rounds / (n - 1); i > 0 && (step[i] < want-250 || step[i] > want+250) {
			t.Errorf("a step of %d came %d times of %d", i, step[i], rounds)
		}
	}
}

// TestPack: every piece is in one line, no line is too long, and no two lines
// could be one.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(2, 300).Draw(t, "length")
		lengths := rapid.SliceOf(rapid.IntRange(2, length)).Draw(t, "lengths")
		var pieces []piece
		for i, n := range lengths {
			pieces = append(pieces, piece{ref{0, int32(i)}, 0, n, false})
		}
		var got []int32
		var sums []int
		for _, line := range pack(pieces, length) {
			sum := 0
			for _, p := range line {
				got = append(got, p.index)
				sum += p.length()
			}
			if sum > length {
				t.Fatalf("a line of %d tokens where there are %d", sum, length)
			}
			sums = append(sums, sum)
		}
		slices.Sort(got)
		if len(got) != len(pieces) || len(slices.Compact(got)) != len(pieces) {
			t.Fatalf("%d pieces of %d", len(got), len(pieces))
		}
		slices.Sort(sums)
		if len(sums) > 1 && sums[0]+sums[1] <= length {
			t.Fatalf("lines of %d and %d tokens where %d fit", sums[0], sums[1], length)
		}
	})
}

func TestLongDocuments(t *testing.T) {
	entry := func(length, first int) partEntry { return partEntry{length, first, length - first} }
	spans := func(l Long, e partEntry) [][3]int {
		var out [][3]int
		for _, p := range l.pieces(ref{}, e, 10) {
			head := 0
			if p.head {
				head = 1
			}
			out = append(out, [3]int{p.from, p.to, head})
		}
		return out
	}
	tests := []struct {
		long  Long
		entry partEntry
		want  [][3]int
	}{
		{Split, entry(10, 1), [][3]int{{0, 10, 0}}},
		{Split, entry(25, 1), [][3]int{{0, 10, 0}, {10, 20, 0}, {20, 25, 0}}},
		{Split, entry(21, 1), [][3]int{{0, 10, 0}, {10, 20, 0}}}, // a token alone has nothing to predict
		{Split, entry(25, 12), [][3]int{{10, 20, 0}, {20, 25, 0}}},
		{Cut, entry(25, 1), [][3]int{{0, 10, 0}}},
		{Cut, entry(25, 12), nil},
		{CutLeft, entry(25, 12), [][3]int{{16, 25, 1}}},
		{Drop, entry(25, 12), nil},
		{Drop, entry(10, 5), [][3]int{{0, 10, 0}}},
		{ByForm, entry(25, 1), [][3]int{{0, 10, 0}, {10, 20, 0}, {20, 25, 0}}},
		{ByForm, entry(25, 12), [][3]int{{16, 25, 1}}},
		{Split, partEntry{5, 5, 0}, nil},
	}
	for _, test := range tests {
		if got := spans(test.long, test.entry); !slices.Equal(got, test.want) {
			t.Errorf("%s of %v: got %v, want %v", test.long, test.entry, got, test.want)
		}
	}
}

func TestBucket(t *testing.T) {
	for n, want := range map[int]int{1: 64, 64: 64, 65: 128, 129: 192, 193: 256, 257: 384, 400: 512, 700: 700} {
		if got := Bucket(n, 700); got != want {
			t.Errorf("%d: got %d, want %d", n, got, want)
		}
	}
}
