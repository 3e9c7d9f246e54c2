#!/bin/sh
# Builds the engine's tests for arm64 and runs them under emulation (qemu-user),
# so that the NEON kernels are tested on machines of another kind. The build
# always happens. The run needs qemu-aarch64; as root on a Debian-like system it
# is installed when it is missing. Where it cannot be had, this says so and
# succeeds.
set -eu
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

skip() {
	echo "arm64: tests are built but not run: $1"
	exit 0
}

install_qemu() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	echo "arm64: installing qemu-user"
	# A machine without a network gives up within seconds.
	DEBIAN_FRONTEND=noninteractive timeout 40 sh -c '
		apt="apt-get -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=5 -o Acquire::https::Timeout=5"
		install="$apt install -y --no-install-recommends qemu-user"
		$install || { $apt update && $install; }' >/dev/null 2>&1
}

packages="./engine/cpu ./engine/cpu/kernel"
if [ "$(go env GOHOSTARCH)" = arm64 ]; then
	echo "arm64: this machine is one; go test runs its kernels"
	exit 0
fi

# vet also holds the assembly's arguments against the Go declarations.
# shellcheck disable=SC2086 # a list of words
GOARCH=arm64 go vet $packages

[ "$(uname -s)" = Linux ] || skip "qemu-user needs Linux"
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ -z "$qemu" ]; then
	install_qemu || skip "there is no qemu-aarch64, and it could not be installed (Debian: apt-get install qemu-user)"
	qemu=$(command -v qemu-aarch64) || skip "there is no qemu-aarch64"
fi

emulate() {
	cpu=$1
	shift
	GOOS=linux GOARCH=arm64 go test -count=1 -timeout 5m -exec "$qemu -cpu $cpu" "$@"
}

emulate max ./engine/cpu/kernel
# A core without the dot product extension must fall back.
emulate cortex-a72 ./engine/cpu/kernel
# The parts of the conformance suite that calculate; the rest is Go alone, and
# would take minutes. All of it: emulate max ./engine/cpu.
parts='Embed|Norm|Linear|Heads|Gate|Add|SoftCap|Attend|HalfPrecision|Window'
emulate max -run "^TestConformance$/^neon$/^2_threads$/^($parts)$" ./engine/cpu
