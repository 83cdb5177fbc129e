# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Test Anything Protocol for shell tests: source it, call the checks, end with finish.
# The tests get SOURCE_DIR, BUILD_DIR and PYTHON from Meson and work in a folder of their own, WORK.

: "${SOURCE_DIR:?}" "${BUILD_DIR:?}" "${PYTHON:?}"
tests=0
# Seconds after which something counts as hung: only a defect takes so long, however busy the machine is.
PATIENCE=60
WORK=$(mktemp -d)
cleanup=()
at_exit() {
  local action
  for action in "${cleanup[@]}"; do eval "$action"; done
  rm -rf "$WORK"
}
trap at_exit EXIT
export GST_PLUGIN_PATH_1_0=$BUILD_DIR/gst-plugin GST_REGISTRY_1_0=$WORK/registry.bin
export GOMP_SPINCOUNT=1000 LC_ALL=C.UTF-8

ok() { echo "ok $((++tests)) - $1"; }
# not_ok NAME [FILE]: with the end of FILE as the explanation.
not_ok() {
  echo "not ok $((++tests)) - $1"
  if [[ -f ${2:-} ]]; then tail -n 40 "$2" | sed 's/^/# /'; fi
}
skip() { echo "ok $((++tests)) - $1 # SKIP $2"; }
finish() { echo "1..$tests"; }

# check NAME COMMAND…: passes if the command does.
check() {
  local name=$1
  shift
  if "$@" >"$WORK/check.log" 2>&1; then ok "$name"; else not_ok "$name" "$WORK/check.log"; fi
}

# patiently COMMAND…: runs it; what hangs is ended, with status 124.
patiently() { timeout "$PATIENCE" "$@"; }

# until_true COMMAND…: waits until the command passes; fails if it never does.
until_true() {
  local end=$((SECONDS + PATIENCE))
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.1
  done
}

# refuses NAME PATTERN COMMAND…: passes if the command fails, and says PATTERN in what it prints.
refuses() {
  local name=$1 pattern=$2 status=0
  shift 2
  patiently "$@" >"$WORK/check.log" 2>&1 </dev/null || status=$?
  if [[ $status -ne 0 && $status -lt 124 ]] && grep -qE -- "$pattern" "$WORK/check.log"; then
    ok "$name"
  else
    echo "exit status $status; wanted a failure that says: $pattern" >>"$WORK/check.log"
    not_ok "$name" "$WORK/check.log"
  fi
}

picture() { "$PYTHON" "$SOURCE_DIR/tests/pipeline/picture.py" "$@"; }

# An X server of the test's own on a free display; DISPLAY is set. Fails if there is no Xvfb.
start_display() {
  command -v Xvfb >/dev/null || return 1
  local number="$WORK/display"
  Xvfb -displayfd 3 -screen 0 1024x600x24 -nolisten tcp >"$WORK/xvfb.log" 2>&1 3>"$number" &
  cleanup+=("kill $! 2>/dev/null || true")
  until_true test -s "$number" || return 1
  DISPLAY=:$(cat "$number")
  export DISPLAY
}
