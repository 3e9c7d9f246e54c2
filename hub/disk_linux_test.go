package hub

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lapidary/hub/hubtest"
)

// shrinkDisk puts the child's store on a disk of a megabyte: a tmpfs in a
// mount namespace of its own or, where none can be had, a limit on what a file
// may grow to.
func shrinkDisk() error {
	switch os.Getenv("HUB_TEST_DISK") {
	case "tmpfs":
		root := os.Getenv("LAPIDARY_HOME")
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		return unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m")
	case "limit":
		signal.Ignore(syscall.SIGXFSZ)
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	}
	return nil
}

// smallDisk runs a pull in a child with a disk of a megabyte.
func smallDisk(t *testing.T, name string) string {
	t.Helper()
	run := func(disk string, attr *syscall.SysProcAttr) (string, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "HUB_TEST_PULL="+name, "HUB_TEST_DISK="+disk)
		cmd.SysProcAttr = attr
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	out, err := run("tmpfs", &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
	if err != nil && (out == "" || strings.HasPrefix(out, "setup:")) {
		t.Logf("no tmpfs of our own (%v %s); limiting the file size", err, strings.TrimSpace(out))
		out, err = run("limit", nil)
		if err == nil {
			t.Fatalf("the pull succeeded: %s", out)
		}
		return out
	}
	if err == nil {
		t.Fatalf("the pull succeeded: %s", out)
	}
	return out
}

func TestFullDisk(t *testing.T) {
	testStore(t)
	f, base := fileServer(t)
	f.Put("/m.gguf", hubtest.GGUF(4<<20, 10))
	for _, unsized := range []bool{false, true} {
		t.Run(fmt.Sprintf("unsized=%v", unsized), func(t *testing.T) {
			f.Unsized = unsized
			out := smallDisk(t, base+"/m.gguf")
			if !strings.Contains(out, "no space: true") || !strings.Contains(out, "LAPIDARY_HOME") {
				t.Errorf("the error does not say what to do: %s", out)
			}
			if strings.Contains(out, "left:") {
				t.Errorf("something half-made stayed: %s", out)
			}
		})
	}
}
