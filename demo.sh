#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# From a prompt to a video file: sets up what is missing, builds, and runs a live pipeline.
set -euo pipefail
started=${EPOCHREALTIME/,/.}
# shellcheck source=tools/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/tools/setup.sh"

usage() {
  cat <<'TEXT'
./demo.sh ["PROMPT"] [--seconds 10] [--out demo.mp4] [--window] [--seed 1] [--help]

Generates live video from PROMPT and writes it to an MP4 file, with a contact sheet (PNG) beside it and, at the end,
a table of this run against the same prompt and seed without caching.

  PROMPT       what to show (default: "slow green aurora over mountains")
  --seconds N  length of the video, 0.1 to 3600 (default 10)
  --out FILE   the MP4 to write (default demo.mp4)
  --window     also show it in a window while it is generated
  --seed N     another seed gives another video (default 1)

The first call installs what is missing (Debian packages with apt; LibTorch into deps/) and builds into build/, which
takes a few minutes. Later calls skip that and work offline.
TEXT
}

prompt="slow green aurora over mountains"
seconds=10 out=demo.mp4 seed=1 prompt_given=0
window=()

need_value() { [[ $# -ge 2 ]] || die "$1 needs a value" "see ./demo.sh --help"; }
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --seconds) need_value "$@" && seconds=$2 && shift 2 ;;
    --seconds=*) seconds=${1#*=} && shift ;;
    --out) need_value "$@" && out=$2 && shift 2 ;;
    --out=*) out=${1#*=} && shift ;;
    --seed) need_value "$@" && seed=$2 && shift 2 ;;
    --seed=*) seed=${1#*=} && shift ;;
    --window) window=(--window) && shift ;;
    -*) die "unknown option $1" "see ./demo.sh --help" ;;
    *)
      [[ $prompt_given -eq 0 ]] || die "more than one prompt: \"$prompt\" and \"$1\"" "put the prompt in quotes: ./demo.sh \"$prompt $1\""
      prompt=$1 prompt_given=1 && shift
      ;;
  esac
done

# Said now and not after minutes of set-up.
if ! [[ $seconds =~ ^([0-9]+(\.[0-9]*)?|\.[0-9]+)$ ]] || ! awk -v s="$seconds" 'BEGIN { exit !(s >= 0.1 && s <= 3600) }'; then
  die "--seconds $seconds is not a number from 0.1 to 3600"
fi
[[ $seed =~ ^[0-9]{1,18}$ ]] || die "--seed $seed is not a whole number from 0 to 999999999999999999"
[[ -n $out && ! -d $out ]] || die "--out \"$out\" is not a file name"
[[ -d $(dirname -- "$out") ]] || die "--out $out: the folder $(dirname -- "$out") does not exist" "mkdir -p \"$(dirname -- "$out")\" makes it"
if [[ -e $out ]]; then writable=$out; else writable=$(dirname -- "$out"); fi
[[ -w $writable ]] || die "--out $out cannot be written: $writable is not writable" "name another file with --out"
if [[ ${#window[@]} -gt 0 && -z ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]]; then
  die "--window needs a display and neither DISPLAY nor WAYLAND_DISPLAY is set" "leave --window away; the file is written all the same"
fi

flowcache_setup apps/demo/flowcache-demo gst-plugin/libgstflowcache.so
flowcache_environment
"$BUILD/apps/demo/flowcache-demo" --prompt "$prompt" --seconds "$seconds" --out "$out" --seed "$seed" --since "$started" "${window[@]}" || status=$?
give_back "$out" "${out%.*}.png"
exit "${status:-0}"
