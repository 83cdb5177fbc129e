#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/file.sh [OPTIONS] FILE.mp4

Writes generated video to an MP4 file (H.264), with sound if asked for. Ctrl-C finishes the file.

  --audio WHAT   a sound file to mux in, or "noise" for soft pink noise (default: no sound); the
                 file ends when picture and sound have both ended
TEXT
  common_options
}

audio=""
own_option() {
  [[ $1 == --audio && -n $2 ]] && audio=$2
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one FILE is wanted, not ${#arguments[@]}" "see $0 --help"
out=${arguments[0]}
if [[ ! -d $(dirname -- "$out") ]]; then die "$out: the folder $(dirname -- "$out") does not exist"; fi
if [[ -d $out || ! -w $(dirname -- "$out") ]]; then die "$out cannot be written: name another file"; fi
if [[ -n $audio && $audio != noise && ! -r $audio ]]; then die "--audio $audio: no such file"; fi

prepare
set_encoder 2000 2 # with a key frame every two seconds a player can seek in the file
pipeline=(mp4mux name=mux ! filesink "location=$(quoted "$out")"
  "${source[@]}" ! queue ! videoconvert ! "${encoder[@]}" ! h264parse ! mux.)
case $audio in
  "") ;;
  noise)
    set_sound pink-noise 0.05 aac 96
    pipeline+=("${sound[@]}" ! queue ! mux.)
    ;;
  *)
    ask_encoder aac aac 128
    pipeline+=(filesrc "location=$(quoted "$audio")" ! decodebin ! audioconvert ! audioresample ! "${aac[@]}" ! queue ! mux.)
    ;;
esac
run_pipeline "$out" "${pipeline[@]}"
