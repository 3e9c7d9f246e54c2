package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Drawing says how batches are made.
type Drawing struct {
	// Lines of a batch, and tokens of a line. For kinds other than texts Length
	// is the most that a line has, and Lines counts documents.
	Lines, Length int
	// Shuffle draws documents in an order that Seed decides, another in every
	// epoch; otherwise they come as they are in the sources.
	Shuffle bool
	Seed    uint64
	// Epochs is how often the data is gone through; 0 is for ever. With weights
	// an epoch is as many tokens as the sources have together.
	Epochs int
	// Long is what becomes of documents longer than Length; empty is ByForm for
	// texts and CutLeft for other kinds.
	Long Long
	// Unpacked puts one document on a line, as other kinds than texts have it.
	Unpacked bool
	// Window is how many documents are packed together; 0 is 4096. A larger one
	// fills lines better, a smaller one mixes less far.
	Window int
}

// Batch is lines of one length, each of one or more documents that see nothing
// of each other.
type Batch struct {
	Lines, Length int
	// Tokens has Lines × Length ids; behind the last document of a line stand
	// zeros.
	Tokens []int32
	// Loss is the weight of predicting Tokens[i] from what stands before it in
	// its document: 1 or 0, and 0 for a document's first token.
	Loss []float32
	// Documents are the lengths of the documents of each line, in order. The
	// rest of the line is padding; a line without documents is padding alone.
	Documents [][]int
	// Parts is how many lines belong together, one after the other: 1, or 2
	// (chosen, rejected), or anchor, positive and each negative.
	Parts int
	// Labels has a class for each group of Parts lines, -1 for none; nil
	// but for labelled texts.
	Labels []int32
	// Epoch is the pass over the data that the batch began in, from 0.
	Epoch int
}

// Position is a place in a [Stream], to be kept with a checkpoint.
type Position struct {
	// Data tells the data and the drawing that the place belongs to.
	Data string `json:"data"`
	// Batches is how many batches were drawn before it.
	Batches int64 `json:"batches"`
	// Cursors say where each source was when the present window began, Used how
	// many lines of that window are drawn.
	Cursors []Cursor `json:"cursors"`
	Used    int      `json:"used"`
}

// Cursor is a place in one source.
type Cursor struct {
	Epoch  int   `json:"epoch"`
	Next   int   `json:"next"`
	Tokens int64 `json:"tokens"` // drawn so far, which decides whose turn it is
}

// Stream draws batches. It is not safe for concurrent use.
type Stream struct {
	set     *Set
	side    Side
	drawing Drawing
	id      string
	queues  []queue

	at     Position
	lines  [][]piece // of the present window
	ends   []Cursor  // where the next window begins
	loaded bool
}

// queue is documents that one weight holds for: those of a source, or all.
type queue struct {
	weight float64
	refs   func(i int) ref
	len    int
}

// Stream begins to draw from a side.
func (s *Set) Stream(side Side, d Drawing) (*Stream, error) {
	if s.Kind != Texts {
		d.Unpacked = true
	}
	if d.Long == "" {
		d.Long = ByForm
		if s.Kind != Texts {
			d.Long = CutLeft
		}
	}
	if d.Window == 0 {
		d.Window = 4096
	}
	if d.Unpacked {
		d.Window = max(1, d.Window/max(1, d.Lines)) * d.Lines
	}
	if err := s.checkDrawing(side, d); err != nil {
		return nil, err
	}
	st := &Stream{set: s, side: side, drawing: d, queues: s.queues(side)}
	st.id = st.fingerprint()
	st.at = Position{Data: st.id, Cursors: make([]Cursor, len(st.queues))}
	if !st.anything() {
		return nil, fmt.Errorf("no document has anything to learn within %d tokens", d.Length)
	}
	return st, nil
}

func (s *Set) checkDrawing(side Side, d Drawing) error {
	const most = 1 << 28
	switch {
	case d.Lines < 1 || d.Length < 2 || d.Lines > most || d.Length > most || d.Lines*d.Length*s.Parts > most:
		return fmt.Errorf("batches of %d lines of %d tokens: lines want at least 2 tokens, and a batch takes %d at most", d.Lines, d.Length, most)
	case d.Epochs < 0 || d.Window < 0:
		return errors.New("epochs and window must not be negative")
	case s.Kind != Texts && (d.Long == Split || d.Long == ByForm):
		return fmt.Errorf("%s cannot be split over several lines: cut, cut_left or drop those that are too long", s.Kind)
	case s.Len(side) == 0:
		name := "training"
		if side == Validation {
			name = "validation"
		}
		return fmt.Errorf("there are no documents for %s", name)
	}
	return d.Long.check()
}

func (s *Set) queues(side Side) []queue {
	var out []queue
	for from := 0; from < len(s.sources); {
		to := len(s.sources)
		if first := s.sources[from]; first.Weight > 0 {
			for to = from; to < len(s.sources) && s.sources[to].origin == first.origin; to++ {
			}
		}
		if q := s.queue(side, from, to); q.len > 0 {
			out = append(out, q)
		}
		from = to
	}
	return out
}

// queue is the documents of some caches, one after the other.
func (s *Set) queue(side Side, from, to int) queue {
	var starts []int
	n := 0
	for _, l := range s.sources[from:to] {
		starts = append(starts, n)
		n += len(l.sides[side])
	}
	return queue{s.sources[from].Weight, func(i int) ref {
		at, exact := slices.BinarySearch(starts, i)
		if !exact {
			at--
		}
		for len(s.sources[from+at].sides[side]) == 0 {
			at++ // of those that begin at one place only the last has documents
		}
		return ref{int32(from + at), int32(i - starts[at])}
	}, n}
}

// anything reports whether some document leaves something to draw, without
// which a stream without end would search for ever.
func (st *Stream) anything() bool {
	for _, q := range st.queues {
		found := false
		for i := 0; i < q.len && !found; i++ {
			found = len(st.cut(q.refs(i))) > 0
		}
		if found {
			return true
		}
	}
	return false
}

// cut is the pieces of a document.
func (st *Stream) cut(r ref) []piece {
	if st.set.Kind == Texts {
		return st.drawing.Long.pieces(r, st.set.part(st.side, r, 0), st.drawing.Length)
	}
	longest := 0
	for p := range st.set.Parts {
		longest = max(longest, st.set.part(st.side, r, p).length)
	}
	if st.drawing.Long == Drop && longest > st.drawing.Length {
		return nil
	}
	return []piece{{r, 0, min(longest, st.drawing.Length), false}}
}

// Position is where the stream is: a stream that is made alike and sought to
// it goes on with the same batches.
func (st *Stream) Position() Position {
	p := st.at
	p.Cursors = slices.Clone(p.Cursors)
	return p
}

// Seek goes to a position.
func (st *Stream) Seek(p Position) error {
	if p.Data != st.id {
		return errors.New("the position belongs to other data, or to other settings of batches; begin anew, or give back what was changed")
	}
	if len(p.Cursors) != len(st.queues) || p.Used < 0 || p.Batches < 0 {
		return errors.New("the position is damaged")
	}
	for i, c := range p.Cursors {
		if c.Epoch < 0 || c.Next < 0 || c.Next > st.queues[i].len || c.Tokens < 0 {
			return errors.New("the position is damaged")
		}
	}
	st.at = p
	st.at.Cursors = slices.Clone(p.Cursors)
	st.loaded = false
	if st.load(); p.Used > len(st.lines) {
		return errors.New("the position is damaged")
	}
	return nil
}

// Next draws a batch; at the end of the last epoch it is [io.EOF]. The last
// batch may have lines of padding.
func (st *Stream) Next(ctx context.Context) (Batch, error) {
	if err := ctx.Err(); err != nil {
		return Batch{}, context.Cause(ctx)
	}
	var taken [][]piece
	epoch := 0
	before := st.Position()
	for len(taken) < st.drawing.Lines {
		if !st.loaded {
			st.load()
		}
		if st.at.Used == len(st.lines) {
			if !st.advance() {
				break
			}
			// A batch of unpacked documents is of one window, whose documents
			// are sorted for it.
			if st.drawing.Unpacked && len(taken) > 0 {
				break
			}
			continue
		}
		if len(taken) == 0 {
			epoch = st.epoch()
		}
		n := min(st.drawing.Lines-len(taken), len(st.lines)-st.at.Used)
		taken = append(taken, st.lines[st.at.Used:st.at.Used+n]...)
		st.at.Used += n
	}
	if len(taken) == 0 {
		return Batch{}, io.EOF
	}
	b, err := st.fill(taken)
	if err != nil {
		st.at, st.loaded = before, false
		return Batch{}, err
	}
	b.Epoch = epoch
	st.at.Batches++
	return b, nil
}

// epoch is the pass over the data that the present window is of.
func (st *Stream) epoch() int {
	if len(st.queues) == 1 {
		return st.at.Cursors[0].Epoch
	}
	return int(st.drawn(st.at.Cursors) / max(1, st.set.Tokens(st.side)))
}

func (st *Stream) drawn(cursors []Cursor) int64 {
	var n int64
	for _, c := range cursors {
		n += c.Tokens
	}
	return n
}

// advance begins the next window, and reports whether there is one.
func (st *Stream) advance() bool {
	if st.over(st.ends) {
		return false
	}
	st.at.Cursors, st.at.Used, st.loaded = st.ends, 0, false
	return true
}

// over reports whether all epochs are drawn.
func (st *Stream) over(cursors []Cursor) bool {
	switch {
	case st.drawing.Epochs == 0:
		return false
	case len(st.queues) == 1:
		return cursors[0].Epoch >= st.drawing.Epochs
	}
	return st.drawn(cursors) >= int64(st.drawing.Epochs)*st.set.Tokens(st.side)
}

// load plans the window that begins at the cursors: a function of them, the
// seed and the data alone, which is what makes positions small.
func (st *Stream) load() {
	cursors := slices.Clone(st.at.Cursors)
	var pieces []piece
	perms := make([]permutation, len(st.queues))
	for i, q := range st.queues {
		perms[i] = newPermutation(q.len, st.drawing.Seed, uint64(i), uint64(cursors[i].Epoch))
	}
	for n := 0; n < st.drawing.Window && !st.over(cursors); n++ {
		i := st.turn(cursors)
		c, q := &cursors[i], st.queues[i]
		k := c.Next
		if st.drawing.Shuffle {
			k = perms[i].at(k)
		}
		r := q.refs(k)
		c.Tokens++ // so that a document without tokens takes a turn too
		for p := range st.set.Parts {
			c.Tokens += int64(st.set.part(st.side, r, p).length)
		}
		pieces = append(pieces, st.cut(r)...)
		if c.Next++; c.Next == q.len {
			c.Epoch, c.Next = c.Epoch+1, 0
			perms[i] = newPermutation(q.len, st.drawing.Seed, uint64(i), uint64(c.Epoch))
			if len(st.queues) == 1 {
				break // so that an epoch's documents are drawn before the next one's
			}
		}
	}
	st.lines, st.ends, st.loaded = st.arrange(pieces), cursors, true
}

// turn is the queue that has had the least for its weight.
func (st *Stream) turn(cursors []Cursor) int {
	best := 0
	for i, q := range st.queues {
		if float64(cursors[i].Tokens)*st.queues[best].weight < float64(cursors[best].Tokens)*q.weight {
			best = i
		}
	}
	return best
}

// arrange makes lines of a window's pieces.
func (st *Stream) arrange(pieces []piece) [][]piece {
	d := st.drawing
	r := &random{hashOf(d.Seed, 1, uint64(st.at.Cursors[0].Epoch), uint64(st.at.Cursors[0].Next), uint64(st.drawn(st.at.Cursors)))}
	if d.Unpacked {
		return st.group(pieces, r)
	}
	lines := pack(pieces, d.Length)
	if d.Shuffle {
		for _, line := range lines {
			shuffle(r, line)
		}
		shuffle(r, lines)
	}
	return lines
}

// group puts documents of like length together, d.Lines at a time, so that
// little is padded; the batches, not their documents, are shuffled.
func (st *Stream) group(pieces []piece, r *random) [][]piece {
	if st.drawing.Shuffle {
		slices.SortStableFunc(pieces, func(a, b piece) int { return a.length() - b.length() })
	}
	size := st.drawing.Lines
	var batches [][]piece
	for batch := range slices.Chunk(pieces, size) {
		batches = append(batches, batch)
	}
	if st.drawing.Shuffle && len(batches) > 1 {
		whole := batches
		if last := len(batches) - 1; len(batches[last]) < size {
			whole = batches[:last] // an incomplete one stays at the end
		}
		shuffle(r, whole)
	}
	var lines [][]piece
	for _, batch := range batches {
		for _, p := range batch {
			lines = append(lines, []piece{p})
		}
	}
	return lines
}
