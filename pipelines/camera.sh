#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/camera.sh [INPUT] [OPTIONS]

Repaints a camera, a screen, a file or a network stream as the prompt says, and shows it in a window, writes it into a file or
sends it to an RTMP server.

INPUT            /dev/videoN (default: /dev/video0), a file, an address such as rtsp://HOST/PATH or udp://:5004,
                 screen (this X display), or test (a test picture)
  --strength S   how much of the input is painted over: 0 shows it, 1 ignores it (default 0.87)
  --out FILE     write FILE.mp4 instead of showing a window; or send it to rtmp://HOST[:PORT]/APPLICATION/KEY
  --sound WHAT   for --out: input (that of a file or an address), microphone, ticks (one a second, for tests) or none. The
                 default is none for files; for RTMP it is the input's, of a camera or a screen the microphone
TEXT
  common_options
}

strength=0.87 out="" sound_of=""
own_option() {
  case $1 in
    --strength)
      [[ $2 =~ ^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$ ]] || die "--strength '$2' is not a number from 0 to 1"
      strength=$2
      ;;
    --out)
      if [[ ! $2 =~ ^rtmps?://[^/]+/.+ ]]; then
        [[ $2 == *.mp4 ]] || die "--out '$2' is neither rtmp://HOST/APPLICATION/KEY nor does it end in .mp4"
        [[ -d $(dirname "$2") ]] || die "--out: the folder of $2 does not exist"
      fi
      out=$2
      ;;
    --sound)
      [[ $2 =~ ^(input|microphone|ticks|none)$ ]] || die "--sound '$2' is not input, microphone, ticks or none"
      sound_of=$2
      ;;
    *) return 1 ;;
  esac
}

parse_arguments "$@"
[[ ${#arguments[@]} -le 1 ]] || die "camera.sh takes one input: ${arguments[*]}" "see $0 --help"
input=${arguments[0]:-/dev/video0} usual=input
case $input in
  test) words=(videotestsrc is-live=true pattern=ball) usual=ticks ;;
  screen) words=(ximagesrc use-damage=false) usual=microphone ;;
  /dev/*)
    [[ $dry_run -eq 1 || -e $input ]] || die "there is no $input" "name another camera, a file or 'test'"
    words=(v4l2src "device=$input" ! decodebin) usual=microphone
    ;;
  *://*) words=(uridecodebin name=input "uri=$(quoted "$input")") ;;
  *)
    [[ -f $input ]] || die "there is no file $input" "see $0 --help"
    words=(filesrc "location=$(quoted "$input")" ! decodebin name=input)
    ;;
esac
if [[ -z $sound_of ]]; then
  if [[ $out == rtmp* ]]; then sound_of=$usual; else sound_of=none; fi
fi
[[ $sound_of == none || -n $out ]] || die "--sound is for --out" "a window shows pictures only"
[[ $sound_of != input || $usual == input ]] || die "--sound input: $input has no sound of its own" "take microphone or none"
if [[ -z $out && $dry_run -eq 0 && -z ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]]; then
  die "a window needs a display and neither DISPLAY nor WAYLAND_DISPLAY is set" "--out FILE.mp4 writes a file instead"
fi
prepare
ends=()
if [[ -n $seconds ]]; then ends=(identity "eos-after=$(frames_in "$seconds")" !); fi
# A file is read at its own speed where somebody watches.
if [[ $usual == input && $out != *.mp4 ]]; then ends+=(clocksync !); fi
filter=(flowcachefilter "prompt=$(quoted "$prompt")" "seed=$seed" "strength=$strength")
sink=(videoconvert ! autovideosink) beside=()
if [[ -n $out ]]; then
  set_encoder 2500 2
  muxer=(mp4mux name=mux ! filesink "location=$(quoted "$out")")
  #   latency=1000000000   how long the muxer waits for a track that is late
  #   streamable=true      no index at the end, because a live stream has no end
  if [[ $out == rtmp* ]]; then
    muxer=(flvmux name=mux streamable=true latency=1000000000 ! rtmp2sink "location=$(quoted "$out")")
  fi
  sink=(videoconvert ! "${encoder[@]}" ! h264parse ! queue ! mux. "${muxer[@]}")
  # Sound waits while the picture is repainted, so its queue must be long enough: a chunk, its computing, and the loading.
  waits=(queue max-size-time=60000000000 max-size-buffers=0 max-size-bytes=0)
  case $sound_of in
    input) beside=(input.) ;;
    microphone) beside=(autoaudiosrc) ;;
    ticks) beside=(audiotestsrc is-live=true wave=ticks samplesperbuffer=480) ;;
  esac
  if [[ $sound_of != none ]]; then
    ask_encoder encoded aac 96
    beside+=(! queue ! audioconvert ! audioresample ! "audio/x-raw,rate=48000")
    if [[ -n $seconds ]]; then
      beside+=(! audiobuffersplit output-buffer-duration=1/100 ! identity "eos-after=$((seconds * 100))")
    fi
    if [[ $sound_of == input && $out == rtmp* ]]; then beside+=(! clocksync); fi
    beside+=(! "${waits[@]}" ! "${encoded[@]}" ! aacparse ! queue ! mux.)
  fi
fi
run_pipeline "the repainted input" "${words[@]}" ! queue ! videoconvertscale ! videorate ! "${ends[@]}" "${filter[@]}" ! queue ! \
  "${sink[@]}" "${beside[@]}"
