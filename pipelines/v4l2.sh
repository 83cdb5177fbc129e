#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/v4l2.sh [OPTIONS] /dev/videoN

Makes generated video a camera for every program that reads V4L2: browsers, OBS, Zoom, ffmpeg. The device must be a
loopback; on Debian:
  sudo apt-get install v4l2loopback-dkms
  sudo modprobe v4l2loopback video_nr=9 card_label=flowcache exclusive_caps=1
then
  pipelines/v4l2.sh /dev/video9

TEXT
  common_options
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one device is wanted, not ${#arguments[@]}" "see $0 --help"
device=${arguments[0]}
if [[ $dry_run -eq 0 ]]; then
  [[ -e $device ]] || die "$device does not exist" "see $0 --help for how to make a loopback device"
  [[ -c $device ]] || die "$device is not a device"
  [[ -w $device ]] || die "$device cannot be written by $(id -un): its group, often \"video\", may"
fi
prepare
# Most programs expect YUY2 from a camera.
run_pipeline "$device" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! video/x-raw,format=YUY2 \
  ! v4l2sink "device=$(quoted "$device")"
