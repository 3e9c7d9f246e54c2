package main

import (
	"strings"
	"testing"
	"time"
)

func TestRateOverTheLastSeconds(t *testing.T) {
	var w window
	now := time.Unix(0, 0)
	if !w.add(now, 5e6) {
		t.Error("the first mark is not told from later ones")
	}
	if w.rate() != 0 {
		t.Error("a rate after one mark")
	}
	for i := range 300 { // 30 s at 1 MB/s in bursts, then 30 s at 2 MB/s
		now = now.Add(100 * time.Millisecond)
		w.add(now, 5e6+int64(i/10)*1e6)
	}
	if r := w.rate(); r < 0.9e6 || r > 1.1e6 {
		t.Errorf("%.0f bytes a second, want about 1e6", r)
	}
	for i := range 300 {
		now = now.Add(100 * time.Millisecond)
		w.add(now, 35e6+int64(i/10)*2e6)
	}
	if r := w.rate(); r < 1.8e6 || r > 2.2e6 {
		t.Errorf("%.0f bytes a second, want about 2e6", r)
	}
	if got := w.line(20e6); !strings.HasSuffix(got, " left") {
		t.Errorf("%q", got)
	}
	now = now.Add(time.Second)
	w.add(now, 0)
	if w.rate() != 0 || len(w.marks) != 1 {
		t.Errorf("rate %.0f after a new start", w.rate())
	}
}
