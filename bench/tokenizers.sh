#!/bin/sh
# Installs Hugging Face's tokenizers library, the peer that ./bench/tokens measures against, into an
# environment of its own in the user's cache, and prints the Python that has it. Needs Python 3 with venv.
set -eu
version=0.23.3
folder=${XDG_CACHE_HOME:-$HOME/.cache}/lapidary/peers/tokenizers-$version
if [ ! -e "$folder/.lapidary-complete" ]; then
	{
		python3 -m venv "$folder"
		"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "tokenizers==$version"
		touch "$folder/.lapidary-complete"
	} >&2
fi
echo "$folder/bin/python"
