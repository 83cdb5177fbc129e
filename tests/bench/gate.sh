#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The source or the filter live beside x264, against a definition of real time that is not ours.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/setup.sh"
GATE=${FLOWCACHE_GATE:-$DEPS/liveframe}

usage() {
  cat <<'TEXT'
tests/bench/gate.sh [OPTION…]
tests/bench/gate.sh --install

Plays flowcachesrc, or flowcachefilter, live for sixty seconds, x264enc beside it on the same processors, and holds the run
against LiveFrame's frozen real-time gate (PyPI: liveframe, gates.v1.json, checked by its digest): generated frames and
frames shown, in all and in each ten seconds, repeated ones never counted; the first frame after a warm start; the 95th
percentile of a chunk's time against what a chunk plays; underruns; timestamps; the queues. Prints each line with its figure
and, last, `gate: pass` or `gate: FAIL`. Exit status 0 only if it passed.

  --filter            flowcachefilter behind a live test picture, instead of flowcachesrc; its strength is one of its properties
  --size WxH          another size of the picture, such as 384x224
  --isa avx2          no more than AVX2; native, the default: what the processor has
  --seconds N         another duration; below sixty the gate cannot pass
  --properties TEXT   properties of the element, as for gst-launch-1.0: "prompt=fire cache=none"
  --record FILE       keep the record of the run, as JSON
  --json FILE         the lines of the gate as JSON
  --install           puts liveframe into deps/liveframe; nothing else does. FLOWCACHE_GATE names another folder
TEXT
}

install_gate() {
  local python
  python=$(python_with_pip) || die "no Python with pip found; run: apt-get install python3-pip"
  step "liveframe into $GATE"
  rm -rf "$GATE.partial"
  PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip install --no-compile --no-deps --target "$GATE.partial" liveframe==0.3.1 >&2 ||
    die "liveframe could not be installed (above)"
  rm -rf "$GATE" && mv "$GATE.partial" "$GATE"
  give_back "$GATE"
}

isa=native seconds=60 properties="" record="" json="" size="" element=flowcachesrc
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --install) install_gate && exit 0 ;;
    --filter) element=flowcachefilter ;;
    --isa | --seconds | --properties | --record | --json | --size)
      [[ $# -ge 2 ]] || die "$1 needs a value" "see tests/bench/gate.sh --help"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    *) die "unknown option $1" "see tests/bench/gate.sh --help" ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]{0,4}$ ]] || die "--seconds $seconds: whole seconds, 1 to 99999"
[[ -z $size || $size =~ ^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$ ]] || die "--size $size: width and height, such as 384x224"
case $isa in
  avx2) export FLOWCACHE_MAX_CPU_ISA=avx2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ;;
  native) ;;
  *) die "--isa $isa: avx2 or native" ;;
esac
bench=$BUILD/tests/bench/bench-gate
[[ -x $bench ]] || die "$bench is not built" "run: ninja -C build tests/bench/bench-gate (./test.sh builds everything)"
[[ -r $GATE/liveframe/gates.py ]] || die "LiveFrame's gate is not installed" "run: tests/bench/gate.sh --install"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
load=$(cut -d" " -f1 /proc/loadavg)
flowcache_environment
"$bench" $((seconds + 1)) "$properties" "$element" "$size" >"$work/run.json"
PYTHONPATH=$GATE python3 "$ROOT/tests/bench/gate/judge.py" "$work/run.json" --seconds "$seconds" --isa "$isa" \
  --element "$element" --size "$size" --properties "$properties" --load "$load" --json "$json" && status=0 || status=$?
if [[ -n $record ]]; then cp "$work/run.json" "$record"; fi
exit "$status"
