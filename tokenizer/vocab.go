package tokenizer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// kind is how a piece takes part in encoding. The numbers are those of
// SentencePiece's ModelProto and of GGUF's tokenizer.ggml.token_type.
type kind uint8

const (
	normal      kind = 1 // made by merging
	unknown     kind = 2 // read as control, and remembered as the unknown token
	control     kind = 3 // carries no text
	userDefined kind = 4 // cut out of the text before merging
	unused      kind = 5 // never made
	byteToken   kind = 6 // one byte, spelled <0xE2>
)

const (
	// none is the id of no token.
	none int32 = -1
	// unranked is the rank of a piece that no merge makes.
	unranked = math.MaxUint32
	// maxPiece bounds a piece in bytes, and so the work at one place of the
	// text. The longest in Gemma 3's vocabulary takes 93 in its file.
	maxPiece = 4096
	// maxSymbols bounds the symbols' bytes together, each of which may become
	// 16 bytes of trie. Gemma 3's take 85,000.
	maxSymbols = 4 << 20
)

// spaceMark is how vocabularies spell a space.
const spaceMark = "▁"

// vocab is the table of pieces. Text is kept as tokens stand for it (a space
// for "▁", one byte for <0xE2>), so that it can be compared with the input as
// it is, and a control token's name as it is spelled.
type vocab struct {
	text  []byte
	ends  []uint32 // piece i is text[ends[i]:ends[i+1]]; ends[0] is 0
	kinds []kind
	// ranks orders merges, best first. It is nil where ids do that already, as
	// in every Gemma vocabulary: that saves 1 MB and a cache miss a merge.
	ranks []uint32
	// symbols are the control and user-defined pieces.
	symbols []int32
	// bytes are the byte tokens; unk is for text without them, if fallback to
	// bytes is not possible.
	bytes        [256]int32
	byteFallback bool
	unk          int32
}

func (v *vocab) len() int { return len(v.kinds) }

func (v *vocab) piece(id int32) []byte {
	from, to := v.ends[id], v.ends[id+1]
	return v.text[from:to:to]
}

// where lists the ids of the pieces that are wanted.
func (v *vocab) where(wanted func(k kind, piece []byte) bool) []int32 {
	ids := make([]int32, 0, v.len()) // pages that are not written take no memory
	for id, k := range v.kinds {
		if wanted(k, v.piece(int32(id))) {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// rank is piece id's place in the order of merges.
func (v *vocab) rank(id int32) uint32 {
	if v.ranks == nil {
		return uint32(id)
	}
	return v.ranks[id]
}

// assembler collects a vocabulary, whose pieces come in the order of their ids.
type assembler struct {
	vocab
	settings
	first       int // id of the first piece
	scores      []float32
	symbolBytes int
	ranked      bool             // ranks are set, if only to nil
	named       map[string]int32 // control tokens whose name has a meaning here
}

// settings are what a source says beside the pieces.
type settings struct {
	bos            int32
	eos            []int32
	addBOS, addEOS bool
	spacePrefix    bool
}

// pieceBytes is the room for a piece: Gemma's average 7.8 bytes.
const pieceBytes = 9

func newAssembler(pieces int) *assembler {
	a := &assembler{
		vocab: vocab{
			text:  make([]byte, 0, pieces*pieceBytes),
			ends:  append(make([]uint32, 0, pieces+1), 0),
			kinds: make([]kind, 0, pieces),
		},
		settings: settings{bos: none, addBOS: true},
		named:    map[string]int32{},
	}
	a.unk = none
	for i := range a.bytes {
		a.bytes[i] = none
	}
	return a
}

// add appends the piece with the next id.
func (a *assembler) add(piece []byte, k kind) error {
	id := int32(a.first + len(a.kinds))
	if len(piece) > maxPiece {
		return fmt.Errorf("piece %d is %d bytes long, at most %d are supported", id, len(piece), maxPiece)
	}
	if len(a.text)+len(piece) > math.MaxInt32 {
		return fmt.Errorf("the pieces up to %d take more than 2 GiB", id)
	}
	if k != normal || len(piece) == 0 {
		var err error
		if k, err = a.settle(piece, k, id); err != nil {
			return err
		}
	}
	switch k {
	case control:
		a.text = append(a.text, piece...)
	case byteToken:
		b, _ := parseByte(string(piece))
		a.text = append(a.text, b)
	default:
		a.text = appendPlain(a.text, piece)
	}
	a.ends = append(a.ends, uint32(len(a.text)))
	a.kinds = append(a.kinds, k)
	return nil
}

// part makes an assembler of the pieces with ids in [from, to), so that
// several threads can add pieces. It writes them where they belong, but for the
// text, which join moves there.
func (a *assembler) part(from, to int) *assembler {
	p := newAssembler(0)
	p.first = from
	p.text = a.text[from*pieceBytes : from*pieceBytes : to*pieceBytes]
	p.ends = a.ends[from+1 : from+1 : to+1]
	p.kinds = a.kinds[from:from:to]
	return p
}

// join takes in the parts of an assembler, which must be full.
func (a *assembler) join(parts ...*assembler) error {
	room, inPlace := a.text[:cap(a.text)], true
	for _, p := range parts {
		from, to := len(a.text), len(a.text)+len(p.text)
		if to > math.MaxInt32 {
			return fmt.Errorf("the pieces take more than 2 GiB")
		}
		if a.symbolBytes += p.symbolBytes; a.symbolBytes > maxSymbols {
			return fmt.Errorf("the control and user-defined pieces take more than %d MiB", maxSymbols>>20)
		}
		if inPlace = inPlace && to <= (p.first+len(p.kinds))*pieceBytes; inPlace {
			copy(room[from:], p.text)
			a.text = room[:to]
		} else { // long pieces; the next part's may lie there
			a.text = append(slices.Clip(a.text), p.text...)
		}
		for i := range p.ends {
			p.ends[i] += uint32(from)
		}
		a.ends = a.ends[:len(a.ends)+len(p.ends)]
		a.kinds = a.kinds[:len(a.kinds)+len(p.kinds)]
		a.takeNames(p)
	}
	return nil
}

// takeNames takes in what settle has noted in a part.
func (a *assembler) takeNames(p *assembler) {
	a.symbols = append(a.symbols, p.symbols...)
	for b, id := range p.bytes {
		if a.bytes[b] == none {
			a.bytes[b] = id
		}
	}
	if a.unk == none {
		a.unk = p.unk
	}
	for name, id := range p.named {
		if _, ok := a.named[name]; !ok {
			a.named[name] = id
		}
	}
}

// settle decides what a piece is for this package and notes it where it is
// looked up.
func (a *assembler) settle(piece []byte, k kind, id int32) (kind, error) {
	switch {
	case len(piece) == 0:
		return unused, nil
	case k == normal || k == unused:
		return k, nil
	case k == byteToken:
		b, ok := parseByte(string(piece))
		if !ok {
			return k, fmt.Errorf("piece %d, a byte token, is spelled %q and not like <0x0A>", id, piece)
		}
		if a.bytes[b] == none {
			a.bytes[b] = id
		}
		return k, nil
	case k == userDefined && isMarkup(string(piece)):
		k = control
	case k == unknown:
		if a.unk == none {
			a.unk = id
		}
		k = control
	case k != control && k != userDefined:
		return k, fmt.Errorf("piece %d has the unknown type %d", id, k)
	}
	if a.symbolBytes += len(piece); a.symbolBytes > maxSymbols {
		return k, fmt.Errorf("the control and user-defined pieces up to %d take more than %d MiB", id, maxSymbols>>20)
	}
	a.symbols = append(a.symbols, id)
	if k == control {
		a.nameControl(piece, id)
	}
	return k, nil
}

// nameControl remembers the first token of each name that finish asks for.
func (a *assembler) nameControl(name []byte, id int32) {
	switch string(name) {
	case "<bos>", "<eos>", "<unk>", "<end_of_turn>", "<turn|>":
		if _, ok := a.named[string(name)]; !ok {
			a.named[string(name)] = id
		}
	}
}

// setMarkers takes a source's ids of special tokens; -1 stands for none.
func (a *assembler) setMarkers(bos int64, eos ...int64) error {
	for _, id := range append([]int64{bos}, eos...) {
		if id < -1 || id >= int64(a.len()) {
			return fmt.Errorf("a special token has the id %d, the vocabulary has %d pieces", id, a.len())
		}
	}
	if bos >= 0 {
		a.bos = int32(bos)
	}
	for _, id := range eos {
		if id >= 0 && !slices.Contains(a.eos, int32(id)) {
			a.eos = append(a.eos, int32(id))
		}
	}
	return nil
}

// finish checks what has been collected and makes the tokenizer.
func (a *assembler) finish() (*Tokenizer, error) {
	if a.len() == 0 {
		return nil, fmt.Errorf("the vocabulary has no pieces")
	}
	if !a.ranked {
		a.rankByScore()
	}
	if id, ok := a.named["<bos>"]; ok && a.bos == none {
		a.bos = id
	}
	for _, name := range []string{"<eos>", "<end_of_turn>", "<turn|>"} {
		if id, ok := a.named[name]; ok && !slices.Contains(a.eos, id) {
			a.eos = append(a.eos, id)
		}
	}
	if id, ok := a.named["<unk>"]; ok && a.unk == none {
		a.unk = id
	}
	a.byteFallback = !slices.Contains(a.bytes[:], none)
	if !a.byteFallback && a.unk == none {
		return nil, fmt.Errorf("the vocabulary has neither an unknown token nor all 256 byte tokens, so that some text has no ids")
	}
	a.addBOS = a.addBOS && a.bos != none
	a.addEOS = a.addEOS && len(a.eos) > 0
	return &Tokenizer{vocab: a.vocab, settings: a.settings}, nil
}

// rankByScore orders merges by falling score; equal scores share a rank, so
// that the leftmost wins.
func (a *assembler) rankByScore() {
	if a.scoresFall() {
		return
	}
	byScore := make([]int32, 0, a.len())
	for id := range a.kinds {
		if a.kinds[id] == normal {
			byScore = append(byScore, int32(id))
		}
	}
	slices.SortStableFunc(byScore, func(i, j int32) int { return cmp.Compare(a.scores[j], a.scores[i]) })
	a.ranks = slices.Repeat([]uint32{unranked}, a.len())
	rank := uint32(0)
	for i, id := range byScore {
		if i > 0 && a.scores[id] != a.scores[byScore[i-1]] {
			rank++
		}
		a.ranks[id] = rank
	}
}

// scoresFall reports whether the scores of normal pieces fall as ids rise.
func (a *assembler) scoresFall() bool {
	last := float32(math.Inf(1))
	for id, k := range a.kinds {
		if k != normal {
			continue
		}
		if !(a.scores[id] < last) {
			return false
		}
		last = a.scores[id]
	}
	return true
}

// appendPlain appends a piece with its "▁" turned into spaces. Pieces are short:
// one loop over the bytes takes half the time of bytes.Index and copying, and
// opening a vocabulary is mostly this.
func appendPlain(dst, piece []byte) []byte {
	start := len(dst)
	n := start
	dst = slices.Grow(dst, len(piece))[:start+len(piece)]
	for _, b := range piece {
		dst[n] = b
		n++
		if b == spaceMark[2] && n-start >= 3 && dst[n-3] == spaceMark[0] && dst[n-2] == spaceMark[1] {
			n -= 2
			dst[n-1] = ' '
		}
	}
	return dst[:n]
}

// parseByte reads the spelling of a byte token, <0x00> to <0xFF>.
func parseByte(piece string) (byte, bool) {
	if len(piece) != 6 || !strings.HasPrefix(piece, "<0x") || piece[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(piece[3:5], 16, 8)
	return byte(b), err == nil
}

// isMarkup reports whether a piece is spelled like a token of which prompts are
// built rather than like text. Sources disagree about these: Gemma 3's
// tokenizer.model has <start_of_turn> and <unused7> as user-defined, its GGUF
// files as control tokens, but <start_of_image> as user-defined; its
// tokenizer.json marks only nine tokens special.
func isMarkup(piece string) bool {
	switch piece {
	case "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "[@BOS@]", "[multimodal]":
		return true
	}
	name, ok := strings.CutPrefix(piece, "<")
	name, closed := strings.CutSuffix(name, ">")
	if !ok || !closed || len(name) < 2 {
		return false
	}
	if number, ok := strings.CutPrefix(name, "unused"); ok {
		_, err := strconv.ParseUint(number, 10, 32)
		return err == nil
	}
	return strings.HasPrefix(name, "start_of_") || strings.HasPrefix(name, "end_of_") ||
		strings.HasSuffix(name, "_soft_token") || name[0] == '|' || name[len(name)-1] == '|'
}
