package plugin_test

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"lapidary/engine/graph/plugin"
)

// open is the CPU plugin; tests that need it are skipped where it is not.
func open(t *testing.T) compute.Backend {
	t.Helper()
	c, err := plugin.Best("cpu")
	if err != nil {
		t.Fatal(err)
	}
	if c.Plugin == nil {
		t.Skip(c.Reason)
	}
	b, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

func openPatched(t *testing.T) compute.Backend {
	t.Helper()
	b := open(t)
	if !plugin.Patched(b) {
		t.Skip("go-xla is not patched in this build: go test -overlay=$(scripts/overlay.sh)")
	}
	return b
}

// must unwraps what building a graph returns.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestParentValues sums inside and outside of a loop, whose body adds a value
// of the function around it on the left and on the right.
func TestParentValues(t *testing.T) {
	b := openPatched(t)
	val := must[compute.Value](t)
	scalar := shapes.Make(dtypes.Float32)
	builder := b.Builder(t.Name())
	f := builder.Main()
	vector := val(f.Parameter("vector", shapes.Make(dtypes.Float32, 3), nil))
	sum := val(f.ReduceSum(vector))

	cond := must[compute.Function](t)(f.Closure())
	less := val(cond.LessThan(val(cond.Parameter("x", scalar, nil)), val(cond.Constant([]float32{20}))))
	check(t, cond.Return([]compute.Value{less}, nil))

	body := must[compute.Function](t)(f.Closure())
	x := val(body.Parameter("x", scalar, nil))
	x = val(body.Add(sum, x))
	x = val(body.Sub(x, sum))
	x = val(body.Add(x, val(body.ReduceSum(vector))))
	check(t, body.Return([]compute.Value{x}, nil))

	out := must[[]compute.Value](t)(f.While(cond, body, val(f.Constant([]float32{0}))))
	check(t, f.Return(out, nil))
	exec := must[compute.Executable](t)(builder.Compile())
	defer exec.Finalize()
	in := must[compute.Buffer](t)(b.BufferFromFlatData(0, []float32{1, 2, 3}, shapes.Make(dtypes.Float32, 3)))
	got := must[[]compute.Buffer](t)(exec.Execute([]compute.Buffer{in}, nil, 0))
	flat := make([]float32, 1)
	check(t, got[0].ToFlatData(flat))
	if flat[0] != 24 { // 6, 12, 18, 24
		t.Errorf("the loop ends at %v, want 24", flat[0])
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// doubling compiles a step that returns its state doubled, n floats.
func doubling(t *testing.T, b compute.Backend, n int) compute.Executable {
	t.Helper()
	builder := b.Builder("doubling")
	f := builder.Main()
	state := must[compute.Value](t)(f.Parameter("state", shapes.Make(dtypes.Float32, n), nil))
	next := must[compute.Value](t)(f.Add(state, state))
	check(t, f.Return([]compute.Value{next}, nil))
	return must[compute.Executable](t)(builder.Compile())
}

// TestDonation runs steps that overwrite their state.
func TestDonation(t *testing.T) {
	b := openPatched(t)
	plugin.Donate(b, func(name string) bool { return name == "state" })
	exec := doubling(t, b, 4)
	defer exec.Finalize()
	state := must[compute.Buffer](t)(b.BufferFromFlatData(0, []float32{1, 2, 3, 4}, shapes.Make(dtypes.Float32, 4)))
	kept := must[[]compute.Buffer](t)(exec.Execute([]compute.Buffer{state}, []bool{false}, 0))
	for range 3 {
		state = must[[]compute.Buffer](t)(exec.Execute([]compute.Buffer{state}, []bool{true}, 0))[0]
	}
	for _, c := range []struct {
		name string
		b    compute.Buffer
		want float32
	}{{"a state that was not given away", kept[0], 2}, {"three steps in place", state, 8}} {
		flat := make([]float32, 4)
		check(t, c.b.ToFlatData(flat))
		if flat[0] != c.want {
			t.Errorf("%s: %v, want %v", c.name, flat[0], c.want)
		}
	}
}

// TestDonationMemory holds a state of LAPIDARY_DONATE_MB (64) in a process of
// its own. With the patch its peak stays under what two states take; without,
// it is only told.
func TestDonationMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from /proc")
	}
	mb := 64
	if v, err := strconv.Atoi(os.Getenv("LAPIDARY_DONATE_MB")); err == nil {
		mb = v
	}
	b := open(t)
	if os.Getenv("LAPIDARY_DONATE_CHILD") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestDonationMemory$", "-test.v")
		child.Env = append(os.Environ(), "LAPIDARY_DONATE_CHILD=1")
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	plugin.Donate(b, func(string) bool { return true })
	step := doubling(t, b, mb<<18)
	defer step.Finalize()
	builder := b.Builder("zeros") // on the device: a host copy would count, too
	f := builder.Main()
	zero := must[compute.Value](t)(f.Constant([]float32{0}))
	zeros := must[compute.Value](t)(f.BroadcastInDim(zero, shapes.Make(dtypes.Float32, mb<<18), nil))
	check(t, f.Return([]compute.Value{zeros}, nil))
	state := must[[]compute.Buffer](t)(must[compute.Executable](t)(builder.Compile()).Execute(nil, nil, 0))[0]
	before := peakMB(t)
	for range 3 {
		state = must[[]compute.Buffer](t)(step.Execute([]compute.Buffer{state}, []bool{true}, 0))[0]
	}
	grown := peakMB(t) - before
	t.Logf("patched %v: %d MB of state, peak %d MB before the steps, %d MB more in them", plugin.Patched(b), mb, before, grown)
	if plugin.Patched(b) && grown > mb/2 {
		t.Errorf("steps on a donated state of %d MB take %d MB more", mb, grown)
	}
}

func peakMB(t *testing.T) int {
	t.Helper()
	status := must[[]byte](t)(os.ReadFile("/proc/self/status"))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb := must[int](t)(strconv.Atoi(strings.Fields(rest)[0]))
			return kb >> 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
