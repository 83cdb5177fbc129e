#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Scenarios of gst-validate on the fake engine: what it watches of every element (events in order, buffers inside their segment,
# timestamps, states that arrive) holds for flowcachesrc while it is sought, looped, paused, prompted and started again.
# Debian 12 has no package of gst-validate; where gst-validate-1.0 is on the PATH, this runs.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
if ! command -v gst-validate-1.0 >/dev/null; then
  skip "gst-validate" "gst-validate-1.0 is not installed"
  finish
  exit 0
fi
export FLOWCACHE_ENGINE=$BUILD_DIR/tests/fake/libflowcache-fake.so FLOWCACHE_FAKE=width=160,height=96,chunk_ms=20
# Whatever gst-validate calls an issue, a warning too, fails the run.
export GST_VALIDATE=fatal_issues

# scenario NAME PIPELINE…
scenario() {
  local file=$SOURCE_DIR/tests/validate/$1.scenario
  if patiently gst-validate-1.0 --set-scenario="$file" "${@:2}" >"$WORK/$1.log" 2>&1 && grep -qx "Issues found: 0" "$WORK/$1.log"; then
    ok "$1"
  else
    not_ok "$1" "$WORK/$1.log"
  fi
}

still="flowcachesrc name=s model=fake is-live=false prompt=fire" live="flowcachesrc name=s model=fake prompt=fire"
# shellcheck disable=SC2086 # the elements' words
{
  scenario seeks $still ! fakesink sync=false
  scenario loop $still ! fakesink sync=false
  scenario pauses $live ! fakesink sync=true
  scenario prompts $live ! fakesink sync=true
  scenario states $live ! fakesink sync=true
}
finish
