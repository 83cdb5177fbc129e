#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/pipewire.sh [OPTIONS] [NAME]

Makes generated video a camera of that name (default flowcache) for programs that read PipeWire, for example through the
camera portal. It needs the pipewiresink of PipeWire 1.0 or later: the one before crashes when a reader links. There,
pipelines/v4l2.sh makes a camera that PipeWire shows as well.

TEXT
  common_options
}

parse_arguments "$@"
[[ ${#arguments[@]} -le 1 ]] || die "one NAME, not ${#arguments[@]}" "see $0 --help"
name=${arguments[0]:-flowcache}
[[ $name =~ ^[A-Za-z0-9_.-]+$ ]] || die "the name '$name' may have letters, digits, '_', '.' and '-' only"
if [[ $dry_run -eq 0 ]]; then
  has_element pipewiresink || die "GStreamer has no pipewiresink here: install gstreamer1.0-pipewire"
  version=$(gst-inspect-1.0 pipewiresink | awk '$1 == "Version" { print $2 }')
  [[ $version != 0.* ]] || die "pipewiresink $version crashes when a reader links; 1.0 or later is wanted" "use pipelines/v4l2.sh here"
  runtime=${PIPEWIRE_RUNTIME_DIR:-${XDG_RUNTIME_DIR:-/run/user/$(id -u)}}
  [[ -S $runtime/${PIPEWIRE_REMOTE:-pipewire-0} ]] ||
    die "no PipeWire answers at $runtime/${PIPEWIRE_REMOTE:-pipewire-0}" "is it running, and is this its session?"
fi
run_pipeline "PipeWire node $name" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! video/x-raw,format=RGBx \
  ! pipewiresink mode=provide "stream-properties=\"props,media.class=Video/Source,media.role=Camera,node.name=$name,node.description=$name\""
