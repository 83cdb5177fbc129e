#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/camera.sh [INPUT] [OPTIONS]

Repaints a camera, a screen, a file or a network stream as the prompt says, and shows it in a window.

INPUT            /dev/videoN (default: /dev/video0), a file, an address such as rtsp://HOST/PATH or udp://:5004,
                 screen (this X display), or test (a test picture)
  --strength S   how much of the input is painted over: 0 shows it, 1 ignores it (default 0.87)
  --out FILE     write FILE.mp4 instead of showing a window
TEXT
  common_options
}

strength=0.87 out=""
own_option() {
  case $1 in
    --strength)
      [[ $2 =~ ^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$ ]] || die "--strength '$2' is not a number from 0 to 1"
      strength=$2
      ;;
    --out)
      [[ $2 == *.mp4 ]] || die "--out '$2' does not end in .mp4"
      [[ -d $(dirname "$2") ]] || die "--out: the folder of $2 does not exist"
      out=$2
      ;;
    *) return 1 ;;
  esac
}

parse_arguments "$@"
[[ ${#arguments[@]} -le 1 ]] || die "camera.sh takes one input: ${arguments[*]}" "see $0 --help"
input=${arguments[0]:-/dev/video0}
case $input in
  test) words=(videotestsrc is-live=true pattern=ball) ;;
  screen) words=(ximagesrc use-damage=false) ;;
  /dev/*)
    [[ $dry_run -eq 1 || -e $input ]] || die "there is no $input" "name another camera, a file or 'test'"
    words=(v4l2src "device=$input" ! decodebin)
    ;;
  *://*) words=(uridecodebin "uri=$(quoted "$input")") ;;
  *)
    [[ -f $input ]] || die "there is no file $input" "see $0 --help"
    words=(filesrc "location=$(quoted "$input")" ! decodebin)
    ;;
esac
if [[ -z $out && $dry_run -eq 0 && -z ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]]; then
  die "a window needs a display and neither DISPLAY nor WAYLAND_DISPLAY is set" "--out FILE.mp4 writes a file instead"
fi
prepare
ends=()
if [[ -n $seconds ]]; then ends=(identity "eos-after=$(frames_in "$seconds")" !); fi
filter=(flowcachefilter "prompt=$(quoted "$prompt")" "seed=$seed" "strength=$strength")
sink=(videoconvert ! autovideosink)
if [[ -n $out ]]; then
  set_encoder 2500 2
  sink=(videoconvert ! "${encoder[@]}" ! h264parse ! mp4mux ! filesink "location=$(quoted "$out")")
fi
run_pipeline "the repainted input" "${words[@]}" ! queue ! videoconvertscale ! videorate ! "${ends[@]}" "${filter[@]}" ! queue ! "${sink[@]}"
