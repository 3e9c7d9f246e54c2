package recipe

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// The rates are those of transformers' schedules at every step.
func TestScheduleAgainstTransformers(t *testing.T) {
	data, err := os.ReadFile("testdata/schedules.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Kind                 ScheduleKind
			Shape                Shape
			Peak, Floor          float64
			Warmup, Decay, Total int
			LR                   []float64
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Cases) != 18 {
		t.Fatal(err, len(golden.Cases))
	}
	for _, g := range golden.Cases {
		c := Curve{g.Kind, g.Peak, g.Floor, g.Warmup, g.Decay, g.Total, g.Shape}
		for step, want := range g.LR {
			if g.Kind == WSDSchedule && g.Floor > 0 && step < g.Warmup {
				continue // theirs rises from the floor here, and from 0 everywhere else
			}
			if got := c.LR(step); math.Abs(got-want) > 1e-15 {
				t.Errorf("%+v step %d: got %g, want %g", c, step, got, want)
			}
		}
	}
}

func TestScheduleClosedForms(t *testing.T) {
	for _, c := range []struct {
		name  string
		curve Curve
		step  int
		want  float64
	}{
		{"first", Curve{Kind: CosineSchedule, Peak: 2, Warmup: 10, Total: 110}, 0, 0},
		{"half way up", Curve{Kind: CosineSchedule, Peak: 2, Warmup: 10, Total: 110}, 5, 1},
		{"top", Curve{Kind: CosineSchedule, Peak: 2, Warmup: 10, Total: 110}, 10, 2},
		{"half way down", Curve{Kind: CosineSchedule, Peak: 2, Warmup: 10, Total: 110}, 60, 1},
		{"a third of a half-turn", Curve{Kind: CosineSchedule, Peak: 2, Total: 90}, 30, 1.5},
		{"end", Curve{Kind: CosineSchedule, Peak: 2, Warmup: 10, Total: 110, Floor: 0.25}, 110, 0.5},
		{"long after", Curve{Kind: CosineSchedule, Peak: 2, Warmup: 10, Total: 110, Floor: 0.25}, 300, 0.5},
		{"line", Curve{Kind: LinearSchedule, Peak: 1, Total: 4}, 1, 0.75},
		{"line with a floor", Curve{Kind: LinearSchedule, Peak: 1, Total: 4, Floor: 0.5}, 2, 0.75},
		{"line behind its end", Curve{Kind: LinearSchedule, Peak: 1, Total: 4}, 9, 0},
		{"stays", Curve{Kind: WSDSchedule, Peak: 1, Warmup: 2, Decay: 16, Total: 32, Shape: SqrtShape}, 16, 1},
		{"falls by a root", Curve{Kind: WSDSchedule, Peak: 1, Warmup: 2, Decay: 16, Total: 32, Shape: SqrtShape}, 20, 0.5},
		{"falls in a line", Curve{Kind: WSDSchedule, Peak: 1, Decay: 16, Total: 32, Shape: LinearShape}, 20, 0.75},
		{"constant", Curve{Kind: ConstantSchedule, Peak: 3, Total: 9}, 100, 3},
		{"warmup to the end", Curve{Kind: LinearSchedule, Peak: 1, Warmup: 4, Total: 4}, 4, 0},
	} {
		if got := c.curve.LR(c.step); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCurveOfAPart(t *testing.T) {
	r := Recipe{Schedule: Schedule{Kind: WSDSchedule, Warmup: 0.03, Decay: 0.25}, Optimizer: Optimizer{LR: 1}}
	if c := r.Curve(101); c.Warmup != 4 || c.Decay != 26 || c.Total != 101 {
		t.Errorf("got %+v", c)
	}
	r.Schedule.Warmup = 50
	if c := r.Curve(101); c.Warmup != 50 {
		t.Errorf("got %+v", c)
	}
}
