#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What docs/ says is so: the programs of embed.md run, the page of policies is the registry's, commands have the options that pages name.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
docs=$SOURCE_DIR/docs

# block PAGE LANGUAGE: its code block of that language.
block() { awk -v begin="\`\`\`$2" '$0 == begin { on = 1; next } /^```/ { on = 0 } on' "$docs/$1"; }

block embed.md c >"$WORK/one.c"
block embed.md cpp >"$WORK/app.cpp"
block embed.md python >"$WORK/frames.py"
check "embed.md has a program for each of three languages" test -s "$WORK/one.c" -a -s "$WORK/app.cpp" -a -s "$WORK/frames.py"

engine=$BUILD_DIR/engine
check "the C program builds" cc -std=c11 -Wall -Werror "$WORK/one.c" -I"$SOURCE_DIR/engine" -L"$engine" -lflowcache \
  -Wl,-rpath,"$engine" -Wl,--allow-shlib-undefined -o "$WORK/one"
# prints PATTERN TIMES COMMAND…: the command passes and so many lines have the pattern.
prints() {
  patiently "${@:3}" >"$WORK/said" 2>&1 && [[ $(grep -cE -- "$1" "$WORK/said") -eq $2 ]] && return
  cat "$WORK/said"
  return 1
}
check "and makes frames" prints '^12 frames of 512 x 288, the first begins with red [0-9]+$' 1 "$WORK/one"
refuses "and says what is wrong" "one: .*model.json" env FLOWCACHE_MODEL="$WORK" "$WORK/one"

# The others on the fake engine, whose frames come quickly.
export FLOWCACHE_ENGINE=$BUILD_DIR/tests/fake/libflowcache-fake.so FLOWCACHE_FAKE=width=160,height=96,chunk_ms=20
flags=$(pkg-config --cflags --libs gstreamer-app-1.0 gstreamer-video-1.0)
# shellcheck disable=SC2086 # flags are words
check "the C++ program builds" c++ -std=c++20 -Wall -Werror "$WORK/app.cpp" $flags -o "$WORK/app"
check "and gets ten frames" prints '^[0-9.]+ s, 61440 bytes$' 10 "$WORK/app"
refuses "and says what is wrong" "app: .*engine" env FLOWCACHE_ENGINE=/nowhere.so "$WORK/app"
python=/usr/bin/python3 # the one that Debian's python3-gi is for
if "$python" -c 'import gi; gi.require_version("GstApp", "1.0"); from gi.repository import GstApp' 2>/dev/null; then
  check "the Python program gets ten frames" prints '^[0-9.]+ s: 160 x 96, 46080 bytes$' 10 "$python" "$WORK/frames.py"
  refuses "and says what is wrong" "frames.py: .*engine" env FLOWCACHE_ENGINE=/nowhere.so "$python" "$WORK/frames.py"
else
  skip "the Python program gets ten frames" "python3-gi or gir1.2-gst-plugins-base-1.0 is not installed"
fi

# The page is written from the registry, so every policy is in it.
check "policies.md is what policies.py writes" "$PYTHON" "$docs/policies.py" --check --library "$engine/libflowcache.so"
flowcache=$engine/cli/flowcache
if [[ -x $flowcache ]]; then
  "$flowcache" policies >"$WORK/policies"
  missing=$(awk '{ print ($1 == "+" ? "cache=…+" : $1 == "kv" ? "kv-cache=" : "cache=") $2 }' "$WORK/policies" | while read -r setting; do
    grep -qF "\`$setting\`" "$docs/policies.md" || echo "$setting"
  done)
  if [[ -s $WORK/policies && -z $missing ]]; then ok "each policy has its place"; else not_ok "each policy has its place: $missing"; fi
else
  skip "each policy has its place" "libcli11-dev was not installed when this was built"
fi

# What pages call by name is there.
if [[ -x $flowcache ]]; then
  check "commands and properties on all pages are those of the programs" "$PYTHON" "$SOURCE_DIR/tests/pipeline/commands.py" \
    "$SOURCE_DIR" "$BUILD_DIR"
else
  skip "commands and properties on all pages are those of the programs" "libcli11-dev was not installed when this was built"
fi

# One version, wherever it is written.
version=$(sed -nE "s/^ *version: '([0-9.]+)',$/\1/p" "$SOURCE_DIR/meson.build" | sed -n 1p)
header=$(sed -nE 's/^#define FC_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+)$/\2/p' "$SOURCE_DIR/engine/flowcache.h" | paste -sd .)
package=$(sed -nE '1s/^gst-flowcache \(([0-9.]+).*/\1/p' "$SOURCE_DIR/debian/changelog")
if [[ -n $version && $header == "$version" && $package == "$version" ]]; then
  ok "meson.build, flowcache.h and debian/changelog have one version"
else
  not_ok "meson.build has version $version, flowcache.h $header, debian/changelog $package"
fi

# Everything in docs/ is reached from its README.
unreached=$(cd "$docs" && for page in *.md *.jpg *.webp; do
  [[ $page == README.md ]] || grep -qF "]($page" README.md || echo "$page"
done)
if [[ -z $unreached ]]; then ok "docs/README.md names every page and picture"; else not_ok "docs/README.md does not name $unreached"; fi
finish
