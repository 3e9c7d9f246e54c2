//go:build !linux

package hub

import "os/exec"

// runWithParent runs cmd. Where the parent is killed the child ends by itself
// some time later; what it left is removed by the next pull.
func runWithParent(cmd *exec.Cmd) error { return cmd.Run() }
