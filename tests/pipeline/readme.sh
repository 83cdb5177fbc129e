#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The gst-launch lines of README.md run as they are printed.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
unset GST_PLUGIN_PATH_1_0 GST_REGISTRY_1_0 # devenv sets what the lines need

mapfile -t lines < <(grep -E '^ *meson devenv -C build gst-launch-1\.0 ' "$SOURCE_DIR/README.md")
if [[ ${#lines[@]} -ge 5 ]]; then ok "README.md has ${#lines[@]} lines to run"; else not_ok "README.md has five lines to run"; fi

have_display=1
start_display || have_display=0
# What the lines write goes into the build folder, which is where devenv runs them; here into a folder of the test's.
for line in "${lines[@]}"; do
  name="runs as printed: ${line#*gst-launch-1.0 }"
  if [[ $line == *autovideosink* && $have_display -eq 0 ]]; then
    skip "$name" "Xvfb is not installed"
    continue
  fi
  line=${line/-C build/-C \"$BUILD_DIR\" -w \"$WORK\"}
  check "$name" timeout 120 bash -c "cd '$SOURCE_DIR' && $line"
  if grep -qE 'ERROR|CRITICAL|WARNING: erroneous' "$WORK/check.log"; then not_ok "… without complaint" "$WORK/check.log"; fi
done

for file in "$WORK"/*.mp4; do
  [[ -f $file ]] || continue
  check "gst-discoverer-1.0 reads $(basename "$file")" bash -c "gst-discoverer-1.0 '$file' | grep 'H.264'"
done
finish
