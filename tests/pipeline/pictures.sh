#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a viewer gets, pixel by pixel: by every way out of the scripts each picture arrives once and whole. (WebRTC and what
# flowcache-live sends: tests/live/pictures.py.)
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
cd "$SOURCE_DIR"
scripts_or_skip "pictures"
needs ffmpeg "ffmpeg"
# Large enough for an encoder with two threads to make two slices of a picture.
width=512 height=288
export FLOWCACHE_FAKE=width=$width,height=$height,frames=8,steps=4,chunk_ms=20,twice=1
seconds=4 all=64

# whole NAME FILE LEAST [EXACT]
whole() {
  if timeout 200 "$PYTHON" tests/pipeline/whole.py "$2" $width $height "${@:3}" >"$WORK/whole.log" 2>&1; then
    ok "$1 ($(cat "$WORK/whole.log"))"
  else
    not_ok "$1" "$WORK/whole.log"
  fi
}
# keep NAME FFMPEG_ARGUMENT…: so many seconds of what comes, as it comes, into NAME.h264.
keep() {
  start "$1" timeout 150 ffmpeg -nostdin -v error "${@:2}" -map 0:v -c copy -t $seconds -f h264 "$WORK/$1.h264"
  receivers[$1]=$pid
}
declare -A receivers=() senders=()

# By IPv6 where this machine has it.
here=127.0.0.1 in_address=127.0.0.1
if "$PYTHON" -c 'import socket; socket.socket(socket.AF_INET6).bind(("::1", 0))' 2>/dev/null; then
  here=::1 in_address="[::1]"
fi

# All at once: each takes as long as its video. Receivers first, where they can be.
start file pipelines/file.sh --seconds $seconds "$WORK/file.mp4"
senders[file]=$pid
start hls pipelines/hls.sh --seconds $seconds "$WORK/100%sure"
senders[hls]=$pid
port=$(free_port)
keep udp -f mpegts -i "udp://$in_address:$port?fifo_size=100000"
start udp-sender pipelines/udp.sh "$in_address:$port"
port=$(free_port)
keep rtmp -listen 1 -i "rtmp://127.0.0.1:$port/live/key"
start rtmp-sender pipelines/rtmp.sh "rtmp://127.0.0.1:$port/live/key"
if gst-inspect-1.0 srtsink >/dev/null 2>&1 && ffmpeg -v error -protocols | grep -w srt >/dev/null; then
  port=$(free_port)
  keep srt -f mpegts -i "srt://$in_address:$port?mode=listener"
  start srt-sender pipelines/srt.sh "srt://$in_address:$port"
  port=$(free_port)
  start srt-listener pipelines/srt.sh --bind "$here" "srt://:$port"
  until_true said "$WORK/srt-listener.log" ": on air$" 1 || true
  keep srt-call -f mpegts -i "srt://$in_address:$port"
fi
if [[ -x build/apps/rtsp/flowcache-rtsp ]]; then
  start rtsp pipelines/rtsp.sh --bind "$here" 0
  until_true said "$WORK/rtsp.log" "^serving" 1 || true
  url=$(sed -n 's/^serving //p' "$WORK/rtsp.log")
  for transport in tcp udp; do keep rtsp-$transport -rtsp_transport $transport -i "$url"; done
fi

for name in file hls; do
  wait "${senders[$name]}" && status=0 || status=$?
  check "$name.sh ends well" test "$status" -eq 0
done
whole "a file" "$WORK/file.mp4" $all $all
whole "HLS, in a folder with a percent sign" "$WORK/100%sure/live.m3u8" $all $all
for name in udp rtmp srt srt-call rtsp-tcp rtsp-udp; do
  if [[ -z ${receivers[$name]:-} ]]; then
    skip "$name" "gstreamer1.0-plugins-bad, ffmpeg or libgstrtspserver-1.0-dev lacks it here"
    continue
  fi
  wait "${receivers[$name]}" || true
  whole "$name" "$WORK/$name.h264" $((all / 2))
done
finish
