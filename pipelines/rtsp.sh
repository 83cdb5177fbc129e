#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/rtsp.sh [OPTIONS] [PORT]

Serves generated video, with a soft sound, at rtsp://127.0.0.1:PORT/live (default 8554). Viewers share one generation,
which begins with the first of them and ends with the last. Watch it with
  ffplay rtsp://127.0.0.1:8554/live

  --bind ADDR    where to listen (default 127.0.0.1; 0.0.0.0: every interface, open to all who reach it)
TEXT
  common_options
}

bind=127.0.0.1
own_option() { bind_option "$@"; }

parse_arguments "$@"
[[ ${#arguments[@]} -le 1 ]] || die "one PORT, not ${#arguments[@]}" "see $0 --help"
port=${arguments[0]:-8554}
[[ $port =~ ^[0-9]{1,5}$ && $port -le 65535 ]] || die "$port is not a port from 0 (a free one) to 65535"

#   key frames a second apart   a viewer who joins sees a picture within a second
#   config-interval=-1          each key frame comes with the data that a decoder needs to begin. The parser adds it once for
#                               each picture. The payloader would add it before each slice, and players would take that for
#                               the start of another picture
prepare
set_encoder 2000 1
set_sound pink-noise 0.05 opus
pipeline=("${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${encoder[@]}" ! h264parse config-interval=-1
  ! rtph264pay name=pay0 pt=96
  "${sound[@]}" ! rtpopuspay name=pay1 pt=97)
if [[ $dry_run -eq 1 ]]; then
  description="( ${pipeline[*]} )"
  echo "apps/rtsp/flowcache-rtsp $bind $port /live '${description//\'/\'\\\'\'}'"
  exit
fi
# Built only if gst-rtsp-server is installed.
ninja -C "$BUILD" -t query apps/rtsp/flowcache-rtsp >/dev/null 2>&1 ||
  die "gst-rtsp-server is missing: install libgstrtspserver-1.0-dev, then run: meson setup --reconfigure $BUILD"
set_up apps/rtsp/flowcache-rtsp
exec "$BUILD/apps/rtsp/flowcache-rtsp" "$bind" "$port" /live "( ${pipeline[*]} )"
