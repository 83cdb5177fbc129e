#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/rtmp.sh [OPTIONS] rtmp://HOST[:PORT]/APPLICATION/KEY

Publishes generated video to an RTMP server, with a soft sound, since most of them want a sound track.

  --silent       silence instead of the sound
TEXT
  retry_options
  common_options
}

volume=0.05
own_option() { retry_option "$@"; }

# --silent has no value, so it is removed before the other options are read.
words=()
for word in "$@"; do
  if [[ $word == --silent ]]; then volume=0; else words+=("$word"); fi
done
parse_arguments "${words[@]}"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one address is wanted, not ${#arguments[@]}" "see $0 --help"
url=${arguments[0]}
[[ $url =~ ^rtmps?://[^/]+/.+ ]] || die "$url is not rtmp://HOST[:PORT]/APPLICATION/KEY"

#   key frames two seconds apart   RTMP servers cut their segments there
#   latency=200000000              how long the muxer waits for a track that is late
#   streamable=true                no index at the end, because a live stream has no end
prepare
set_encoder 2500 2
set_sound pink-noise "$volume" aac 96
send_pipeline "$url" flvmux name=mux streamable=true latency=200000000 ! rtmp2sink name=sink "location=$(quoted "$url")" \
  @video ! h264parse ! mux. @audio ! aacparse ! mux.
