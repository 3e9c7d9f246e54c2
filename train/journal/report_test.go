package journal

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"math/rand/v2"
)

// example is a run with a page: curves of 3,000 steps with noise.
func example(t *testing.T) *Journal {
	t.Helper()
	j := create(t, Options{})
	random := rand.New(rand.NewPCG(3, 4))
	for n := 1; n <= 3000; n++ {
		x := float64(n)
		err := j.Metrics(n, map[string]float64{
			"loss": 2 + 6*math.Exp(-x/300) + 0.15*random.NormFloat64(), "lr": 3e-4 * math.Min(1, x/100) * 0.5 * (1 + math.Cos(math.Pi*x/3000)),
			"gradient_norm": math.Exp(0.3*random.NormFloat64()) * (0.5 + 20/x)})
		if n%250 == 0 {
			err = errors.Join(err, j.Metrics(n, map[string]float64{"validation_loss": 2.1 + 6*math.Exp(-x/300), "accuracy": 1 - math.Exp(-x/900)}))
		}
		if n%10 == 0 {
			err = errors.Join(err, j.Timing(n, map[string]float64{"tokens_per_second": 136e3 + 2e3*random.NormFloat64(), "memory": 12.1e9, "mfu": 0.28}))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return j
}

func exampleReport() Report {
	return Report{
		Title: "A small Gemma 3 on <texts>", Summary: "3,000 steps from random weights.",
		Scores:      []Fact{{"Held-out perplexity", "8.17"}, {"Tokens", "24.6 M"}},
		Environment: []Fact{{"Device", "CPU, 2 cores"}},
		Tables:      []Table{{"Data", []string{"Source", "Documents", "Tokens"}, [][]string{{"texts/*.txt", "1,204", "3.1 M"}}, "12 duplicates were left out."}},
		Samples:     []Text{{3000, "Once upon", " a time <b>there</b> & then"}},
	}
}

func TestReport(t *testing.T) {
	j := example(t)
	if err := j.Report(exampleReport()); err != nil {
		t.Fatal(err)
	}
	text := read(t, j.Dir(), reportFile)
	if out := os.Getenv("JOURNAL_TEST_REPORT"); out != "" { // to look at it
		if err := os.WriteFile(out, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"<title>A small Gemma 3 on &lt;texts&gt;</title>", "Held-out perplexity", "8.17", "lr: 0.001", "1,204", "12 duplicates",
		"&lt;b&gt;there&lt;/b&gt;", "CPU, 2 cores", "Tokens a second over steps", "validation_loss goes from ", "Gradient norm (logarithmic)", "prefers-color-scheme: dark",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if found := regexp.MustCompile(`(?i)https?:|<script|<link|<img|url\(|@import`).FindString(text); found != "" {
		t.Errorf("the page needs something else: %s", found)
	}
	wellFormed(t, text)
	if len(text) > 200_000 {
		t.Errorf("the page has %d bytes", len(text))
	}
}

// wellFormed checks that the charts are XML, that each has a name and a
// description, and that all points are in the frame.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	charts := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1)
	if len(charts) != 7 {
		t.Errorf("%d charts, want 7: loss, accuracy, gradient, rate, memory, utilisation, tokens", len(charts))
	}
	for _, c := range charts {
		for d := xml.NewDecoder(strings.NewReader(c)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %.200s", err, c)
			}
		}
		id := regexp.MustCompile(`aria-labelledby="(\w+) (\w+)"`).FindStringSubmatch(c)
		if id == nil || !strings.Contains(c, `<title id="`+id[1]+`"`) || !strings.Contains(c, `<desc id="`+id[2]+`"`) {
			t.Errorf("a chart has no name: %.200s", c)
		}
		if strings.Contains(c, "NaN") || strings.Contains(c, "Inf") || regexp.MustCompile(`[ "]-\d`).MatchString(c) {
			t.Errorf("a point is outside: %.300s", c)
		}
	}
}

// A run that has just begun, or went wrong at once, has a page too.
func TestReportOfLittle(t *testing.T) {
	for name, values := range map[string][]float64{
		"nothing": {}, "one": {3}, "equal": {2, 2}, "zero": {0}, "not numbers": {math.NaN(), math.Inf(1)}, "huge": {1e300, -1e300}, "some": {math.NaN(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			j := create(t, Options{})
			for i, v := range values {
				if err := j.Metrics(i+1, map[string]float64{"loss": v, "gradient_norm": v}); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Report(Report{}); err != nil {
				t.Fatal(err)
			}
			text := read(t, j.Dir(), reportFile)
			if strings.Contains(text, "ZgotmplZ") || regexp.MustCompile(`points="[^"]*(NaN|Inf)`).MatchString(text) || !strings.Contains(text, "<h1>run</h1>") {
				t.Errorf("got %s", text[strings.Index(text, "<h1>"):])
			}
		})
	}
	if err := WriteReport(filepath.Join(t.TempDir(), "none"), Report{}); err == nil {
		t.Error("a run that is not there has a page")
	}
}

func TestThinKeepsSpikes(t *testing.T) {
	c := curve{name: "loss"}
	for i := range 100_000 {
		c.x, c.y = append(c.x, float64(i)), append(c.y, 1)
	}
	c.y[54_321], c.y[77_777] = 9, -9
	thin := c.thin()
	r := thin.row()
	if len(thin.x) != 2*maxPoints || r.Most != "9" || r.Least != "-9" {
		t.Errorf("%d points from %s to %s", len(thin.x), r.Least, r.Most)
	}
	for i := 1; i < len(thin.x); i++ {
		if thin.x[i] < thin.x[i-1] {
			t.Fatal("the points are not in order")
		}
	}
}

// A line stays a line when it is smoothed, and noise shrinks.
func TestSmooth(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	line, noise := curve{}, curve{}
	for i := range 1000 {
		line.x, line.y = append(line.x, float64(i)), append(line.y, 3*float64(i))
		noise.x, noise.y = append(noise.x, float64(i)), append(noise.y, random.NormFloat64())
	}
	straight, quiet := line.smooth(), noise.smooth()
	for i := 300; i < 700; i++ {
		if math.Abs(straight.y[i]-line.y[i]) > 0.01 {
			t.Fatalf("point %d is %v, want %v", i, straight.y[i], line.y[i])
		}
		if math.Abs(quiet.y[i]) > 0.6 {
			t.Fatalf("noise at %d is still %v", i, quiet.y[i])
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		from, to float64
		log      bool
		want     string
	}{
		{0, 10, false, "0 2 4 6 8 10"},
		{1.9, 8.2, false, "2 3 4 5 6 7 8"},
		{0, 3e-4, false, "0 5e-5 0.0001 0.00015 0.0002 0.00025 0.0003"},
		{100e3, 160e3, false, "100 k 110 k 120 k 130 k 140 k 150 k 160 k"},
		{-2, 2, true, "0.01 0.1 1 10 100"},
	} {
		a := &axis{c.from, c.to, c.log}
		var got []string
		for _, k := range a.ticks(8) {
			got = append(got, k.Text)
		}
		if c.want != strings.Join(got, " ") {
			t.Errorf("%v to %v: got %v, want %s", c.from, c.to, got, c.want)
		}
	}
}
