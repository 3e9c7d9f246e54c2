package plugin

import (
	"os"
	"regexp"
	"strconv"
)

// CUDA 13 needs NVIDIA's driver 580 or later: NVIDIA's CUDA toolkit release
// notes, table "CUDA Toolkit and Corresponding Driver Versions".
const driverOfCUDA13 = 580

var driverRule = regexp.MustCompile(`(?m)^NVRM version:.*\s(\d+)\.\d+`)

// cudaMajor is the CUDA version that the driver of this machine takes.
func cudaMajor() string {
	b, err := os.ReadFile("/proc/driver/nvidia/version")
	if err != nil {
		return "13"
	}
	return majorForDriver(string(b))
}

func majorForDriver(version string) string {
	if m := driverRule.FindStringSubmatch(version); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n < driverOfCUDA13 {
			return "12"
		}
	}
	return "13"
}
