package gemma

import (
	"strings"
	"testing"
)

// TestMobileNetRows: attentions share a pass, so they see as many keys; a stage
// may be too small for its soft tokens.
func TestMobileNetRows(t *testing.T) {
	m := &MobileNet{Tokens: 16, Stages: publishedMobileNet()}
	for pixels, want := range map[int]int{256: 64, 768: 576, 1024: 1024} {
		if got, err := m.rows(pixels); err != nil || got != want {
			t.Errorf("%d pixels: %d rows, %v; want %d", pixels, got, err, want)
		}
	}
	for pixels, says := range map[int]string{224: "224 pixels along an edge give 14 places", 700: "a multiple of 32", -32: "a multiple of 32"} {
		if _, err := m.rows(pixels); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%d pixels: %v, want %q", pixels, err, says)
		}
	}
	m.Stages[2][9].KeyStride = 1
	if _, err := m.rows(768); err == nil || !strings.Contains(err.Error(), "do not go together") {
		t.Errorf("other keys: %v", err)
	}
}
