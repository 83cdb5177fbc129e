#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The flowcache command looks whether its output can be written before the work that it is for.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
flowcache=$BUILD_DIR/engine/cli/flowcache
if [[ ! -x $flowcache ]]; then
  skip "command" "libcli11-dev was not installed when this was built"
  finish
  exit 0
fi

# idle NAME PATTERN ARGUMENT…: the command refuses, says PATTERN and has begun nothing.
idle() {
  refuses "$1" "$2" "$flowcache" "${@:3}"
  if grep -qE 'loading|cases x|[0-9] %' "$WORK/check.log"; then not_ok "$1: nothing is begun" "$WORK/check.log"; else ok "$1: nothing is begun"; fi
}
quick=(--chunks 1 --steps 1 --prompt fire --cache none)
idle "bench --json into no folder" "cannot write .*there is no folder" bench "${quick[@]}" --json "$WORK/none/x.json"
idle "bench --html over a folder" "cannot write .*it is a folder" bench "${quick[@]}" --html "$WORK"
idle "calibrate --out into no folder" "cannot write .*--out" calibrate --chunks 2 --out "$WORK/none/x.json"
idle "generate into no folder" "cannot write .*there is no folder" generate fire -s 0.1 -o "$WORK/none/x.y4m"
idle "generate pictures into no folder" "cannot write .*there is no folder" generate fire -s 0.1 -o "$WORK/none/%04d.png"
idle "generate under a name of another kind" "ends in .y4m" generate fire -s 0.1 -o "$WORK/x.mp4"
idle "generate from a prefix that is not there" "none.png" generate fire -s 0.1 -o "$WORK/x.y4m" --prefix "$WORK/none.png"
if [[ -z $(find "$WORK" -name 'x.*') ]]; then ok "and nothing is left behind"; else not_ok "and nothing is left behind"; fi

refuses "inspect --memory of no size" "is not the size of a GPU" "$flowcache" inspect --memory 8G,large
refuses "inspect of two models" "describes one model" "$flowcache" inspect "$SOURCE_DIR/models/ambient" "$SOURCE_DIR/models/ambient"
(cd "$SOURCE_DIR" && "$flowcache" inspect --memory 8G,12G,16G,24G models/ambient models/templates/*.json) >"$WORK/cards" 2>&1 || true
sed -n '/^| model | 8 GB/,/^$/p' "$SOURCE_DIR/models/README.md" | sed '/^$/d' >"$WORK/page"
check "models/README.md has the table that inspect --memory prints" diff "$WORK/page" "$WORK/cards"
check "which has rows" grep -q '^| `self-forcing' "$WORK/page"

check "what can be written is" "$flowcache" bench "${quick[@]}" --json "$WORK/x.json" --html "$WORK/x.html"
check "both files" test -s "$WORK/x.json" -a -s "$WORK/x.html"
finish
