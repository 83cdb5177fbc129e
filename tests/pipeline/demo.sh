#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ./demo.sh end to end, as a person calls it for the second time.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
unset GST_PLUGIN_PATH_1_0 GST_REGISTRY_1_0

if [[ $(realpath "$BUILD_DIR") != $(realpath "$SOURCE_DIR")/build ]]; then
  skip "demo.sh" "demo.sh works with build/, these tests run in $BUILD_DIR"
  finish
  exit 0
fi
log=$WORK/demo.log out=$WORK/a\ video.mp4
demo() { timeout 500 "$SOURCE_DIR/demo.sh" "orange fire" --seconds 2 --out "$out" >"$log" 2>&1; }
if demo; then ok "demo.sh ends well"; else not_ok "demo.sh ends well" "$log"; fi
says() { if grep -qE -- "$2" "$log"; then ok "$1"; else not_ok "$1" "$log"; fi; }
says "prints the pipeline" 'flowcachesrc .*! x264enc .*! mp4mux .*! filesink'
has_encoder() { grep -qF -- "! $("$BUILD_DIR/apps/ask/flowcache-ask" encoder x264 2000 32) !" "$log"; }
check "with the encoder settings of the scripts" has_encoder
says "has a live line" 'fps at the pad .* x real time .* steps [0-9]+ computed, [0-9]+ reused .* KV [0-9.]+ of [0-9.]+ MB'
says "says when the first frame came" 'first frame after [0-9.]+ s'
says "compares the time per chunk" 'time per chunk .* [0-9]+ ms +[0-9]+ ms'
says "compares the steps" 'steps computed +[0-9]+ of [0-9]+ +[0-9]+ of [0-9]+'
says "compares the pictures" 'PSNR between the two +([0-9.]+ dB|identical)'

gst-discoverer-1.0 -v "$out" >"$WORK/discover.log" 2>&1 || true
discovered() { if grep -qE -- "$2" "$WORK/discover.log"; then ok "$1"; else not_ok "$1" "$WORK/discover.log"; fi; }
discovered "the file is H.264 video" 'H\.264'
discovered "of two seconds" 'Duration: 0:00:0(2\.0|1\.9)'
discovered "of the model's size" 'width=\(int\)512.*height=\(int\)288|Width: 512'
decode() {
  gst-launch-1.0 -q filesrc location="$1" ! decodebin ! videoconvert ! video/x-raw,format=RGB ! filesink location="$WORK/raw"
}
check "the video decodes" decode "$out"
check "to 32 pictures that move" bash -c "[[ \$(stat -c %s '$WORK/raw') -eq $((512 * 288 * 3 * 32)) ]]"
check "that are not flat" picture alive "$WORK/raw" 512 288
check "and more red than green or blue, as the prompt says" picture hue "$WORK/raw" 512 288 red
check "the contact sheet decodes" decode "${out%.mp4}.png"
check "and is a picture" bash -c "[[ \$(stat -c %s '$WORK/raw') -gt 100000 ]]"

refuses "an output that cannot be written" "cannot be written|/proc" "$SOURCE_DIR/demo.sh" --seconds 1 --out /proc/demo.mp4
finish
