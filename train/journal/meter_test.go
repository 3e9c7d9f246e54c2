package journal

import (
	"math"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	m := NewMeter(Work{Steps: 100, Done: 40, FLOPsPerToken: 6e9, Peak: 60e12})
	now := time.Unix(0, 0)
	p := m.Step(now, Sample{Tokens: 1000, Loss: 3}) // compiles
	if p.Step != 41 || p.TokensPerSecond != 0 || p.Left != 0 || p.Loss != 3 {
		t.Errorf("after one step: %+v", p)
	}
	for range 9 {
		now = now.Add(500 * time.Millisecond)
		p = m.Step(now, Sample{Tokens: 1000, Loss: 3, Memory: 4.1e9})
	}
	if p.Step != 50 || math.Abs(p.TokensPerSecond-2000) > 1e-6 || math.Abs(p.MFU-0.2) > 1e-9 || math.Abs(p.Loss-3) > 1e-12 || p.Left.Round(time.Millisecond) != 25*time.Second {
		t.Errorf("after ten: %+v", p)
	}
	if got, want := p.String(), "step 50/100  loss 3.0000  2000 tok/s  MFU 20.0 %  4.1 GB  25s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if v := p.Values(); len(v) != 3 || v["memory"] != 4.1e9 {
		t.Errorf("values %v", v)
	}
}

// Evaluations do not slow the rate down, and count in what is left.
func TestMeterPauses(t *testing.T) {
	m := NewMeter(Work{Steps: 1000})
	now := time.Unix(0, 0)
	var p Progress
	for range 101 {
		now = now.Add(time.Second)
		p = m.Step(now, Sample{Tokens: 10, Loss: 1})
		m.Pause(now)
		now = now.Add(time.Second)
		m.Resume(now)
	}
	if math.Abs(p.TokensPerSecond-10) > 1e-9 {
		t.Errorf("rate %v", p.TokensPerSecond)
	}
	if p.Left < 1790*time.Second || p.Left > 1800*time.Second {
		t.Errorf("left %v", p.Left)
	}
	if p.MFU != 0 || p.Values()["mfu"] != 0 {
		t.Error("a utilisation of nothing that is known")
	}
}

// The rate follows a change within a minute, and not within a second.
func TestMeterSmooths(t *testing.T) {
	m := NewMeter(Work{Steps: 1000})
	now := time.Unix(0, 0)
	run := func(steps int, each time.Duration) (p Progress) {
		for range steps {
			now = now.Add(each)
			p = m.Step(now, Sample{Tokens: 100})
		}
		return p
	}
	run(100, time.Second)
	if p := run(1, 2*time.Second); p.TokensPerSecond < 90 {
		t.Errorf("after one slow step: %v", p.TokensPerSecond)
	}
	if p := run(30, 2*time.Second); p.TokensPerSecond > 55 {
		t.Errorf("after a slow minute: %v", p.TokensPerSecond)
	}
}

func TestMeterSkipsBrokenLosses(t *testing.T) {
	m := NewMeter(Work{Steps: 3})
	m.Step(time.Unix(0, 0), Sample{Loss: 2})
	if p := m.Step(time.Unix(1, 0), Sample{Loss: math.NaN()}); p.Loss != 2 {
		t.Errorf("loss %v", p.Loss)
	}
	if p := m.Step(time.Unix(1, 0), Sample{Loss: 2}); p.Loss != 2 || p.Step != 3 { // a clock that stands still
		t.Errorf("%+v", p)
	}
}
