package lapidary_test

import (
	"math"
	"testing"

	"lapidary"
	"lapidary/hub"
)

// TestBuiltInModel scores one text with a trained, quantised model that nobody
// has to download: every engine agrees with the reference, and the text is
// likelier than the same words in another order.
func TestBuiltInModel(t *testing.T) {
	t.Setenv("LAPIDARY_HOME", t.TempDir())
	const text = "Symptoms of diabetes include high blood sugar. The doctor may do a blood test to find the cause of the disease."
	const jumbled = "of the to cause find disease the test. blood a do may doctor The sugar blood high include diabetes of Symptoms."
	score := func(engine, text string) (sum float64, each []lapidary.Token) {
		m, err := lapidary.Open(t.Context(), hub.BuiltIn, lapidary.WithEngine(engine))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if each, err = m.Score(t.Context(), text, 0); err != nil {
			t.Fatal(err)
		}
		for _, s := range each {
			sum += float64(s.LogProb)
		}
		return sum / float64(len(each)), each
	}
	mean, want := score("ref", text)
	if other, _ := score("ref", jumbled); mean < other+1 {
		t.Errorf("the text has %.3f nats a token, its words in disorder %.3f: nothing was learnt", mean, other)
	}
	for _, engine := range lapidary.Engines() {
		_, got := score(engine, text)
		if len(got) != len(want) {
			t.Fatalf("%s scores %d tokens, want %d", engine, len(got), len(want))
		}
		worst := 0.0
		for i := range want {
			worst = max(worst, math.Abs(float64(got[i].LogProb-want[i].LogProb)))
		}
		t.Logf("%s: %.4f at worst", engine, worst)
		allowed := 0.02 // some ten times of what was seen
		if engine == "cpu-fast" {
			allowed = 0.3 // it rounds activations to eight bits
		}
		if worst > allowed {
			t.Errorf("%s differs by %.4f in a token's log-probability", engine, worst)
		}
	}
}
