package tokenizer

import (
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// maxRun bounds a run in bytes, so that places in it fit an int32. No text
// reaches it; a run that did would be cut there.
const maxRun = 1 << 30

// encoder is what encoding needs beside the vocabulary. Building it for 262,144
// pieces takes about 10 ms when a program starts, so it waits until it pays.
type encoder struct {
	*index
	symbols *trie
	ascii   [utf8.RuneSelf]int32 // the piece of each ASCII character, or none
	longest int                  // bytes of the longest normal piece
	// joins are the bytes that are neighbours in some piece.
	// Where two characters meet whose bytes are not, no merge can ever join
	// them, so the text can be cut there and the parts encoded alone: nothing
	// but "> </" has a space inside in Gemma 3's vocabulary.
	joins pairs
	// whole has two bits a piece: 1 says that the piece's own text has been
	// encoded, 2 that it came out as that one piece. Most words of a text are
	// such pieces, and need one lookup from the second time on.
	whole []atomic.Uint32
}

// ready is the encoder of every text.
func (t *Tokenizer) ready() *encoder {
	t.once.Do(func() { t.encoder.Store(newEncoder(&t.vocab, allPairs)) })
	return t.encoder.Load()
}

const (
	// fewBytes is how long a text may be for an encoder of its own.
	fewBytes = 4096
	// fewTexts is how many such texts come before the encoder of every text is
	// worth its time.
	fewTexts = 4
)

// encoderFor is an encoder of text. A program that is started for one prompt
// spends 2 ms on the pieces that can occur in it, not 10 on all of them.
func (t *Tokenizer) encoderFor(text string) *encoder {
	if e := t.encoder.Load(); e != nil {
		return e
	}
	if len(text) <= fewBytes && t.texts.Add(1) <= fewTexts {
		return newEncoder(&t.vocab, pairsOf(text))
	}
	return t.ready()
}

// newEncoder makes an encoder of the texts whose neighbouring bytes are pairs:
// a piece with others occurs in none of them.
func newEncoder(v *vocab, within *pairs) *encoder {
	ids := v.where(func(k kind, piece []byte) bool { return k == normal && within.spell(piece) })
	e := &encoder{whole: make([]atomic.Uint32, v.len()/16+1)}
	var wait sync.WaitGroup
	wait.Go(func() { e.index = newIndex(v, ids) }) // three quarters of the work
	e.symbols = newTrie(v, within)
	for _, id := range ids {
		e.learn(v.piece(id))
	}
	wait.Wait()
	for c := range e.ascii {
		e.ascii[c] = e.find(string(rune(c)))
	}
	return e
}

func (e *encoder) learn(piece []byte) {
	e.longest = max(e.longest, len(piece))
	for i := 1; i < len(piece); i++ {
		e.joins.add(piece[i-1], piece[i])
	}
}

// Encode turns text into tokens. What looks like a control token in it is
// ordinary text, and no BOS is put before it: the spans of the tokens tile text.
func (t *Tokenizer) Encode(text string) []Token { return t.encode(text, false) }

// EncodeSpecial is Encode, but control tokens spelled out in the text become
// those tokens. It is for prompts written by the program: text from elsewhere
// could end a turn, or start one.
func (t *Tokenizer) EncodeSpecial(text string) []Token { return t.encode(text, true) }

func (t *Tokenizer) encode(text string, special bool) []Token {
	if text == "" || t.len() == 0 {
		return nil
	}
	if strings.Contains(text, spaceMark) {
		return t.encodeMarked(text, special)
	}
	if !t.spacePrefix {
		return t.encoderFor(text).encode(text, special)
	}
	text = " " + text
	tokens := t.encoderFor(text).encode(text, special)
	for i := range tokens {
		tokens[i].From = max(tokens[i].From-1, 0)
		tokens[i].To--
	}
	return tokens
}

// encodeMarked reads "▁" as the space that it spells in vocabularies, as
// SentencePiece does, and gives the spans in the text as it is.
func (t *Tokenizer) encodeMarked(text string, special bool) []Token {
	tokens := t.encode(strings.ReplaceAll(text, spaceMark, " "), special)
	plain, at := 0, 0 // the same place with spaces and with marks
	for i, x := range tokens {
		tokens[i].From = at
		for ; plain < x.To; plain++ {
			if strings.HasPrefix(text[at:], spaceMark) {
				at += len(spaceMark)
			} else {
				at++
			}
		}
		tokens[i].To = at
	}
	return tokens
}

func (e *encoder) encode(text string, special bool) []Token {
	// English prose takes 4.4 bytes a token, code and other scripts 2 to 4. Room
	// that stays empty costs less than moving to a larger one.
	dst := make([]Token, 0, len(text)/3+4)
	for at := 0; at < len(text); {
		end, symbol, size := e.run(text, at, special)
		if end > at {
			dst = e.encodeRun(dst, text[at:end], at)
		}
		if size > 0 {
			dst = append(dst, Token{symbol, end, end + size})
		}
		at = end + size
	}
	return dst
}

// run finds the end of the run that starts at from: the next place that no
// piece spans, or that holds a symbol, which it returns with its size.
func (e *encoder) run(text string, from int, special bool) (end int, symbol int32, size int) {
	for i := from; i < len(text); {
		b := text[i]
		if e.symbols.lead[b] {
			if symbol, size = e.symbols.match(text[i:], special); size > 0 {
				return i, symbol, size
			}
		}
		if i > from && (!e.joins.has(text[i-1], b) || i-from >= maxRun) {
			return i, none, 0
		}
		i += charLen(text[i:])
	}
	return len(text), none, 0
}

// charLen is the length of the first character; a byte that is not valid UTF-8
// is one by itself.
func charLen(text string) int {
	if text[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(text)
	return n
}

// encodeRun encodes a run, which starts at from in the text.
func (e *encoder) encodeRun(dst []Token, run string, from int) []Token {
	id := none
	if len(run) <= e.longest {
		id = e.find(run)
	}
	if id != none && e.isWhole(id) {
		return append(dst, Token{id, from, from + len(run)})
	}
	before := len(dst)
	dst = e.merge(dst, run, from)
	if id != none {
		e.setWhole(id, len(dst) == before+1 && dst[before].ID == id)
	}
	return dst
}

func (e *encoder) isWhole(id int32) bool {
	return e.whole[id/16].Load()>>(id%16*2)&2 != 0
}

func (e *encoder) setWhole(id int32, whole bool) {
	mark := uint32(1)
	if whole {
		mark |= 2
	}
	e.whole[id/16].Or(mark << (id % 16 * 2))
}

// emit appends the token of a symbol that ended up as text: piece id, or the
// piece of a single character, or its byte tokens.
func (e *encoder) emit(dst []Token, id int32, text string, from int) []Token {
	if id == none {
		if len(text) == 1 && text[0] < utf8.RuneSelf {
			id = e.ascii[text[0]]
		} else {
			id = e.find(text)
		}
	}
	if id != none {
		return append(dst, Token{id, from, from + len(text)})
	}
	if !e.byteFallback {
		return e.emitUnknown(dst, text, from)
	}
	for i := range len(text) {
		dst = append(dst, Token{e.bytes[text[i]], from + i, from + i + 1})
	}
	return dst
}

// emitUnknown appends the unknown token, one for a stretch of characters.
func (e *encoder) emitUnknown(dst []Token, text string, from int) []Token {
	if n := len(dst); n > 0 && dst[n-1].ID == e.unk && dst[n-1].To == from {
		dst[n-1].To += len(text)
		return dst
	}
	return append(dst, Token{e.unk, from, from + len(text)})
}
