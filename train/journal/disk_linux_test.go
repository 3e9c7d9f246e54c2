package journal

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// shrinkDisk puts the child's run on a disk of 300 kB: a tmpfs in a mount
// namespace of its own or, where none can be had, a limit on what a file may
// grow to.
func shrinkDisk(dir string) error {
	switch os.Getenv("JOURNAL_TEST_DISK") {
	case "tmpfs":
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=300k")
	case "limit":
		signal.Ignore(syscall.SIGXFSZ)
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096})
	}
	return nil
}

// fullDisk is what a child says that trains until its disk is full.
func fullDisk(t *testing.T) string {
	t.Helper()
	cmd := child(filepath.Join(t.TempDir(), "run"), 1000, 4000) // two files of 16 kB more each time
	cmd.Env = append(cmd.Env, "JOURNAL_TEST_DISK=tmpfs")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	b, err := cmd.CombinedOutput()
	out := string(b)
	if err != nil && (out == "" || strings.HasPrefix(out, "setup:")) {
		t.Logf("no tmpfs of our own (%v %s); limiting the file size", err, strings.TrimSpace(out))
		limited := exec.Command(os.Args[0])
		limited.Env = append(cmd.Env, "JOURNAL_TEST_DISK=limit", "JOURNAL_TEST_SIZE=150")
		b, err = limited.CombinedOutput()
		out = string(b)
	}
	if err == nil {
		t.Fatalf("the run went on to its end: %s", out)
	}
	return out
}
