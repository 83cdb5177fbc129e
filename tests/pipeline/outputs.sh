#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The ways out that need no server of somebody else's: a file with sound, HLS, RTSP, UDP; cameras say what is missing.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
cd "$SOURCE_DIR"
scripts_or_skip "outputs"
needs ffprobe "ffmpeg"
probe() { patiently ffprobe -v error -show_entries "stream=codec_name,width,height,duration" -of csv=p=0 "$@"; }
# probed NAME PATTERN FFPROBE_ARGUMENT…
probed() {
  probe "${@:3}" >"$WORK/probe.log" 2>&1 || true
  if grep -qE "$2" "$WORK/probe.log"; then ok "$1"; else not_ok "$1" "$WORK/probe.log"; fi
}

# Everything that takes its time is begun at once.
hls=$WORK/a\ folder
start hls pipelines/hls.sh --seconds 7 "$hls"
hls_pid=$pid
"$PYTHON" - "$WORK/tone.wav" <<'PY'
import math, struct, sys, wave
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 44100, 0, "NONE", ""))
    file.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(i * 0.06))) for i in range(44100 * 3)))
PY
start noise pipelines/file.sh --seconds 3 --audio noise "$WORK/noise.mp4"
pids=("$pid")
start tone pipelines/file.sh --seconds 3 --audio "$WORK/tone.wav" "$WORK/tone.mp4"
pids+=("$pid")

for script in pipelines/*.sh; do
  case $script in
    *common.sh) continue ;;
    *rtmp.sh) target=rtmp://127.0.0.1/live/key ;;
    *srt.sh) target=srt://127.0.0.1:9000 ;;
    *file.sh) target=$WORK/x.mp4 ;;
    *hls.sh) target=$WORK/x ;;
    *v4l2.sh) target=/dev/video9 ;;
    *) target="" ;;
  esac
  env DISPLAY=:9 "$script" --dry-run ${target:+"$target"} >"$WORK/dry.log" 2>&1 || true
  if grep -qE '(gst-launch-1.0|flowcache-rtsp).* flowcache(src|filter) ' "$WORK/dry.log"; then
    ok "$script --dry-run prints the pipeline"
  else
    not_ok "$script --dry-run prints the pipeline" "$WORK/dry.log"
  fi
done
refuses "a camera that does not exist" "/dev/video-none does not exist" pipelines/v4l2.sh /dev/video-none
refuses "a camera that is a file" "is not a device" pipelines/v4l2.sh "$WORK/tone.wav"
refuses "no PipeWire" "pipewiresink|no PipeWire answers" env XDG_RUNTIME_DIR="$WORK" pipelines/pipewire.sh
refuses "HLS where nothing can be written" "cannot be made" pipelines/hls.sh /proc/flowcache

if [[ -x build/apps/rtsp/flowcache-rtsp ]]; then
  start rtsp pipelines/rtsp.sh 0
  rtsp=$pid
  says "RTSP is served on a free port" rtsp "^serving rtsp://127.0.0.1:[1-9][0-9]*/live"
  url=$(sed -n 's/^serving //p' "$WORK/rtsp.log")
  refuses "a second server on the same port" "choose another port" pipelines/rtsp.sh "$(grep -oE '[0-9]+/' <<<"$url" | tr -d /)"
  # Two at once, one over TCP that is then killed, one over UDP that goes on.
  start tcp ffmpeg -v error -rtsp_transport tcp -i "$url" -f null -
  tcp=$pid
  says "a viewer comes over TCP" rtsp "a viewer has come"
  probed "ffprobe sees H.264 beside it" '^h264,160,96' -rtsp_transport tcp "$url"
  probed "and Opus" '^opus' -rtsp_transport tcp "$url"
  stop "$tcp" KILL || true
  view() {
    patiently gst-launch-1.0 -q rtspsrc location="$url" latency=100 protocols=udp ! rtph264depay ! avdec_h264 ! videoconvert \
      ! video/x-raw,format=RGB ! identity eos-after=25 ! filesink location="$WORK/rtsp.raw"
  }
  check "GStreamer plays it over UDP after the first was killed" view
  check "pictures that move" picture alive "$WORK/rtsp.raw" 160 96
  more_than() { [[ $(grep -c "a viewer has come" "$WORK/rtsp.log") -gt $1 ]]; }
  before=$(grep -c "a viewer has come" "$WORK/rtsp.log")
  start watching ffmpeg -v error -rtsp_transport tcp -i "$url" -f null -
  until_true more_than "$before"
  stop "$rtsp" INT && status=0 || status=$?
  check "Ctrl-C ends it well, with a viewer" test "$status" -eq 0
else
  skip "RTSP" "libgstrtspserver-1.0-dev was not installed when this was built"
fi

# A PipeWire of the test's own, without a session manager: the test links the reader itself.
pipewire_reads() {
  patiently gst-launch-1.0 -q pipewiresrc num-buffers=40 ! videoconvert ! video/x-raw,format=RGB \
    ! filesink location="$WORK/pipewire.raw" &
  local reader=$! result=0
  until_true pw-link camera:out_0 gst-launch-1.0:in_0 && wait "$reader" || result=$?
  return "$result"
}
if command -v pipewire >/dev/null && command -v pw-link >/dev/null && gst-inspect-1.0 pipewiresink >/dev/null 2>&1; then
  cat >"$WORK/pipewire.conf" <<'CONF'
context.properties = { core.daemon = true core.name = pipewire-0 mem.mlock-all = false }
context.spa-libs = { support.* = support/libspa-support }
context.modules = [
  { name = libpipewire-module-protocol-native } { name = libpipewire-module-spa-node-factory }
  { name = libpipewire-module-client-node } { name = libpipewire-module-access }
  { name = libpipewire-module-adapter } { name = libpipewire-module-link-factory }
]
context.objects = [ { factory = spa-node-factory args = { factory.name = support.node.driver node.name = driver
  node.group = pipewire.dummy priority.driver = 20000 } } ]
CONF
  export PIPEWIRE_RUNTIME_DIR=$WORK
  start pipewire pipewire -c "$WORK/pipewire.conf"
  until_true test -S "$WORK/pipewire-0" || true
  start camera pipelines/pipewire.sh camera
  camera=$pid
  says "the PipeWire camera plays" camera "^New clock"
  until_true bash -c 'pw-link -o | grep camera:out_0' || true
  check "a reader sees the PipeWire camera" pipewire_reads
  check "pictures that move" picture alive "$WORK/pipewire.raw" 160 96
  check "another comes after it has left" pipewire_reads
  stop "$camera" && status=0 || status=$?
  check "a signal ends the camera well" test "$status" -eq 0
else
  skip "the PipeWire camera" "pipewire, pipewire-bin or gstreamer1.0-pipewire is not installed"
fi

port=$(free_port)
start udp pipelines/udp.sh "127.0.0.1:$port"
udp=$pid
probed "UDP: ffprobe sees MPEG-TS with H.264" '^h264,160,96' -f mpegts "udp://127.0.0.1:$port?timeout=${PATIENCE}000000"
stop "$udp" && status=0 || status=$?
check "a signal ends it well" test "$status" -eq 0

for name in noise tone; do
  wait "${pids[0]}" && status=0 || status=$?
  pids=("${pids[@]:1}")
  check "the file with $name is finished" test "$status" -eq 0
  probed "it has three seconds of H.264" '^h264,160,96,(3\.0|2\.9)' "$WORK/$name.mp4"
  probed "and as much AAC" '^aac,(3\.0|2\.9)' "$WORK/$name.mp4"
done

wait "$hls_pid" && status=0 || status=$?
check "HLS is finished" test "$status" -eq 0
http=$(free_port)
start http "$PYTHON" -m http.server --bind 127.0.0.1 --directory "$hls" "$http"
until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$http" || true
probed "ffprobe reads its playlist from a web server" '^h264,160,96' "http://127.0.0.1:$http/live.m3u8"
count() { ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$hls/live.m3u8" | sed -n 1p; }
frames=$(count)
check "its segments have every frame ($frames of 112)" test "${frames:-0}" -eq 112
check "with a page that plays it" grep -q 'src="live.m3u8"' "$hls/index.html"
finish
