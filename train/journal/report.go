package journal

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Report is what the run's page says besides its curves and its recipe, which
// it takes from the folder.
type Report struct {
	Title string
	// Summary is a sentence or two at the top.
	Summary     string
	Scores      []Fact
	Environment []Fact
	// Tables are what the data is, what evaluations gave, what it cost.
	Tables  []Table
	Samples []Text
}

// Fact is a named value.
type Fact struct{ Name, Value string }

// Table is rows of text under a title. Columns whose cells are numbers are set
// to the right.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
	Note    string
}

// Text is something the model wrote.
type Text struct {
	Step         int
	Prompt, Text string
}

//go:embed report.html.tmpl
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// Numbers says of each column whether all its cells are numbers, with a unit or
// without.
func (t Table) Numbers() []bool {
	width := len(t.Columns)
	for _, row := range t.Rows {
		width = max(width, len(row))
	}
	all := make([]bool, width)
	for i := range all {
		all[i] = len(t.Rows) > 0
		for _, row := range t.Rows {
			all[i] = all[i] && (i >= len(row) || strings.IndexAny(row[i], "0123456789-+−.") == 0)
		}
	}
	return all
}

// Report writes report.html: one page that needs nothing else, with the curves
// of all metrics.
func (j *Journal) Report(r Report) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return WriteReport(j.dir, r)
}

// WriteReport is [Journal.Report] of a run that nobody writes any more.
func WriteReport(dir string, r Report) error {
	metrics, err := ReadMetrics(dir)
	if err != nil {
		return err
	}
	timing, err := ReadTiming(dir)
	if err != nil {
		return err
	}
	recipe, err := os.ReadFile(filepath.Join(dir, recipeFile))
	if err != nil {
		return err
	}
	if r.Title == "" {
		r.Title = filepath.Base(dir)
	}
	var out bytes.Buffer
	err = page.Execute(&out, struct {
		Report
		Recipe                                  string
		Charts                                  []chart
		Width, Height, Left, Right, Top, Bottom float64
	}{r, string(recipe), charts(curves(metrics), curves(timing)),
		chartWidth, chartHeight, chartLeft, chartWidth - chartRight, chartTop, chartHeight - chartBottom})
	if err != nil {
		return fmt.Errorf("%s: %w", reportFile, err)
	}
	return writeWhole(filepath.Join(dir, reportFile), out.Bytes())
}

// curves are the metrics of lines, by name in the order they appear.
func curves(lines []Line) []curve {
	var all []curve
	index := map[string]int{}
	for _, l := range lines {
		for name, v := range l.Values {
			if name == timeKey {
				continue
			}
			i, ok := index[name]
			if !ok {
				i = len(all)
				index[name] = i
				all = append(all, curve{name: name})
			}
			all[i].x, all[i].y = append(all[i].x, float64(l.Step)), append(all[i].y, v)
		}
	}
	slices.SortFunc(all, func(a, b curve) int { return strings.Compare(a.name, b.name) })
	return all
}

// charts has the losses in one frame and every other metric in its own.
func charts(metrics, timing []curve) []chart {
	var all []chart
	add := func(title string, curves []curve, log bool) {
		if c, ok := newChart(len(all), title, curves, log); ok {
			all = append(all, c)
		}
	}
	isLoss := func(c curve) bool { return c.name == "loss" || strings.HasSuffix(c.name, "_loss") }
	var losses []curve
	for _, c := range metrics { // loss before validation_loss
		if isLoss(c) {
			losses = append(losses, c)
		}
	}
	add("Loss", losses, false)
	for _, c := range metrics {
		if !isLoss(c) {
			add(titleOf(c.name), []curve{c}, c.name == "gradient_norm")
		}
	}
	for _, c := range timing {
		add(titleOf(c.name), []curve{c}, false)
	}
	return all
}

var titles = map[string]string{
	"lr": "Learning rate", "tokens_per_second": "Tokens a second", "mfu": "Utilisation (MFU)", "memory": "Memory, bytes",
}

func titleOf(name string) string {
	if t, ok := titles[name]; ok {
		return t
	}
	text := strings.ReplaceAll(name, "_", " ")
	if text == "" {
		return "(no name)"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
