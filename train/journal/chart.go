package journal

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizes of a chart in SVG units.
const (
	chartWidth, chartHeight = 640.0, 300.0
	chartLeft, chartRight   = 64.0, 16.0
	chartTop, chartBottom   = 14.0, 36.0
	plotWidth               = chartWidth - chartLeft - chartRight
	plotHeight              = chartHeight - chartTop - chartBottom
	maxPoints               = 400 // of a line: less than two pixels each
	smoothFrom              = 50  // points; fewer are shown as they are
)

// curve is a metric over steps.
type curve struct {
	name string
	x, y []float64
}

// chart is what the page's template draws.
type chart struct {
	ID, Title, Description string
	Lines                  []chartLine
	XTicks, YTicks         []tick
	Rows                   []chartRow // the same as text
}

type chartLine struct {
	Name, Points, Smooth, Last string
	Class                      int
	Dot                        *dot // of a line that is a single point
}

type dot struct{ X, Y float64 }

type chartRow struct {
	Name, First, Last, Least, Most string
	Count                          int
}

type tick struct {
	At   float64
	Text string
}

// newChart draws curves into one frame; false if there is nothing to draw.
func newChart(id int, title string, curves []curve, log bool) (chart, bool) {
	c := chart{ID: "chart" + strconv.Itoa(id), Title: title}
	if log {
		c.Title += " (logarithmic)"
	}
	x, y := newAxis(false), newAxis(log)
	for i := range curves {
		curves[i] = curves[i].finite(log)
		for k := range curves[i].x {
			x.include(curves[i].x[k])
			y.include(curves[i].y[k])
		}
	}
	if x.from > x.to {
		return c, false
	}
	x.widen()
	y.widen()
	c.XTicks, c.YTicks = x.ticks(8), y.ticks(6)
	for i, t := range c.XTicks {
		c.XTicks[i].At = chartLeft + t.At*plotWidth
	}
	for i, t := range c.YTicks {
		c.YTicks[i].At = chartTop + (1-t.At)*plotHeight
	}
	var says []string
	for _, v := range curves {
		if len(v.x) == 0 {
			continue
		}
		line := chartLine{Name: v.name, Class: len(c.Lines) % 4, Last: figure(v.y[len(v.y)-1])}
		points := v.thin()
		line.Points = points.path(x, y)
		if len(points.x) == 1 {
			line.Dot = &dot{}
			line.Dot.X, line.Dot.Y = at(x.place(points.x[0]), y.place(points.y[0]))
		}
		if len(v.x) >= smoothFrom {
			line.Smooth = v.smooth().thin().path(x, y)
		}
		c.Lines = append(c.Lines, line)
		row := v.row()
		c.Rows = append(c.Rows, row)
		says = append(says, fmt.Sprintf("%s goes from %s to %s over %d points", v.name, row.First, row.Last, row.Count))
	}
	c.Description = strings.Join(says, "; ") + "."
	return c, true
}

func (v curve) finite(log bool) curve {
	f := curve{name: v.name}
	for i, y := range v.y {
		if !math.IsNaN(y) && !math.IsInf(y, 0) && (!log || y > 0) {
			f.x, f.y = append(f.x, v.x[i]), append(f.y, y)
		}
	}
	return f
}

func (v curve) row() chartRow {
	least, most := v.y[0], v.y[0]
	for _, y := range v.y {
		least, most = min(least, y), max(most, y)
	}
	return chartRow{v.name, figure(v.y[0]), figure(v.y[len(v.y)-1]), figure(least), figure(most), len(v.y)}
}

// smooth is a mean that fades over a fiftieth of the curve to both sides, so
// that it does not lag behind.
func (v curve) smooth() curve {
	n := len(v.y)
	s := curve{v.name, v.x, make([]float64, n)}
	fade := math.Exp(-1 / max(5, float64(n)/50))
	sums, weights := make([]float64, n), make([]float64, n)
	sum, weight := 0.0, 0.0
	for i, y := range v.y {
		sums[i], weights[i] = sum, weight
		sum, weight = (sum+y)*fade, (weight+1)*fade
	}
	sum, weight = 0, 0
	for i := n - 1; i >= 0; i-- {
		s.y[i] = (sums[i] + v.y[i] + sum) / (weights[i] + 1 + weight)
		sum, weight = (sum+v.y[i])*fade, (weight+1)*fade
	}
	return s
}

// thin keeps the lowest and the highest point of each piece of a long curve, so
// that no spike is lost.
func (v curve) thin() curve {
	if len(v.x) <= 2*maxPoints {
		return v
	}
	t := curve{name: v.name}
	for piece := range maxPoints {
		from, to := piece*len(v.x)/maxPoints, (piece+1)*len(v.x)/maxPoints
		least, most := from, from
		for i := from; i < to; i++ {
			if v.y[i] < v.y[least] {
				least = i
			}
			if v.y[i] > v.y[most] {
				most = i
			}
		}
		for _, i := range []int{min(least, most), max(least, most)} {
			t.x, t.y = append(t.x, v.x[i]), append(t.y, v.y[i])
		}
	}
	return t
}

func (v curve) path(x, y *axis) string {
	var b strings.Builder
	for i := range v.x {
		px, py := at(x.place(v.x[i]), y.place(v.y[i]))
		fmt.Fprintf(&b, "%.1f,%.1f ", px, py)
	}
	return strings.TrimSpace(b.String())
}

// at is where a place between 0 and 1 each way is in the frame.
func at(x, y float64) (px, py float64) {
	return chartLeft + x*plotWidth, chartTop + (1-y)*plotHeight
}

// axis maps values to 0…1.
type axis struct {
	from, to float64
	log      bool
}

func newAxis(log bool) *axis { return &axis{math.Inf(1), math.Inf(-1), log} }

func (a *axis) scale(v float64) float64 {
	if a.log {
		return math.Log10(v)
	}
	return v
}

func (a *axis) include(v float64) {
	a.from, a.to = min(a.from, a.scale(v)), max(a.to, a.scale(v))
}

// widen leaves some room around the values.
func (a *axis) widen() {
	room := (a.to - a.from) * 0.03
	if room == 0 {
		room = max(math.Abs(a.to)*0.1, 1e-12)
	}
	a.from, a.to = a.from-room, a.to+room
}

func (a *axis) place(v float64) float64 { return (a.scale(v) - a.from) / (a.to - a.from) }

// ticks are at most most round values: 1, 2 or 5 times a power of ten apart; of
// a logarithmic axis powers of ten, while two are in sight.
func (a *axis) ticks(most int) []tick {
	step := math.Pow(10, math.Floor(math.Log10((a.to-a.from)/float64(most))))
	for _, f := range []float64{1, 2, 5, 10} {
		if (a.to-a.from)/(step*f) <= float64(most) {
			step *= f
			break
		}
	}
	if a.log && a.to-a.from >= 1.5 {
		step = max(1, math.Round(step))
	}
	var all []tick
	for i := math.Ceil(a.from / step); i*step <= a.to+step*1e-9 && len(all) <= most; i++ {
		v := i * step
		text := figure(v)
		if a.log {
			text = figure(math.Pow(10, v))
		}
		all = append(all, tick{(v - a.from) / (a.to - a.from), text})
	}
	return all
}

// figure is a number as people write it: four digits, thousands and millions.
func figure(v float64) string {
	switch m := math.Abs(v); {
	case m >= 1e9:
		return strconv.FormatFloat(v/1e9, 'g', 4, 64) + " G"
	case m >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + " M"
	case m >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + " k"
	case m == 0:
		return "0"
	case m < 1e-3:
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "e-0", "e-", 1)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
