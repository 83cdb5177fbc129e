#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs the fuzz targets one after the other. See README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'TEXT'
tests/fuzz/run.sh [--seconds N] [--out DIR] [TARGET…]

Builds all targets, or those that are named, with build.sh into DIR (default: build-fuzz/ of the checkout) and runs each
for N seconds (default 120) from its committed corpus and from what earlier runs found, which is kept in DIR/found/TARGET.
A target ends at its first finding. Prints what was run, and for each finding where the input lies and how to repeat it.

Exit status: 0 nothing was found, 1 a finding, 2 it could not run.
TEXT
}

seconds=120
out=$here/../../build-fuzz
wanted=()
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --seconds | --out)
      [[ $# -gt 1 ]] || { echo "error: $1 needs a value; see --help" >&2 && exit 2; }
      if [[ $1 == --seconds ]]; then seconds=$2; else out=$2; fi
      shift
      ;;
    -*) echo "error: unknown option $1; see --help" >&2 && exit 2 ;;
    *) wanted+=("$1") ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "error: --seconds wants a whole number, not \"$seconds\"" >&2 && exit 2; }
if [[ ${#wanted[@]} -eq 0 ]]; then
  for folder in "$here"/corpus/*/; do wanted+=("$(basename "$folder")"); done
fi

"$here/build.sh" "$out" "${wanted[@]}" >&2 || exit 2
out=$(cd "$out" && pwd)

# GStreamer keeps what it makes at the beginning. libsoup 3.2 leaks the path of a request whose headers are malformed.
leaks() { case $1 in exif | live_http) echo 0 ;; *) echo 1 ;; esac; }

# Regular expressions take their time for a long prompt, mostly under a sanitizer.
longest() { case $1 in magi_prompts) echo 400 ;; *) echo 0 ;; esac; }

# Limits: ten seconds for an input are too long, and no input of some kilobytes needs a gigabyte.
status=0
for target in "${wanted[@]}"; do
  mkdir -p "$out/found/$target" "$out/findings"
  log=$out/findings/$target.log
  dictionary=()
  if [[ -f $here/dictionaries/$target ]]; then dictionary=("-dict=$here/dictionaries/$target"); fi
  environment=("ASAN_OPTIONS=detect_leaks=$(leaks "$target")" "UBSAN_OPTIONS=print_stacktrace=1"
    "ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-$(command -v llvm-symbolizer || command -v llvm-symbolizer-14 || true)}")
  printf '%-14s %s s … ' "$target" "$seconds"
  if env "${environment[@]}" "$out/$target" -max_total_time="$seconds" -max_len="$(longest "$target")" -timeout=10 \
    -rss_limit_mb=3000 -malloc_limit_mb=1000 -print_final_stats=1 -artifact_prefix="$out/findings/$target-" "${dictionary[@]}" "$out/found/$target" \
    "$here/corpus/$target" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(grep -a -o 'cov: [0-9]*' "$log" | tail -1 || true)
    printf '%s executions, %s edges, no finding\n' "$runs" "${covered#cov: }"
    continue
  fi
  status=1
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
  printf 'FINDING\n'
  grep -a -m 3 -E 'broken: |ERROR: |runtime error: |SUMMARY: ' "$log" | sed 's/^/  /' || true
  printf '  input:  %s\n  log:    %s\n' "${input:-none was written}" "$log"
  if [[ -n $input ]]; then
    printf '  again:  %s %s\n  smaller: %s -minimize_crash=1 -max_total_time=60 %s\n' "$out/$target" "$input" "$out/$target" "$input"
  fi
done
exit $status
