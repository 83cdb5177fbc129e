#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The scripts refuse bad input in a sentence, before any set-up, and explain themselves.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
cd "$SOURCE_DIR"

check "demo.sh --help" ./demo.sh --help
check "test.sh --help" ./test.sh --help
refuses "demo.sh: unknown option" "unknown option --speed" ./demo.sh --speed 3
refuses "demo.sh: two prompts" "more than one prompt" ./demo.sh orange fire
for seconds in 0 -1 3601 ten 1e3 ""; do
  refuses "demo.sh: --seconds '$seconds'" "--seconds|unknown option" ./demo.sh --seconds "$seconds"
done
refuses "demo.sh: --seconds without a value" "needs a value" ./demo.sh --seconds
refuses "demo.sh: --seed" "whole number" ./demo.sh --seed 1.5
refuses "demo.sh: no such folder" "does not exist" ./demo.sh --out "$WORK/none/demo.mp4"
refuses "demo.sh: a folder as output" "not a file name" ./demo.sh --out "$WORK"
refuses "demo.sh: no display" "needs a display" env -u DISPLAY -u WAYLAND_DISPLAY ./demo.sh --window
refuses "test.sh: unknown option" "unknown option --all" ./test.sh --all
refuses "test.sh: two filters" "one filter" ./test.sh unit golden

for script in pipelines/*.sh; do
  [[ $(basename "$script") != common.sh ]] || continue
  check "$script --help" "$script" --help
  refuses "$script: unknown option" "unknown option --bogus" "$script" --bogus
done

if command -v shellcheck >/dev/null; then
  check "shellcheck" shellcheck -x demo.sh test.sh .ci/run tools/*.sh pipelines/*.sh tests/pipeline/*.sh
else
  skip "shellcheck" "shellcheck is not installed"
fi
finish
