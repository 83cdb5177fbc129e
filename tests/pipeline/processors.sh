#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The limits on the processor's instructions: they are in force, they are shown, and a bad one is refused in a sentence.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
flowcache=$BUILD_DIR/engine/cli/flowcache
if [[ ! -x $flowcache ]]; then
  skip "flowcache" "libcli11-dev was not installed when this was built"
  finish
  exit 0
fi
unset FLOWCACHE_MODEL FLOWCACHE_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA ATEN_CPU_CAPABILITY

# prints NAME PATTERN COMMAND…: passes if the command does and says PATTERN in exactly one line.
prints() {
  local name=$1 pattern=$2
  shift 2
  if "$@" >"$WORK/check.log" 2>&1 </dev/null && [[ $(grep -cE -- "$pattern" "$WORK/check.log") -eq 1 ]]; then
    ok "$name"
  else
    not_ok "$name" "$WORK/check.log"
  fi
}

unknown='FLOWCACHE_MAX_CPU_ISA="avx9" is unknown; use one of .*native'
refuses "doctor names an unknown limit" "FAIL CPU .*$unknown" env FLOWCACHE_MAX_CPU_ISA=avx9 "$flowcache" doctor
refuses "so does a stream" "$unknown" env FLOWCACHE_MAX_CPU_ISA=avx9 "$flowcache" generate fire --seconds 1 --out "$WORK/x.y4m"
refuses "so does the element" "$unknown" env FLOWCACHE_MAX_CPU_ISA=avx9 gst-launch-1.0 -q flowcachesrc num-buffers=1 ! fakesink

prints "doctor shows what is in force" "CPU .* kernels (baseline|neon), LibTorch" env FLOWCACHE_MAX_CPU_ISA=baseline "$flowcache" doctor
prints "and that bf16 is emulated then" "bf16 .*emulated.*precision=auto is fp32" env FLOWCACHE_MAX_CPU_ISA=baseline "$flowcache" doctor
prints "the same where only oneDNN is limited" "bf16 .*emulated" env ONEDNN_MAX_CPU_ISA=AVX2 "$flowcache" doctor
prints "and where only LibTorch is" "bf16 .*emulated" env ATEN_CPU_CAPABILITY=default "$flowcache" doctor
prints "asking for bf16 there says so" "warning: precision bf16 .*emulated" \
  env FLOWCACHE_MAX_CPU_ISA=baseline "$flowcache" inspect --load --precision bf16
prints "bench shows what is in force" "in fp32; CPU: kernels (baseline|neon), LibTorch" \
  env FLOWCACHE_MAX_CPU_ISA=baseline "$flowcache" bench --quick --chunks 1 --steps 2 --device cpu
finish
