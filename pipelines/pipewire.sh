#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/pipewire.sh [OPTIONS] [NAME]

Makes generated video a camera of that name (default flowcache) for programs that read PipeWire, for example through the
camera portal. They may come and go, but with PipeWire before 1.0
let it play before the first of them links.

TEXT
  common_options
}

parse_arguments "$@"
[[ ${#arguments[@]} -le 1 ]] || die "one NAME, not ${#arguments[@]}" "see $0 --help"
name=${arguments[0]:-flowcache}
[[ $name =~ ^[A-Za-z0-9_.-]+$ ]] || die "the name '$name' may have letters, digits, '_', '.' and '-' only"
if [[ $dry_run -eq 0 ]]; then
  has_element pipewiresink || die "GStreamer has no pipewiresink here: install gstreamer1.0-pipewire"
  runtime=${PIPEWIRE_RUNTIME_DIR:-${XDG_RUNTIME_DIR:-/run/user/$(id -u)}}
  [[ -S $runtime/${PIPEWIRE_REMOTE:-pipewire-0} ]] ||
    die "no PipeWire answers at $runtime/${PIPEWIRE_REMOTE:-pipewire-0}" "is it running, and is this its session?"
fi
prepare
# drop-allocation=true: if the stream has buffers of the sink's own pool, the sink of PipeWire 0.3.65 crashes
# when a reader connects.
run_pipeline "PipeWire node $name" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! video/x-raw,format=RGBx \
  ! identity drop-allocation=true ! pipewiresink mode=provide "stream-properties=\"props,media.class=Video/Source,media.role=Camera,node.name=$name,node.description=$name\""
