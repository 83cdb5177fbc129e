#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/window.sh [OPTIONS]

Shows generated video in a window, with the running time in a corner if asked for. Closing the window ends it.

  --clock        show the running time
TEXT
  common_options
}

clock=()
# --clock has no value, so it is removed before the other options are read.
words=()
for word in "$@"; do
  if [[ $word == --clock ]]; then clock=(timeoverlay !); else words+=("$word"); fi
done
parse_arguments "${words[@]}"
[[ ${#arguments[@]} -eq 0 ]] || die "window.sh takes no file: ${arguments[*]}" "see $0 --help"
if [[ $dry_run -eq 0 && -z ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]]; then
  die "a window needs a display and neither DISPLAY nor WAYLAND_DISPLAY is set" "pipelines/file.sh writes a file instead"
fi
prepare
run_pipeline "the window" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${clock[@]}" autovideosink
