//go:build !cgo || (!linux && !darwin)

package plugin

const canLoad = false
