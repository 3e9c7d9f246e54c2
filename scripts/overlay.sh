#!/bin/sh
# Prints the path of an overlay with which Go builds against go-xla as patched by
# engine/graph/patches/go-xla.patch: use it as go build -overlay=PATH. The copy of
# the module is made once for each version and patch, in bin/overlay, which git
# ignores. Where it cannot be made this says why on stderr and prints nothing:
# everything builds and passes without it.
#
# Go refuses to overlay files of the module cache, so the overlay replaces go.mod,
# by itself and a line that replaces the module with the copy.
set -eu
cd "$(dirname "$0")/.."
unset GOFLAGS
module=github.com/gomlx/go-xla
patch=$PWD/engine/graph/patches/go-xla.patch
go=${GO:-go}

fail() {
	echo "overlay: go-xla stays as it is: $1" >&2
	exit 1
}

apply() { # in the copy
	if command -v git >/dev/null; then
		# The copy lies in another repository, which git must not find.
		GIT_CEILING_DIRECTORIES=$(dirname "$PWD") git apply "$patch"
	elif command -v patch >/dev/null; then
		patch -s -p1 <"$patch"
	else
		echo "there is neither git nor patch" >&2
		return 1
	fi
}

version=$("$go" list -m -f '{{.Version}}' $module) || fail "it is not required"
name=go-xla-$version-$(cksum <"$patch" | tr ' ' -)
copy=$PWD/bin/overlay/$name
if [ ! -d "$copy" ]; then
	"$go" mod download $module || fail "it cannot be downloaded"
	new=$PWD/bin/overlay/.new-$$
	trap 'chmod -R u+w "$new" 2>/dev/null; rm -rf "$new"' EXIT
	mkdir -p "$new"
	cp -R "$("$go" list -m -f '{{.Dir}}' $module)/." "$new" || fail "it cannot be copied"
	chmod -R u+w "$new"
	(cd "$new" && apply) || fail "the patch does not apply to $version"
	# Another make may have been quicker.
	[ -d "$copy" ] || mv "$new" "$copy"
fi

# go.mod changes more often than the module. Files are replaced only when they
# differ, and whole: other builds read them.
write() {
	if ! cmp -s "$1" "$2"; then mv "$1" "$2"; else rm "$1"; fi
}
mod=$PWD/bin/overlay/go.mod
cp go.mod "$mod.$$"
"$go" mod edit -replace="$module=$copy" "$mod.$$" || fail "go.mod cannot be edited"
write "$mod.$$" "$mod"
quote() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
printf '{"Replace": {"%s": "%s"}}\n' "$(quote "$PWD/go.mod")" "$(quote "$mod")" >"$mod.json.$$"
write "$mod.json.$$" "$PWD/bin/overlay/overlay.json"
echo "$PWD/bin/overlay/overlay.json"
