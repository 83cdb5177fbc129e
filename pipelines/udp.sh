#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/udp.sh [OPTIONS] [HOST:PORT]

Sends generated video as MPEG-TS over UDP (default 127.0.0.1:5004). A receiver may come and go: nobody is waited for.
Watch it with
  gst-launch-1.0 udpsrc port=5004 caps=video/mpegts,systemstream=true ! tsdemux ! decodebin ! autovideosink
An address of IPv6 stands in brackets: [::1]:5004.

TEXT
  common_options
}

parse_arguments "$@"
[[ ${#arguments[@]} -le 1 ]] || die "one HOST:PORT, not ${#arguments[@]}" "see $0 --help"
target=${arguments[0]:-127.0.0.1:5004}
if ! read_address "$target" || [[ -z $host ]]; then
  die "$target is not HOST:PORT or, of IPv6, [HOST]:PORT with a port from 1 to 65535"
fi
# alignment=7: seven TS packets fill one datagram of an Ethernet frame. With a key frame every second, a
# receiver that joins sees a picture within a second.
prepare
set_encoder 2000 1
run_pipeline "$target" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${encoder[@]}" ! h264parse config-interval=-1 \
  ! mpegtsmux alignment=7 ! udpsink "host=$host" "port=$port"
