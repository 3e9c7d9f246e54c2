package journal

import (
	"fmt"
	"math"
	"strings"
	"time"

	"lapidary/hub"
)

// Work is what a meter measures against.
type Work struct {
	Steps int // of the run
	Done  int // before this process began
	// FLOPsPerToken of a training step, forward and backward, and the Peak of
	// the devices together in FLOP/s give the utilisation (MFU, PaLM's:
	// arXiv:2204.02311, appendix B); 0 where they are not known.
	FLOPsPerToken, Peak float64
}

// Sample is one step.
type Sample struct {
	Tokens int
	Loss   float64
	Memory int64 // bytes in use; 0 where it is not known
}

// Progress is where a run is.
type Progress struct {
	Step, Steps int
	// Loss is smoothed over about the last 20 steps.
	Loss float64
	// TokensPerSecond is that of about the last 20 seconds, pauses left out; 0
	// while too little is known.
	TokensPerSecond float64
	MFU             float64 // 0 to 1; 0 where it is not known
	Memory          int64
	Left            time.Duration // 0 while it is not known
}

// Meter turns steps into rates. The first step is not measured: it compiles.
type Meter struct {
	work Work
	at   Progress

	last, paused    time.Time
	pause           time.Duration // since last
	pauses          time.Duration // in all
	steps           int           // that were measured
	tokens, seconds float64       // fading with time
	loss, weight    float64       // fading with steps
	stepSeconds     float64
	stepCount       float64
}

const (
	fadeSeconds = 20.0
	fadeSteps   = 20.0
)

// NewMeter measures from now on.
func NewMeter(w Work) *Meter {
	return &Meter{work: w, at: Progress{Step: w.Done, Steps: w.Steps}}
}

// Pause begins a time that is not a step's: an evaluation, a checkpoint.
func (m *Meter) Pause(now time.Time) { m.paused = now }

// Resume ends it.
func (m *Meter) Resume(now time.Time) {
	if !m.paused.IsZero() {
		m.pause += now.Sub(m.paused)
		m.paused = time.Time{}
	}
}

// Step records a step that has just been done.
func (m *Meter) Step(now time.Time, s Sample) Progress {
	m.at.Step++
	m.at.Memory = s.Memory
	if !math.IsNaN(s.Loss) && !math.IsInf(s.Loss, 0) {
		fade := math.Exp(-1 / fadeSteps)
		m.loss, m.weight = m.loss*fade+s.Loss, m.weight*fade+1
		m.at.Loss = m.loss / m.weight
	}
	m.pauses += m.pause
	if !m.last.IsZero() {
		m.time((now.Sub(m.last) - m.pause).Seconds(), s.Tokens)
	}
	m.last, m.pause = now, 0
	return m.at
}

func (m *Meter) time(seconds float64, tokens int) {
	if seconds <= 0 {
		return
	}
	fade := math.Exp(-seconds / fadeSeconds)
	m.tokens, m.seconds = m.tokens*fade+float64(tokens), m.seconds*fade+seconds
	m.stepSeconds, m.stepCount = m.stepSeconds*fade+seconds, m.stepCount*fade+1
	m.steps++
	m.at.TokensPerSecond = m.tokens / m.seconds
	if m.work.Peak > 0 {
		m.at.MFU = m.at.TokensPerSecond * m.work.FLOPsPerToken / m.work.Peak
	}
	each := m.stepSeconds/m.stepCount + m.pauses.Seconds()/float64(m.steps)
	m.at.Left = time.Duration(each * float64(max(0, m.at.Steps-m.at.Step)) * float64(time.Second))
}

// Values are the figures for [Journal.Timing], those that are known.
func (p Progress) Values() map[string]float64 {
	v := map[string]float64{}
	for name, x := range map[string]float64{"tokens_per_second": p.TokensPerSecond, "mfu": p.MFU, "memory": float64(p.Memory)} {
		if x > 0 {
			v[name] = x
		}
	}
	return v
}

// String is one line for a terminal.
func (p Progress) String() string {
	parts := []string{fmt.Sprintf("step %d/%d", p.Step, p.Steps), fmt.Sprintf("loss %.4f", p.Loss)}
	if p.TokensPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.0f tok/s", p.TokensPerSecond))
	}
	if p.MFU > 0 {
		parts = append(parts, fmt.Sprintf("MFU %.1f %%", 100*p.MFU))
	}
	if p.Memory > 0 {
		parts = append(parts, hub.HumanSize(p.Memory))
	}
	if p.Left > 0 {
		parts = append(parts, p.Left.Round(time.Second).String()+" left")
	}
	return strings.Join(parts, "  ")
}
