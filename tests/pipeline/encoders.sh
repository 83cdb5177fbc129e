#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Scripts and programs use the same encoder settings, which stand in one file, and the frame rate of whatever model they run.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
cd "$SOURCE_DIR"

# An encoder with a setting behind it, or one of the settings.
settings='enc [a-z-]+=|speed-preset|key-int-max|gop-size|keyframe-max-dist|zerolatency'
if grep -rnE --include='*.sh' --include='*.cpp' --include='*.h' "$settings" demo.sh apps pipelines >"$WORK/settings.log" &&
  ! grep -v '^apps/output/encoders.cpp:' "$WORK/settings.log" >"$WORK/elsewhere.log"; then
  ok "encoder settings stand in apps/output/encoders.cpp alone"
else
  not_ok "encoder settings stand in apps/output/encoders.cpp alone" "$WORK/elsewhere.log"
fi

ask=$BUILD_DIR/apps/ask/flowcache-ask
refuses "a question that there is none" "flowcache-ask frame-rate" "$ask" time
refuses "an encoder that there is none" "flowcache-ask encoder" "$ask" encoder mpeg2 2000 32
refuses "an encoder without its numbers" "flowcache-ask encoder" "$ask" encoder h264 2000
refuses "no engine" "error: .*engine" env FLOWCACHE_ENGINE=/nowhere.so "$ask" frame-rate
refuses "no model" "error: .*asked for it" env FLOWCACHE_FAKE=fail_describe=4 "$ask" frame-rate

scripts_or_skip "scripts"

# has NAME LOG TEXT…: passes if the log has all of the texts.
has() {
  local name=$1 log=$2 text
  shift 2
  for text in "$@"; do
    if ! grep -qF -- "$text" "$log"; then
      echo "wanted: $text" >>"$log"
      not_ok "$name" "$log"
      return
    fi
  done
  ok "$name"
}
# printed NAME TEXT… -- SCRIPT ARGUMENT…: the pipeline that the script prints has the texts.
printed() {
  local name=$1 texts=()
  shift
  while [[ $1 != -- ]]; do texts+=("$1") && shift; done
  shift
  patiently "$@" --dry-run >"$WORK/printed.log" 2>&1 || true
  has "$name" "$WORK/printed.log" "${texts[@]}"
}

# Each line: the rate of the model, and how many of its frames are one second and two.
while read -r n d one two; do
  export FLOWCACHE_FAKE=width=320,height=192,fps_n=$n,fps_d=$d
  at="at $n/$d frames a second"
  check "flowcache-ask tells the rate $at" test "$("$ask" frame-rate)" = "$n $d"
  printed "hls.sh $at" "num-buffers=$two" "$("$ask" encoder h264 2000 "$two")" -- pipelines/hls.sh --seconds 2 "$WORK/x"
  printed "file.sh $at" "num-buffers=$one" "$("$ask" encoder h264 2000 "$two")" "$("$ask" encoder aac 96)" -- \
    pipelines/file.sh --seconds 1 --audio noise "$WORK/x.mp4"
  printed "rtmp.sh $at" "$("$ask" encoder h264 2500 "$two")" "$("$ask" encoder aac 96)" -- pipelines/rtmp.sh rtmp://127.0.0.1/live/key
  printed "rtsp.sh $at" "$("$ask" encoder h264 2000 "$one")" "$("$ask" encoder opus)" -- pipelines/rtsp.sh
  printed "udp.sh $at" "$("$ask" encoder h264 2000 "$one")" -- pipelines/udp.sh
  if [[ -x $BUILD_DIR/apps/live/flowcache-live ]]; then
    patiently env GST_DEBUG=GST_PIPELINE:4 "$BUILD_DIR/apps/live/flowcache-live" --port 0 --seconds 1 --srt srt://127.0.0.1:1 \
      >"$WORK/live.log" 2>&1 || true
    has "flowcache-live $at" "$WORK/live.log" "$("$ask" encoder h264 1500 "$two")" "$("$ask" encoder vp8 1500 "$two")" \
      "$("$ask" encoder aac 64)"
  else
    skip "flowcache-live $at" "it was not built"
  fi
done <<'RATES'
16 1 16 32
24 1 24 48
30000 1001 30 60
25 2 13 25
RATES

needs ffprobe "ffmpeg"
export FLOWCACHE_FAKE=width=320,height=192,fps_n=24
check "file.sh with a model of another size and rate" patiently pipelines/file.sh --seconds 2 "$WORK/other.mp4"
ffprobe -v error -count_frames -show_entries stream=width,height,r_frame_rate,nb_read_frames -of csv=p=0 "$WORK/other.mp4" \
  >"$WORK/probe.log" 2>&1 || true
has "writes it as it is" "$WORK/probe.log" "320,192,24/1,48"
finish
