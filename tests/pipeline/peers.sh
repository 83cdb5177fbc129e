# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# For tests with a real peer: source it after tap.sh. The scripts in pipelines/ then run on the fake engine (tests/fake).

export FLOWCACHE_READY=1 FLOWCACHE_ENGINE=$BUILD_DIR/tests/fake/libflowcache-fake.so
# Loading takes its time, as a real model's does.
export FLOWCACHE_FAKE=width=160,height=96,chunk_ms=20,load_ms=600

# The scripts work with build/; anywhere else there is nothing to test them with.
scripts_or_skip() {
  if [[ $(realpath "$BUILD_DIR") != $(realpath "$SOURCE_DIR")/build ]]; then
    skip "$1" "the scripts work with build/, these tests run in $BUILD_DIR"
    finish
    exit 0
  fi
}

# needs COMMAND PACKAGE: skips the whole test if the command is missing.
needs() {
  if ! command -v "$1" >/dev/null && [[ ! -e $1 ]]; then
    skip "$1" "$2 is not installed"
    finish
    exit 0
  fi
}

free_port() {
  "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start NAME COMMAND…: in the background, output in $WORK/NAME.log; its pid is in $pid. Stopped when the test ends.
start() {
  local name=$1
  shift
  "$@" >"$WORK/$name.log" 2>&1 </dev/null &
  pid=$!
  cleanup+=("kill -KILL $pid 2>/dev/null || true")
}

# stop PID [SIGNAL]: and waits; the status is the process's own. What does not end is killed.
stop() {
  kill "-${2:-TERM}" "$1" 2>/dev/null || true
  until_true gone "$1" || true
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# says NAME LOG PATTERN [TIMES]: passes when the log has so many lines with it, now or soon.
says() {
  local name=$1 log=$WORK/$2.log pattern=$3 times=${4:-1}
  if until_true said "$log" "$pattern" "$times"; then ok "$name"; else not_ok "$name" "$log"; fi
}
said() { [[ $(grep -cE -- "$2" "$1") -ge $3 ]]; }

# resident PID: its resident memory in KB.
resident() { awk '/VmRSS/ { print $2 }' "/proc/$1/status"; }
