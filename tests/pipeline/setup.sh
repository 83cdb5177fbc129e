#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Which LibTorch tools/setup.sh takes for which NVIDIA driver. nvidia-smi, pip and df are stand-ins; nothing is fetched.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"

CHECKOUT=$WORK/checkout
mkdir -p "$CHECKOUT/tools" "$WORK/bin"
cp "$SOURCE_DIR"/tools/{setup,resources}.sh "$CHECKOUT/tools/"

stand_in() {
  cat >"$WORK/bin/$1"
  chmod +x "$WORK/bin/$1"
}
stand_in df <<'TEXT'
#!/bin/sh
printf 'Filesystem 1024-blocks Used Available\nnone 0 0 %s\n' 100000000
TEXT
stand_in nvidia-smi <<'TEXT'
#!/bin/sh
[ -n "$DRIVER" ] || exit 9
case $* in *driver_version*) echo "$DRIVER" ;; *) echo "GPU 0: stand-in" ;; esac
TEXT
stand_in ldconfig <<'TEXT'
#!/bin/sh
if [ -n "$LIBCUDA" ]; then echo "libcuda.so.1 (libc6,x86-64) => /usr/lib/libcuda.so.1"; fi
TEXT
# Lays out what the wheel would, as far as setup.sh looks at it.
stand_in python3 <<'TEXT'
#!/usr/bin/env bash
set -euo pipefail
if [[ $* == *--version* ]]; then exit 0; fi
printf '%s\n' "$*" >>"$LOG"
[[ -z ${PIP_FAILS:-} ]] || exit 1
to=$(sed -E 's/.*--target ([^ ]+).*/\1/' <<<"$*")
cuda=$(sed -nE 's/.*\+cu([0-9]+)([0-9]).*/\1.\2/p' <<<"$*")
mkdir -p "$to/torch/lib" "$to/torch/include/ATen" "$to/nvidia/of/lib"
touch "$to/torch/lib/libtorch_cpu.so" "$to/torch/include/ATen/ATen.h"
printf "cuda: Optional[str] = '%s'\n" "${cuda:-13.0}" >"$to/torch/version.py"
touch "$to/nvidia/of/lib/libcudart.so.$(sed 's/\..*//' <<<"${cuda:-13.0}")"
[[ $* == *--no-deps* ]] || touch "$to/nvidia/of/lib/libcublas.so"
TEXT
export LOG=$WORK/pip.log DRIVER="" LIBCUDA="" FLOWCACHE_TORCH_INDEX="" NVIDIA_PROC=$WORK/none

# set_up: calls setup_libtorch there. Its words are in $WORK/said, pip's arguments in $LOG.
set_up() {
  : >"$LOG"
  PATH=$WORK/bin:$PATH bash -euo pipefail -c 'source "$0"; setup_libtorch' "$CHECKOUT/tools/setup.sh" >"$WORK/said" 2>&1
}
fresh() { rm -rf "$CHECKOUT/deps"; }
# installs NAME PATTERN SAYS: a fresh set-up calls pip once, with arguments that match PATTERN, and says SAYS. "-": says no warning.
installs() {
  local name=$1
  fresh
  if set_up && [[ $(grep -c . "$LOG") == 1 ]] && grep -qE -- "$2" "$LOG" &&
    if [[ $3 == - ]]; then ! grep -q warning "$WORK/said"; else grep -qE -- "$3" "$WORK/said"; fi then
    ok "$name"
  else
    cat "$LOG" >>"$WORK/said"
    not_ok "$name" "$WORK/said"
  fi
}
installs_nothing() {
  if set_up && [[ ! -s $LOG ]]; then ok "$1"; else not_ok "$1" "$WORK/said"; fi
}

cpu='--no-deps torch==[0-9.]+ nvidia-cuda-runtime'
installs "no driver: for CPU" "$cpu" -
installs_nothing "a second call installs nothing"
DRIVER=580.95.05
installs "R580: CUDA 13" '[0-9] torch==[0-9.]+$|libtorch.partial torch==[0-9.]+$' 'cu130.*580\.95'
installs_nothing "a second call installs nothing with a GPU"
DRIVER=535.183.01
installs "Debian 12's R535 without an index: for CPU, and why" "$cpu" 'driver 535.183.01 is too old.*580'
check "which says how to renew the driver" grep -q "cuda-drivers" "$WORK/said"
check "and which LibTorch would do" grep -q "FLOWCACHE_TORCH_INDEX.*" "$WORK/said"
installs_nothing "a second call installs nothing with an old driver"
FLOWCACHE_TORCH_INDEX=https://index.invalid/whl/cu126
installs "R535 with an index: CUDA 12.6" 'torch==[0-9.]+\+cu126 --extra-index-url https://index.invalid/whl/cu126$' 'cu126.*535'
installs_nothing "a second call installs nothing with CUDA 12"
DRIVER=580.95.05
installs_nothing "CUDA 12 stays when the driver is renewed"
DRIVER=575.57.08
installs "R575 with an index: CUDA 12.8, for Blackwell" 'torch==[0-9.]+\+cu128' 'cu128.*575'
DRIVER=525.60.13
installs "R525 with an index: CUDA 12.6" 'torch==[0-9.]+\+cu126' 'cu126.*525'
DRIVER=470.256.02
installs "R470: for CPU, whatever the index" "$cpu" 'driver 470.256.02 is too old'
if grep -q FLOWCACHE_TORCH_INDEX "$WORK/said"; then not_ok "which names no LibTorch that would do"; else ok "which names no LibTorch that would do"; fi

# LibTorch was there first, with CUDA 13; then came the old driver.
DRIVER=580.95.05 && fresh && set_up
DRIVER=535.183.01 && set_up
check "an old driver takes another LibTorch than the one that is there" grep -q "+cu126" "$LOG"
DRIVER="" && fresh && set_up
DRIVER=580.95.05 PIP_FAILS=1
export PIP_FAILS
check "without a network the CPU goes on" set_up
check "and says so" grep -q "going on with the CPU" "$WORK/said"
unset PIP_FAILS

DRIVER="" FLOWCACHE_TORCH_INDEX=""
export NVIDIA_PROC=$WORK/proc
printf 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc version 12.2.0 (Debian)\n' >"$NVIDIA_PROC"
installs "no nvidia-smi, but R535's kernel module" "$cpu" 'driver 535.183.01 is too old'
printf 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.03  Release Build  (dvs@U22)\n' >"$NVIDIA_PROC"
installs "no nvidia-smi, but R580's open kernel module" 'torch==[0-9.]+$' 'cu130.*580\.159\.03'
rm "$NVIDIA_PROC"
LIBCUDA=1
installs "a driver that does not say its version counts as new" 'torch==[0-9.]+$' 'cu130.*version unknown'
finish
