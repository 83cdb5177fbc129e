#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Scenarios of gst-validate on the fake engine: what it watches of every element (events in order, buffers inside their segment,
# timestamps, states that arrive) holds for flowcachesrc and flowcachefilter while they are sought, looped, paused, prompted and
# started again. Debian 12 has no package of gst-validate; where gst-validate-1.0 is on the PATH, this runs. It has run with one that
# was built from GStreamer's gst-devtools.
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

# scenario ELEMENT NAME PIPELINE…
scenario() {
  local file=$SOURCE_DIR/tests/validate/$2.scenario log="$WORK/$1-$2.log"
  if patiently gst-validate-1.0 --set-scenario="$file" "${@:3}" >"$log" 2>&1 && grep -qx "Issues found: 0" "$log"; then
    ok "$1: $2"
  else
    not_ok "$1: $2" "$log"
  fi
}

still="flowcachesrc name=s model=fake is-live=false prompt=fire" live="flowcachesrc name=s model=fake prompt=fire"
# shellcheck disable=SC2086 # the elements' words
{
  scenario flowcachesrc seeks $still ! fakesink sync=false
  scenario flowcachesrc loop $still ! fakesink sync=false
  scenario flowcachesrc pauses $live ! fakesink sync=true
  scenario flowcachesrc prompts $live ! fakesink sync=true
  scenario flowcachesrc states $live ! fakesink sync=true

  picture="video/x-raw,format=NV12,width=160,height=96,framerate=16/1,colorimetry=bt709"
  filter="flowcachefilter name=s model=fake prompt=fire"
  for name in seeks loop; do
    scenario flowcachefilter $name videotestsrc ! $picture ! $filter ! fakesink sync=false
  done
  for name in pauses prompts states; do
    scenario "flowcachefilter, live" $name videotestsrc is-live=true ! $picture ! $filter ! fakesink sync=true
  done
  # 62 frames: the last chunk is not complete.
  scenario flowcachefilter strength videotestsrc num-buffers=62 ! $picture ! $filter ! fakesink sync=true

  if patiently gst-launch-1.0 -q videotestsrc num-buffers=250 ! video/x-raw,width=320,height=180,framerate=25/1 ! jpegenc ! avimux \
    ! filesink location="$WORK/in.avi"; then
    scenario "flowcachefilter, a file" seeks filesrc location="$WORK/in.avi" ! avidemux ! jpegdec ! videoconvertscale ! videorate ! $filter \
      ! fakesink sync=false
  else
    skip "flowcachefilter, a file: seeks" "no jpegenc"
  fi
}
finish
