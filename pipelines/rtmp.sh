#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/rtmp.sh [OPTIONS] rtmp://HOST[:PORT]/APPLICATION/KEY

Publishes generated video to an RTMP server. Ends with a message when the server goes away.

  --retry N      when the server goes away, try again N times, two seconds apart (default 0)
TEXT
  common_options
}

retry=0
own_option() {
  [[ $1 == --retry ]] || return 1
  [[ $2 =~ ^[0-9]{1,6}$ ]] || die "--retry '$2' is not a whole number from 0 to 999999"
  retry=$2
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one address is wanted, not ${#arguments[@]}" "see $0 --help"
url=${arguments[0]}
[[ $url =~ ^rtmps?://[^/]+/.+ ]] || die "$url is not rtmp://HOST[:PORT]/APPLICATION/KEY"

# Two seconds between key frames is what RTMP servers cut their segments by. Most of them want a sound track, so silence
# goes with it.
set_encoder 2500 32
set_sound silence 0
pipeline=(flvmux name=mux streamable=true ! rtmp2sink "location=$(quoted "$url")"
  "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${encoder[@]}" ! h264parse ! mux.
  "${sound[@]}" ! avenc_aac bitrate=64000 ! queue ! mux.)
for ((attempt = 0; ; ++attempt)); do
  if run_pipeline "$url" "${pipeline[@]}"; then exit 0; fi
  if [[ $attempt -ge $retry ]]; then exit 1; fi
  say "trying again in two seconds ($((retry - attempt)) left)"
  sleep 2
done
