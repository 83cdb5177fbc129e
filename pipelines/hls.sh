#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/hls.sh [OPTIONS] FOLDER

Writes generated video as HLS: FOLDER/live.m3u8, segments of two seconds of which the last six are kept, and index.html,
a page that plays it in browsers with HLS of their own. Any web server can serve the folder, for example
  python3 -m http.server --bind 127.0.0.1 --directory FOLDER 8080

TEXT
  common_options
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one FOLDER is wanted, not ${#arguments[@]}" "see $0 --help"
folder=${arguments[0]%/}
if [[ $dry_run -eq 0 ]]; then
  if ! mkdir -p "$folder" 2>/dev/null || [[ ! -w $folder ]]; then die "$folder cannot be made or written: name another folder"; fi
  cat >"$folder/index.html" <<'HTML'
<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>flowcache live</title>
<style>body { margin: 0; background: #111; display: grid; place-items: center; min-height: 100vh } video { width: min(100vw, 960px) }</style>
<video src="live.m3u8" autoplay muted playsinline controls></video>
HTML
fi
# A segment begins with a key frame, so the distance of key frames is the length of a segment.
segment_seconds=2
prepare
set_encoder 2000 $segment_seconds
# The name of the segments is a printf pattern, so percent signs in the folder's name are doubled.
run_pipeline "$folder" "${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${encoder[@]}" ! h264parse \
  ! hlssink2 target-duration=$segment_seconds playlist-length=5 max-files=6 "location=$(quoted "${folder//%/%%}/segment-%05d.ts")" \
  "playlist-location=$(quoted "$folder/live.m3u8")"
