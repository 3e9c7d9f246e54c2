package generate

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"lapidary/gemma"
)

// certain makes a scripted model sure of itself: each state has one letter.
func certain(m *scripted) *scripted {
	m = m.salted(m.salt)
	m.sharpen = true
	return m
}

func TestModelDrafter(t *testing.T) {
	m := certain(newScripted(t))
	d := NewModelDrafter(m)
	defer d.Close()
	text := ids("a", "b")
	coming := func(n int) []int32 {
		all := slices.Clone(text)
		for range n {
			all = append(all, m.favourite(all))
		}
		return all[len(text):]
	}
	draft := func(n int) []int32 {
		t.Helper()
		got, err := d.Draft(t.Context(), text, cheap[:n+1])
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(got)
	}
	d.Restart(text)
	if got, want := draft(7), coming(7); !slices.Equal(got, want) {
		t.Fatalf("draft %d, want %d", got, want)
	}
	// All of it right, and one token more: only that is evaluated besides what is drafted.
	text = append(text, coming(8)...)
	m.passes = 0
	if got, want := draft(3), coming(3); !slices.Equal(got, want) || m.passes != 3 {
		t.Errorf("draft %d after %d passes, want %d after 3", got, m.passes, want)
	}
	// The second token wrong: the draft is as long as what was right, and one.
	text = append(text, coming(1)[0], other(coming(2)[1]))
	if got, want := draft(7), coming(2); !slices.Equal(got, want) {
		t.Errorf("draft %d after a wrong one, want %d", got, want)
	}
	// Another text that begins the same: what it shares is not evaluated again.
	text = append(slices.Clone(text[:6]), ids("e", "e")...)
	d.Restart(text)
	m.passes, m.evaluated = 0, 0
	if draft(1); m.evaluated != 2 {
		t.Errorf("%d tokens were evaluated of a text that shares all but 2", m.evaluated)
	}
}

func other(id int32) int32 {
	if id == ids("a")[0] {
		return id + 1
	}
	return id - 1
}

// TestModelDrafterSleeps counts the passes of a drafter that is never right.
func TestModelDrafterSleeps(t *testing.T) {
	m := certain(newScripted(t))
	d := NewModelDrafter(m)
	text := ids("a")
	d.Restart(text)
	drafts := 0
	for range 400 {
		draft, err := d.Draft(t.Context(), text, cheap)
		if err != nil {
			t.Fatal(err)
		}
		if len(draft) > 0 {
			drafts++
		}
		text = append(text, other(m.favourite(text)))
	}
	if drafts < 5 || drafts > 15 {
		t.Errorf("%d drafts were made in 400 tokens, want a few", drafts)
	}
	// As soon as one is right it is awake.
	for range 100 {
		text = append(text, m.favourite(text))
	}
	woken := 0
	for range 50 {
		draft, err := d.Draft(t.Context(), text, cheap)
		if err != nil {
			t.Fatal(err)
		}
		if len(draft) > 0 {
			woken++
		}
		text = append(text, m.favourite(text))
	}
	if woken < 45 {
		t.Errorf("%d drafts in 50 tokens of which each was right", woken)
	}
}

func TestModelDrafterLimits(t *testing.T) {
	m := certain(newScripted(t))
	m.context, m.vocab = 6, int(ids("d")[0])
	d := NewModelDrafter(m)
	for _, test := range []struct {
		name string
		text []int32
		want int
	}{
		{"room for three", ids("a", "b", "c"), 3},
		{"no room", ids("a", "b", "c", "a", "b", "c"), 0},
		{"longer than its context", ids("a", "b", "c", "a", "b", "c", "a"), 0},
		{"a token it does not know", ids("a", "e"), 0},
		{"the same text from there on", ids("a", "e", "a"), 0},
		{"another text", ids("a", "a"), 4},
	} {
		d.Restart(test.text)
		if got, err := d.Draft(t.Context(), test.text, cheap); err != nil || len(got) != test.want {
			t.Errorf("%s: draft %d, %v; want %d tokens", test.name, got, err, test.want)
		}
	}
}

// TestModelDrafterIsUnsure: a model that finds everything as likely guesses
// nothing, and is asked less and less.
func TestModelDrafterIsUnsure(t *testing.T) {
	m := newScripted(t)
	m.flat = true
	d, text := NewModelDrafter(m), ids("a")
	d.Restart(text)
	for range 100 {
		if draft, err := d.Draft(t.Context(), text, cheap); err != nil || len(draft) > 0 {
			t.Fatalf("draft %d, %v", draft, err)
		}
		text = append(text, text[0])
	}
	if m.passes > 12 {
		t.Errorf("the drafting model ran %d times for 100 tokens", m.passes)
	}
}

// TestModelDrafterIsSlow: a model that takes longer than the one it drafts for
// is asked until that is known.
func TestModelDrafterIsSlow(t *testing.T) {
	m, at := certain(newScripted(t)), time.Now()
	now = func() time.Time {
		at = at.Add(2 * time.Second)
		return at
	}
	defer func() { now = time.Now }()
	d, text := NewModelDrafter(m), ids("a", "b")
	d.Restart(text)
	for range 20 {
		if _, err := d.Draft(t.Context(), text, cheap); err != nil {
			t.Fatal(err)
		}
		text = append(text, m.favourite(text))
	}
	if m.passes > 3 {
		t.Errorf("the drafting model ran %d times", m.passes)
	}
}

func TestModelDrafterIsBroken(t *testing.T) {
	m := newScripted(t)
	m.after = func(out *gemma.Logits) {
		for i := range out.Row(0) {
			out.Row(0)[i] = float32(math.NaN())
		}
	}
	d := NewModelDrafter(m)
	d.Restart(ids("a"))
	if _, err := d.Draft(t.Context(), ids("a"), cheap); !errors.Is(err, ErrLogits) || !strings.HasPrefix(err.Error(), "the drafting model: ") {
		t.Errorf("error %v, want one that says whose logits are wrong", err)
	}
}
