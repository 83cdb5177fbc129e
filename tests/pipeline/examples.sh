#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The examples do what their first lines say. (frames.c also builds from what is installed: install.sh.)
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
# shellcheck source=tests/pipeline/peers.sh
source "$SOURCE_DIR/tests/pipeline/peers.sh"
examples=$SOURCE_DIR/examples

# On the fake engine, whose picture has the prompt's bits painted into it: another prompt, another mean colour.
build() {
  local command
  command=$(sed -n 's|^// *\(c++ .*\)|\1|p' "$examples/terminal.cpp")
  cp "$examples/terminal.cpp" "$WORK" && (cd "$WORK" && eval "$command")
}
check "terminal.cpp builds with the command that it names" build
shows() { [[ $(grep -oE 'mean colour #[0-9a-f]{6}' "$WORK/terminal.log" | sort -u | wc -l) -ge $1 ]]; }
mkfifo "$WORK/keys"
exec 5<>"$WORK/keys"
patiently "$WORK/terminal" "calm ocean" <"$WORK/keys" >"$WORK/terminal.log" 2>&1 5>&- &
terminal=$!
until_true shows 1 || true
echo "red lava lamp" >&5
if until_true shows 2; then ok "its picture follows the prompt"; else not_ok "its picture follows the prompt" "$WORK/terminal.log"; fi
exec 5>&-
wait "$terminal" && status=0 || status=$?
check "it ends well when nothing more is typed" test "$status" -eq 0
refuses "it says what is wrong" "terminal: .*engine" env FLOWCACHE_ENGINE=/nowhere.so "$WORK/terminal" x

python=/usr/bin/python3 # the one that Debian's python3-gi is for
if ! "$python" -c 'import gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst' 2>/dev/null; then
  skip "play.py" "python3-gi or gir1.2-gstreamer-1.0 is not installed"
else
  start play timeout "$PATIENCE" "$examples/play.py" --sink fakesink "calm ocean" "red lava lamp"
  wait "$pid" && status=0 || status=$?
  check "play.py ends well" test "$status" -eq 0
  says "it hears of the second prompt" play "^received: red lava lamp"
  says "and when it shows" play "^applied: red lava lamp"
  says "and of chunks" play "^chunk [0-9]+: [0-9]+ ms, steps [CR]+" 10
  says "and has the figures at the end" play "fps=.*chunk-ms-p95="
  refuses "it says what is wrong" "play.py: .*engine" env FLOWCACHE_ENGINE=/nowhere.so "$examples/play.py" --sink fakesink x
fi
finish
