#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pipelines/camera.sh: into a file, and with sound to nginx with its RTMP module. A film that flashes and ticks once a second is
# sent, and the flashes must not leave their ticks. CAMERA_SECONDS: how long (default 8).
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
cd "$SOURCE_DIR"
scripts_or_skip "camera.sh"
needs ffmpeg "ffmpeg"
seconds=${CAMERA_SECONDS:-8}
PATIENCE=$((PATIENCE + 2 * seconds))

refuses "an --out that is nothing" "neither rtmp://HOST/APPLICATION/KEY nor" pipelines/camera.sh test --out "$WORK/x.avi"
refuses "sound that nobody has" "has no sound of its own" pipelines/camera.sh test --out "$WORK/x.mp4" --sound input
refuses "sound for a window" "sound is for --out" env DISPLAY=:9 pipelines/camera.sh test --sound ticks
refuses "a camera that is not there" "there is no /dev/video-none" pipelines/camera.sh /dev/video-none --out "$WORK/x.mp4"

check "the test picture with ticks becomes a file" patiently pipelines/camera.sh test --seconds 3 --out "$WORK/test.mp4" --sound ticks
ffprobe -v error -show_entries stream=codec_name,width,height,duration -of csv=p=0 "$WORK/test.mp4" >"$WORK/probe.log" 2>&1 || true
check "it has H.264, but for what came while the model loaded" grep -qE '^h264,160,96,(3\.0|2\.[0-9])' "$WORK/probe.log"
check "and as much AAC" grep -qE '^aac,(3\.0|2\.9)' "$WORK/probe.log"

# test.sh unpacks nginx into deps/; an installed one does as well.
server=$SOURCE_DIR/deps/nginx
[[ -x $server/usr/sbin/nginx ]] || server=""
module=$server/usr/lib/nginx/modules/ngx_rtmp_module.so
needs "$server/usr/sbin/nginx" "nginx"
needs "$module" "libnginx-mod-rtmp"
port=$(free_port)
cat >"$WORK/nginx.conf" <<CONF
load_module $module;
daemon off;
master_process off;
pid $WORK/nginx.pid;
error_log $WORK/nginx-error.log info;
events {}
rtmp { access_log off; server { listen 127.0.0.1:$port; application live { live on; record all; record_path $WORK; record_suffix .flv; } } }
CONF
start nginx "$server/usr/sbin/nginx" -p "$WORK" -c "$WORK/nginx.conf" -e "$WORK/nginx-error.log"
until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"

ffmpeg -nostdin -v error -f lavfi -i "color=c=black:s=320x192:r=25:d=$((seconds + 1)),drawbox=t=fill:c=white:enable='lt(mod(t,1),0.2)'" \
  -f lavfi -i "aevalsrc='if(lt(mod(t,1),0.05),0.8*sin(2*PI*1000*t),0)':s=48000:d=$((seconds + 1))" \
  -c:v libx264 -preset ultrafast -c:a pcm_s16le "$WORK/flash.mov"
if patiently pipelines/camera.sh "$WORK/flash.mov" --seconds "$seconds" --out "rtmp://127.0.0.1:$port/live/flash" >"$WORK/send.log" 2>&1; then
  ok "a film with sound is repainted and sent for $seconds s"
else
  not_ok "a film with sound is repainted and sent for $seconds s" "$WORK/send.log"
fi
until_true test -s "$WORK/flash.flv" || true
if "$PYTHON" tests/pipeline/drift.py "$WORK/flash.flv" 160 96 16 >"$WORK/drift.log" 2>&1; then
  ok "flashes stay with their ticks: $(tail -n 1 "$WORK/drift.log")"
else
  not_ok "flashes stay with their ticks" "$WORK/drift.log"
fi

check "the test picture is sent, too" patiently pipelines/camera.sh test --seconds 4 --out "rtmp://127.0.0.1:$port/live/test"
ffprobe -v error -show_entries stream=codec_name,width,height -of csv=p=0 "$WORK/test.flv" >"$WORK/probe.log" 2>&1 || true
check "H.264 arrives" grep -q '^h264,160,96' "$WORK/probe.log"
check "and AAC" grep -q '^aac' "$WORK/probe.log"
refuses "nobody listens" "[Rr]efused|[Cc]onnect" pipelines/camera.sh test --seconds 2 --out "rtmp://127.0.0.1:$(free_port)/live/key"
finish
