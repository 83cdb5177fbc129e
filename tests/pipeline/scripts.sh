#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The scripts refuse bad input in a sentence, before any set-up, and explain themselves.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
cd "$SOURCE_DIR"

check "demo.sh --help" ./demo.sh --help
check "test.sh --help" ./test.sh --help
refuses "demo.sh: unknown option" "unknown option --speed" ./demo.sh --speed 3
refuses "demo.sh: two prompts" "more than one prompt" ./demo.sh orange fire
for seconds in 0 -1 3601 ten 1e3 ""; do
  refuses "demo.sh: --seconds '$seconds'" "--seconds|unknown option" ./demo.sh --seconds "$seconds"
done
refuses "demo.sh: --seconds without a value" "needs a value" ./demo.sh --seconds
refuses "demo.sh: --seed" "whole number" ./demo.sh --seed 1.5
refuses "demo.sh: no such folder" "does not exist" ./demo.sh --out "$WORK/none/demo.mp4"
refuses "demo.sh: a folder as output" "not a file name" ./demo.sh --out "$WORK"
refuses "demo.sh: no display" "needs a display" env -u DISPLAY -u WAYLAND_DISPLAY ./demo.sh --window
refuses "test.sh: unknown option" "unknown option --all" ./test.sh --all
refuses "test.sh: two filters" "one filter" ./test.sh unit golden

for script in pipelines/*.sh; do
  [[ $(basename "$script") != common.sh ]] || continue
  check "$script --help" "$script" --help
  refuses "$script: unknown option" "unknown option --bogus" "$script" --bogus
done

refuses "rtmp.sh: no RTMP address" "is not rtmp://" pipelines/rtmp.sh http://127.0.0.1/live
refuses "rtmp.sh: no key" "is not rtmp://" pipelines/rtmp.sh rtmp://127.0.0.1/
refuses "rtmp.sh: --retry" "whole number" pipelines/rtmp.sh --retry often rtmp://127.0.0.1/live/key
for url in srt://127.0.0.1 srt://:0 srt://:65536 udp://127.0.0.1:1 "" srt://::1:9000 "srt://h:1?streamid=a b" "srt://h:1?streamid=a#b"; do
  refuses "srt.sh: '$url'" "is not srt://" pipelines/srt.sh "$url"
done
refuses "srt.sh: a short passphrase" "SRT wants 10 to 79" pipelines/srt.sh --passphrase short srt://:9000
refuses "srt.sh: two addresses" "exactly one address" pipelines/srt.sh srt://:1 srt://:2
refuses "srt.sh: a mode in the address" "with a HOST it calls" pipelines/srt.sh "srt://h:1?streamid=x&mode=listener"
for script in srt.sh rtsp.sh; do
  for address in "" "a b" "[::1" "::1;x"; do
    refuses "$script: --bind '$address'" "is not an address" "pipelines/$script" --bind "$address"
  done
done
refuses "udp.sh: IPv6 without brackets" "is not HOST:PORT" pipelines/udp.sh ::1:5004
refuses "rtsp.sh: a port beyond all" "is not a port" pipelines/rtsp.sh 70000
refuses "udp.sh: no port" "is not HOST:PORT" pipelines/udp.sh 127.0.0.1
refuses "file.sh: no such folder" "does not exist" pipelines/file.sh "$WORK/none/x.mp4"
refuses "file.sh: no such sound" "no such file" pipelines/file.sh --audio "$WORK/none.wav" "$WORK/x.mp4"
for strength in 2 -1 x nan ""; do
  refuses "camera.sh: --strength '$strength'" "is not a number from 0 to 1" pipelines/camera.sh --strength "$strength" test
done
refuses "camera.sh: no such file" "there is no file" pipelines/camera.sh "$WORK/none.mp4"
refuses "camera.sh: two inputs" "takes one input" pipelines/camera.sh test screen
refuses "camera.sh: --out of another kind" "does it end in .mp4" pipelines/camera.sh --out "$WORK/x.mkv" test
refuses "gate.sh: no such instructions" "avx2 or native" tests/bench/gate.sh --isa mmx
refuses "gate.sh: an option without its value" "needs a value" tests/bench/gate.sh --seconds
refuses "peers.sh: no peers" "run: tests/bench/peers.sh --install" env FLOWCACHE_PEERS="$WORK/none" tests/bench/peers.sh
refuses "pipewire.sh: a name with a space" "may have letters" pipelines/pipewire.sh "a name"

# A stand-in for meson that does nothing: what counts is whether build/ is taken for another checkout's.
mkdir -p "$WORK/real/tools" "$WORK/real/build/meson-info" "$WORK/real/build/meson-private" "$WORK/real/deps" "$WORK/bin"
cp tools/setup.sh "$WORK/real/tools/"
touch "$WORK/real/build/build.ninja" "$WORK/real/build/meson-private/coredata.dat"
printf '{"directories": {"source": "%s"}}\n' "$(realpath "$WORK/real")" >"$WORK/real/build/meson-info/meson-info.json"
printf '#!/bin/sh\n' >"$WORK/bin/meson"
chmod +x "$WORK/bin/meson"
ln -s real "$WORK/link"
configured_as() {
  touch "$WORK/real/build/compiled"
  PATH=$WORK/bin:$PATH bash -c 'source "$0"; setup_configure' "$1" && test -e "$WORK/real/build/compiled"
}
check "a checkout called by its own name keeps its build/" configured_as "$WORK/real/tools/setup.sh"
check "so it does through a symbolic link to it" configured_as "$WORK/link/tools/setup.sh"
ln -s "$PWD/demo.sh" "$PWD/test.sh" "$PWD/pipelines/file.sh" "$WORK/bin/"
for script in demo.sh test.sh file.sh; do
  check "$script --help through a symbolic link to it" "$WORK/bin/$script" --help
done

# A pipe into what stops reading ends its writer by SIGPIPE, now and then, which pipefail takes for a failure: sed -n 1p and
# grep >/dev/null read to the end.
early='\| *(head|grep +(-[A-Za-z]+ +)*-[A-Za-z]*[qm]|sed +[^|]*[0-9/{; ]q)\b'
if grep -nE "$early" demo.sh test.sh .ci/run tools/*.sh pipelines/*.sh tests/*/*.sh >"$WORK/early.log"; then
  not_ok "no pipe into what stops reading" "$WORK/early.log"
else
  ok "no pipe into what stops reading"
fi

if command -v shellcheck >/dev/null; then
  check "shellcheck" shellcheck -x demo.sh test.sh .ci/run tools/*.sh pipelines/*.sh tests/*/*.sh
else
  skip "shellcheck" "shellcheck is not installed"
fi
finish
