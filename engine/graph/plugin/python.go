package plugin

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// pythons are the commands that may run Python, the likeliest first, as hub
// looks for them.
func pythons() [][]string {
	if p := os.Getenv("LAPIDARY_PYTHON"); p != "" {
		return [][]string{{p}}
	}
	if runtime.GOOS == "windows" {
		return [][]string{{"python"}, {"py", "-3"}, {"python3"}}
	}
	return [][]string{{"python3"}, {"python"}}
}

// pythonPlaces are the folders that Python imports packages from: those of the
// active environment, then those of the Python on the path.
func pythonPlaces() []place {
	var places []place
	for _, v := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := os.Getenv(v); dir != "" {
			found, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages"))
			for _, f := range append(found, filepath.Join(dir, "Lib", "site-packages")) {
				places = append(places, place{f, "Python: " + v})
			}
		}
	}
	for _, python := range pythons() {
		if paths := importPaths(python); len(paths) > 0 {
			for _, p := range paths {
				places = append(places, place{p, "Python: " + python[0]})
			}
			break
		}
	}
	return places
}

// importPaths asks Python for sys.path. Only a module that is built in is
// imported: one of the current folder could otherwise be run.
func importPaths(python []string) []string {
	path, err := exec.LookPath(python[0])
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	args := append(python[1:len(python):len(python)], "-c", `import sys; sys.stdout.write("\n".join(sys.path))`)
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return nil
	}
	var paths []string
	for line := range strings.Lines(string(out)) {
		if dir := strings.TrimRight(line, "\r\n"); filepath.IsAbs(dir) {
			paths = append(paths, dir)
		}
	}
	return paths
}
