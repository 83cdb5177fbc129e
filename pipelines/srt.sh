#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/srt.sh [OPTIONS] srt://[HOST]:PORT

Sends generated video as MPEG-TS over SRT. With a HOST it calls that receiver; without one it listens on PORT of this
machine (127.0.0.1) and receivers may come and go. Watch it with
  gst-launch-1.0 srtsrc uri=srt://127.0.0.1:PORT ! tsdemux ! decodebin ! autovideosink

  --latency MS   how long SRT may take to repair losses (default 125)
TEXT
  common_options
}

latency=125
own_option() {
  [[ $1 == --latency ]] || return 1
  [[ $2 =~ ^[0-9]{1,5}$ ]] || die "--latency '$2' is not a whole number of milliseconds from 0 to 99999"
  latency=$2
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one address is wanted, not ${#arguments[@]}" "see $0 --help"
url=${arguments[0]}
[[ $url =~ ^srt://([^:/?]*):([0-9]{1,5})$ ]] || die "$url is not srt://[HOST]:PORT"
host=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
if [[ -n $host ]]; then
  sink=(srtsink "uri=srt://$host:$port" mode=caller)
else
  # wait-for-connection=false: the stream goes on whether or not somebody listens.
  sink=(srtsink "uri=srt://127.0.0.1:$port" mode=listener wait-for-connection=false)
fi
set_encoder 2000 16
run_pipeline "$url" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${encoder[@]}" ! h264parse config-interval=-1 \
  ! mpegtsmux alignment=7 ! "${sink[@]}" "latency=$latency"
