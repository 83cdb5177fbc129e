#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pipelines/rtmp.sh against nginx with its RTMP module: publish, play back, kill and restart the server in mid-stream.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
cd "$SOURCE_DIR"
scripts_or_skip "rtmp.sh"

# A stalled other side takes 12 seconds to be seen, so it is begun first and looked at last: a sink that waits an hour.
start stalled build/apps/send/flowcache-send rtmp://stalled 0 \
  "flowcachesrc ! videoconvert ! x264enc tune=zerolatency ! appsink name=video" \
  "appsrc name=video ! fakesink name=sink sync=true ts-offset=3600000000000"
stalled=$pid

# test.sh unpacks nginx into deps/; an installed one does as well.
server=$SOURCE_DIR/deps/nginx
[[ -x $server/usr/sbin/nginx ]] || server=""
module=$server/usr/lib/nginx/modules/ngx_rtmp_module.so
port=$(free_port)
url=rtmp://127.0.0.1:$port/live/key
refuses "nobody listens" "127\.0\.0\.1:$port.*[Rr]efused" pipelines/rtmp.sh --retry 0 "$url"
refuses "no such host" "nowhere\.invalid" pipelines/rtmp.sh --retry 0 rtmp://nowhere.invalid/live/key
refuses "a second attempt ends as well" "1 of 1" pipelines/rtmp.sh --retry 1 "$url"

needs "$server/usr/sbin/nginx" "nginx"
needs "$module" "libnginx-mod-rtmp"
needs ffprobe "ffmpeg"
cat >"$WORK/nginx.conf" <<CONF
load_module $module;
daemon off;
master_process off;
pid $WORK/nginx.pid;
error_log $WORK/nginx-error.log info;
events {}
rtmp { access_log off; server { listen 127.0.0.1:$port; application live { live on; wait_key on; } } }
CONF
serve() {
  start nginx "$server/usr/sbin/nginx" -p "$WORK" -c "$WORK/nginx.conf" -e "$WORK/nginx-error.log"
  nginx=$pid
  until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
}
play() { patiently ffprobe -v error -show_entries stream=codec_name,width,height -of csv "$url" >"$WORK/play.log" 2>&1; }
plays() {
  if play && grep -q 'h264,160,96' "$WORK/play.log" && grep -q aac "$WORK/play.log"; then
    ok "$1"
  else
    not_ok "$1" "$WORK/play.log"
  fi
}

serve
start send pipelines/rtmp.sh "$url"
sender=$pid
says "on air" send "^rtmp://127.0.0.1:$port: on air$"
plays "ffprobe plays back H.264 and AAC"
frames() { patiently ffmpeg -v error -i "$url" -fps_mode passthrough -frames:v 24 -f rawvideo -pix_fmt rgb24 "$WORK/frames.raw"; }
check "ffmpeg plays 24 frames" frames
check "all of them" test "$(stat -c %s "$WORK/frames.raw")" -eq $((160 * 96 * 3 * 24))
check "that move" picture alive "$WORK/frames.raw" 160 96

before=$(resident "$sender")
stop "$nginx" KILL || true
says "the server is killed: the sender says so and goes on" send "trying again .*the generation goes on"
says "it tries more than once" send "\(2 of 30\)"
serve
says "the server is back: on air again" send ": on air$" 2
plays "ffprobe plays back again"
after=$(resident "$sender")
check "nothing has piled up ($before KB before, $after KB after)" test "$after" -lt $((before + 30000))
stop "$sender" INT && status=0 || status=$?
check "Ctrl-C ends it well" test "$status" -eq 0
says "it was connected twice" send "connected 2 times"
read -r generated sent < <(sed -nE 's/^([0-9]+) frames generated, ([0-9]+) sent.*/\1 \2/p' "$WORK/send.log")
check "frames were made while nobody took them ($generated made, $sent sent)" test "$generated" -gt $((sent + 16))
check "the key is in none of its messages" bash -c "! grep -v '^gst-launch' '$WORK/send.log' | grep live/key"

start refused pipelines/rtmp.sh --retry 0 "rtmp://127.0.0.1:$port/other/key"
says "an application that the server does not have ends it with a message" refused "^error: rtmp://127.0.0.1:$port: "
says "an other side that takes nothing is given up" stalled "error: rtmp://stalled: the other side has taken nothing for 10 s"
stop "$stalled" || true
finish
