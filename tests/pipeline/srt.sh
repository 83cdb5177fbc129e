#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pipelines/srt.sh with real receivers: it listens and they come and go; it calls one that is killed and comes back.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
cd "$SOURCE_DIR"
scripts_or_skip "srt.sh"
if ! gst-inspect-1.0 srtsink >/dev/null; then
  skip "srt.sh" "gstreamer1.0-plugins-bad has no srtsink here"
  finish
  exit 0
fi

# receive URI [PROPERTY…]: 24 decoded frames of what comes, as RGB.
receive() {
  patiently gst-launch-1.0 -q srtsrc "uri=$1" "${@:2}" ! tsdemux ! h264parse ! avdec_h264 ! videoconvert \
    ! video/x-raw,format=RGB ! identity eos-after=25 ! filesink "location=$WORK/frames.raw"
}
arrived() { [[ $(stat -c %s "$WORK/frames.raw") -ge $((160 * 96 * 3 * 24)) ]] && picture alive "$WORK/frames.raw" 160 96; }

# SRT takes five seconds to see that a peer is gone, so that is begun here and looked at last.
called=$(free_port)
receiver() {
  start receiver gst-launch-1.0 -v srtsrc "uri=srt://127.0.0.1:$called?mode=listener" ! tsdemux ! h264parse \
    ! fakesink silent=false
  receiver=$pid
}
receiver
start call pipelines/srt.sh "srt://127.0.0.1:$called"
caller=$pid
says "it calls a receiver" call ": on air$"
says "which sees frames" receiver "chain .*bytes" 24
before=$(resident "$caller")
stop "$receiver" KILL || true

port=$(free_port)
start listen pipelines/srt.sh "srt://:$port"
listener=$pid
says "it listens and sends though nobody watches" listen ": on air$"
check "a receiver comes" receive "srt://127.0.0.1:$port"
check "and sees pictures that move" arrived
check "another comes after it has left" receive "srt://127.0.0.1:$port"
check "and sees them too" arrived
stop "$listener" INT && status=0 || status=$?
check "Ctrl-C ends it well" test "$status" -eq 0

port=$(free_port)
start secret pipelines/srt.sh --passphrase "a long secret" "srt://:$port"
secret=$pid
says "with a passphrase it sends as well" secret ": on air$"
check "a receiver that knows it comes" receive "srt://127.0.0.1:$port" passphrase="a long secret"
check "and sees pictures" arrived
refuses "one that does not know it is turned away" "." gst-launch-1.0 -q srtsrc "uri=srt://127.0.0.1:$port" \
  passphrase="another secret" auto-reconnect=false ! filesink "location=$WORK/nothing"
check "and gets nothing" test ! -s "$WORK/nothing"
refuses "the same port twice" "error: srt://:$port" pipelines/srt.sh --retry 0 "srt://:$port"
stop "$secret" INT || true

# A receiver that prints what a caller says it is.
if /usr/bin/python3 -c 'import gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst' 2>/dev/null; then
  port=$(free_port)
  cat >"$WORK/asks.py" <<'PY'
import sys
import gi
gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst
Gst.init(None)
pipeline = Gst.parse_launch(f"srtsrc name=source uri=srt://127.0.0.1:{sys.argv[1]}?mode=listener authentication=true ! fakesink")
pipeline.get_by_name("source").connect("caller-connecting", lambda _, address, name: print(name, flush=True) or True)
pipeline.set_state(Gst.State.PLAYING)
GLib.MainLoop().run()
PY
  start asks /usr/bin/python3 "$WORK/asks.py" "$port"
  start named pipelines/srt.sh "srt://127.0.0.1:$port?streamid=publish:a%23show"
  named=$pid
  says "the other side learns the streamid" asks '^publish:a#show$'
  says "and is sent to" named ": on air$"
  stop "$named" INT || true
  check "it is in none of the messages" bash -c "! grep -v '^gst-launch' '$WORK/named.log' | grep show"
else
  skip "streamid" "python3-gi or gir1.2-gstreamer-1.0 is not installed"
fi

port=$(free_port)
refuses "nobody to call" "error: srt://127.0.0.1:$port" pipelines/srt.sh --retry 0 "srt://127.0.0.1:$port"
says "the receiver was killed: the caller says so and goes on" call "trying again .*the generation goes on"
receiver
says "the receiver is back: on air again" call ": on air$" 2
says "and sees frames again" receiver "chain .*bytes" 24
after=$(resident "$caller")
check "nothing has piled up ($before KB before, $after KB after)" test "$after" -lt $((before + 30000))
stop "$caller" INT && status=0 || status=$?
check "Ctrl-C ends it well" test "$status" -eq 0
says "it was connected twice" call "connected 2 times"
finish
