package hub

import (
	"os/exec"
	"runtime"
	"syscall"
)

// runWithParent runs cmd so that it ends with this process, even when that is
// killed. The kernel ties the signal to the thread that started the child,
// which therefore has to stay.
func runWithParent(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
