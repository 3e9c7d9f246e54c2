package plugin

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend" // registers "go"
	"github.com/gomlx/go-xla/installer"
)

// Choice is what a graph is to be compiled by.
type Choice struct {
	Config string  // for compute.NewWithConfig: xla:PATH, or go
	Plugin *Plugin // nil for the pure-Go backend and for what GOMLX_BACKEND names
	Reason string  // one sentence for the user where the choice is a makeshift; else ""
}

// GoBackend is the configuration of GoMLX's pure-Go backend.
const GoBackend = "go"

// Best chooses by kind: cpu, cuda, tpu, go, or auto (also ""), which is the
// best device that this machine has. Where no CPU plugin can be loaded the
// choice is the pure-Go backend, with the reason; a CUDA or TPU plugin that was
// asked for and is not there is an error that wraps [ErrNone].
func Best(kind string) (Choice, error) {
	if kind == GoBackend {
		return Choice{Config: GoBackend}, nil
	}
	if kind == "" || kind == "auto" {
		if c := os.Getenv(compute.ConfigEnvVar); c != "" {
			return Choice{Config: c}, nil
		}
		return bestOf(Kinds())
	}
	k := Kind(kind)
	switch k {
	case CPU:
		return bestOf([]Kind{CPU})
	case CUDA, TPU:
		if !canLoad {
			return Choice{}, fmt.Errorf("%s: %s: %w", kind, cannotLoad(), ErrNone)
		}
		c, err := bestOf([]Kind{k})
		if err == nil && c.Plugin == nil {
			err = fmt.Errorf("no XLA plugin for %s that can be used on this machine (%s): %w; lapidary engine install %[1]s brings one", kind, c.Reason, ErrNone)
		}
		return c, err
	}
	return Choice{}, fmt.Errorf("%q is no kind of device; it is auto, cpu, cuda, tpu or go", kind)
}

func bestOf(kinds []Kind) (Choice, error) {
	if !canLoad {
		return fallback(cannotLoad()), nil
	}
	found, err := List()
	why := "no XLA plugin is installed; lapidary engine install cpu brings one"
	for _, k := range kinds {
		if !present(k) {
			if len(kinds) == 1 {
				why = "the machine shows no such device"
			}
			continue
		}
		for _, p := range found {
			if p.Kind != k {
				continue
			}
			config, bad := configFor(p)
			if bad != nil {
				why = bad.Error()
				continue
			}
			return Choice{Config: config, Plugin: &p}, nil
		}
	}
	if err != nil {
		why = err.Error()
	}
	return fallback(why), nil
}

func fallback(why string) Choice {
	return Choice{Config: GoBackend, Reason: "graphs run on the pure-Go backend, which works, slowly: " + why}
}

func cannotLoad() string {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		return "XLA plugins cannot be loaded on " + runtime.GOOS
	}
	return "this program was built without cgo (CGO_ENABLED=1 and a C compiler when building), so it cannot load XLA plugins"
}

// configFor spells a plugin as GoMLX's configuration. go-xla guesses a
// plugin's nature by words in its path, and cuts options at commas: a path
// that would mislead it is an error, not a crash later.
func configFor(p Plugin) (string, error) {
	if strings.Contains(p.Path, ",") {
		return "", fmt.Errorf("%s: go-xla cannot take a path with a comma; move the plugin or install it", p.Path)
	}
	upper := strings.ToUpper(p.Path)
	asCUDA := strings.Contains(upper, "CUDA") || strings.Contains(upper, "NVIDIA")
	if asCUDA != (p.Kind == CUDA) {
		return "", fmt.Errorf("%s: go-xla takes plugins for CUDA's by the words cuda and nvidia in their paths, and this is one for %s; move it", p.Path, p.Kind)
	}
	config := "xla:" + p.Path
	if p.Kind != CPU {
		config += ",shared_buffers=false" // "cpu" anywhere in the path would turn them on
	}
	return config, nil
}

// present says whether the machine seems to have such a device. A plugin
// without its device fails late, or aborts the program.
func present(k Kind) bool {
	switch k {
	case CUDA:
		return installer.HasNvidiaGPU()
	case TPU:
		for _, pattern := range []string{"/dev/accel[0-9]*", "/dev/vfio/[0-9]*"} {
			if found, _ := filepath.Glob(pattern); len(found) > 0 {
				return true
			}
		}
		return false
	}
	return true
}

// Open makes the backend of a choice and sets what its plugin needs in the
// environment: checks of CUDA's libraries that only print are turned off.
// compute.Backend.Finalize ends it.
func (c Choice) Open() (compute.Backend, error) {
	if os.Getenv("GOPJRT_CUDA_CHECKS") == "" {
		if err := os.Setenv("GOPJRT_CUDA_CHECKS", "0"); err != nil {
			return nil, err
		}
	}
	b, err := Open(c.Config)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Config, firstLine(err))
	}
	return b, nil
}

// Devices describes the devices that a backend shows, one line each.
func Devices(b compute.Backend) []string {
	var out []string
	for i := range b.NumDevices() {
		out = append(out, b.DeviceDescription(compute.DeviceNum(i)))
	}
	return out
}

// lineError is an error whose text ends at its first line: GoMLX's carry
// whole stacks.
type lineError struct{ error }

func firstLine(err error) error { return &lineError{err} }

func (e *lineError) Unwrap() error { return e.error }

func (e *lineError) Error() string {
	line, _, _ := strings.Cut(e.error.Error(), "\n")
	return line
}
