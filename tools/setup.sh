# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Set-up shared by demo.sh, test.sh and pipelines/*.sh: source it, then call flowcache_setup [ninja target…].
#
# Installs what is missing (system packages, LibTorch in deps/), configures build/ and compiles. Every step
# first checks whether there is something to do, so a second call needs neither the network nor root. Outside
# the checkout only system packages are changed. After an interruption the next call continues.

# The real path: if called through a symbolic link, it is the same checkout with the same build/.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$ROOT/build
DEPS=$ROOT/deps
LIBTORCH=$DEPS/libtorch
# Eight files compile as one: most of what a small file costs is LibTorch's headers. `meson setup` by hand has each by itself.
BUILD_OPTIONS=(-Dunity=on -Dunity_size=8)
# What the kernel module says of itself.
NVIDIA_PROC=${NVIDIA_PROC:-/proc/driver/nvidia/version}
readonly ROOT DEPS LIBTORCH
# shellcheck source=tools/resources.sh
source "$ROOT/tools/resources.sh"

TORCH_WHEEL=torch==2.11.0
# Libraries that libtorch_cpu.so needs even if no GPU is used.
TORCH_CPU_NEEDS=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)

# The CUDA compiler, of the major version of LibTorch's runtime.
NVCC_WHEELS=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)

# command:package, for tools that may have been installed without apt.
FLOWCACHE_TOOLS=(g++:g++ meson:meson ninja:ninja-build ccache:ccache pkg-config:pkg-config gst-launch-1.0:gstreamer1.0-tools)
FLOWCACHE_PACKAGES=(
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav gstreamer1.0-gl gstreamer1.0-x libgstrtspserver-1.0-dev
  libsoup-3.0-dev prometheus-cpp-dev gstreamer1.0-nice
  nlohmann-json3-dev libcli11-dev libpng-dev libgdk-pixbuf-2.0-dev libsentencepiece-dev libhwy-dev libgloo-dev libgtest-dev)

say() { printf '%s\n' "$*" >&2; }
step() { say "== $*"; }
die() {
  say "error: $1"
  shift
  for line in "$@"; do say "       $line"; done
  exit 1
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# missing_packages NAME…: prints one package a line: of the tools, the libraries and the arguments, those that
# are missing.
missing_packages() {
  local pair package installed
  installed=$(dpkg-query -W -f=' ${Package} ${db:Status-Status}\n' "${FLOWCACHE_PACKAGES[@]}" "$@" 2>/dev/null || true)
  for pair in "${FLOWCACHE_TOOLS[@]}"; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done
  for package in "${FLOWCACHE_PACKAGES[@]}" "$@"; do
    [[ $installed == *" $package installed"* ]] || echo "$package"
  done
}

# install_packages NAME…: installs them with apt, or prints the command that would.
install_packages() {
  local command="apt-get install -y --no-install-recommends $*"
  if ! command -v apt-get >/dev/null; then
    die "this system has no apt-get; these Debian packages or their equals are missing:" "$*"
  fi
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    die "packages are missing and neither root nor sudo is at hand; as root run:" "apt-get update && $command"
  fi
  step "system packages: installing $*"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -q >&2 ||
    say "warning: apt-get update failed; trying with the package lists that are here"
  # shellcheck disable=SC2086 # the command is one word list by construction
  as_root env DEBIAN_FRONTEND=noninteractive $command -q >&2 ||
    die "system packages could not be installed; when the network is back run:" "apt-get update && $command"
}

setup_packages() {
  local missing
  if ! command -v dpkg-query >/dev/null; then
    setup_without_dpkg
    return
  fi
  mapfile -t missing < <(missing_packages "$@")
  if [[ ${#missing[@]} -gt 0 ]]; then install_packages "${missing[@]}"; fi
}

# setup_tools COMMAND:PACKAGE…: those whose command is missing, and nothing else.
setup_tools() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  if [[ ${#missing[@]} -gt 0 ]]; then install_packages "${missing[@]}"; fi
}

# unpack_packages FOLDER NAME…: the packages' files into deps/FOLDER. For a server that a test starts: installed, Debian would
# run it at once and at every boot. Failing is no harm: the test then skips.
unpack_packages() {
  local folder=$DEPS/$1 fresh=$DEPS/$1.partial package
  shift
  if [[ -d $folder ]] || ! command -v apt-get >/dev/null; then return 0; fi
  step "unpacking $* into deps/"
  rm -rf "$fresh" && mkdir -p "$fresh/root"
  (cd "$fresh" && apt-get download -q "$@" >/dev/null 2>&1) || say "warning: $* could not be fetched"
  for package in "$fresh"/*.deb; do
    [[ -f $package ]] || return 0
    dpkg -x "$package" "$fresh/root"
  done
  mv "$fresh/root" "$folder" && rm -rf "$fresh"
}

# For systems that are not Debian: checks what can be checked and says what is missing.
setup_without_dpkg() {
  local pair module missing=()
  for pair in "${FLOWCACHE_TOOLS[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair%%:*}")
  done
  for module in gstreamer-1.0 gstreamer-video-1.0 gstreamer-app-1.0 nlohmann_json gtest; do
    pkg-config --exists "$module" 2>/dev/null || missing+=("pkg-config:$module")
  done
  if [[ ${#missing[@]} -gt 0 ]]; then
    die "this system has no dpkg, so nothing was installed; missing:" "${missing[*]}" \
      "Debian's names for all that is needed: ${FLOWCACHE_TOOLS[*]##*:} ${FLOWCACHE_PACKAGES[*]}"
  fi
}

# nvidia_driver_version: prints the version of the NVIDIA driver, such as 535.183.01; nothing if none answers or none of these
# two knows it.
nvidia_driver_version() {
  local version
  version=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | sed -n 1p) || true
  if [[ ! $version =~ ^[0-9]+\. && -r $NVIDIA_PROC ]]; then
    version=$(sed -nE 's/^NVRM version:.* ([0-9]+\.[0-9.]+) .*/\1/p' "$NVIDIA_PROC")
  fi
  if [[ $version =~ ^[0-9]+(\.[0-9]+)*$ ]]; then echo "$version"; fi
}

nvidia_driver_answers() {
  [[ -n $(nvidia_driver_version) || $(nvidia-smi -L 2>/dev/null) == *"GPU "* ||
    $(PATH=$PATH:/sbin ldconfig -p 2>/dev/null) == *libcuda.so.1* ]]
}

# torch_cuda_for DRIVER: prints the newest CUDA version, in the form of a wheel's name, that this driver runs; nothing if the
# driver is too old for all. A driver whose version is not known counts as new. NVIDIA's table of minor version
# compatibility: CUDA 13.x from R580 on, 12.x from R525 on. Blackwell needs R570 and 12.8, so that is chosen from there on.
torch_cuda_for() {
  local series=${1%%.*}
  if [[ -z $series || $series -ge 580 ]]; then
    echo cu130
  elif [[ $series -ge 570 ]]; then
    echo cu128
  elif [[ $series -ge 525 ]]; then
    echo cu126
  fi
}

# The CUDA version of the LibTorch in deps/, as torch_cuda_for prints it.
libtorch_cuda() { sed -nE "s/^cuda: .*= '([0-9]+)\.([0-9]+)'.*/cu\1\2/p" "$LIBTORCH/torch/version.py" 2>/dev/null || true; }

# Wheels of CUDA 13 have one folder of NVIDIA's libraries, those of CUDA 12 one for each library.
libtorch_complete() {
  [[ -f $LIBTORCH/torch/lib/libtorch_cpu.so && -f $LIBTORCH/torch/include/ATen/ATen.h ]] &&
    compgen -G "$LIBTORCH/nvidia/*/lib/libcudart.so.1[0-9]" >/dev/null
}
libtorch_has_cuda() { compgen -G "$LIBTORCH/nvidia/*/lib/libcublas.so*" >/dev/null; }

# libtorch_runs_on CUDA: is the LibTorch in deps/ complete, with CUDA libraries that are not newer than CUDA?
libtorch_runs_on() {
  local have
  have=$(libtorch_cuda)
  libtorch_complete && libtorch_has_cuda && [[ -n $have && ! ${have#cu} -gt ${1#cu} ]]
}

# python_with_pip: prints the name of a Python that has pip, or fails.
python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      echo "$python"
      return
    fi
  done
  return 1
}

# setup_libtorch: with CUDA libraries that the driver of this machine runs, if there is one. PyPI has the wheel of CUDA 13 only;
# those of CUDA 12 are on the index that FLOWCACHE_TORCH_INDEX names.
setup_libtorch() {
  local driver cuda wheels
  if nvidia_driver_answers; then
    driver=$(nvidia_driver_version)
    cuda=$(torch_cuda_for "$driver")
    if [[ -n $cuda ]] && libtorch_runs_on "$cuda"; then return; fi
    wheels=("$TORCH_WHEEL")
    if [[ -n $cuda && $cuda != cu130 ]]; then
      wheels=("$TORCH_WHEEL+$cuda" --extra-index-url "${FLOWCACHE_TORCH_INDEX:-}")
    fi
    if [[ $cuda == cu130 || (-n $cuda && -n ${FLOWCACHE_TORCH_INDEX:-}) ]]; then
      install_libtorch 9500 "with CUDA libraries ($cuda), since an NVIDIA driver answers (${driver:-version unknown}): 4.6 GB" \
        "${wheels[@]}"
      return
    fi
    say_driver_too_old "$driver" "$cuda"
  fi
  if libtorch_complete; then return; fi
  install_libtorch 2300 "for CPU: 1.1 GB" --no-deps "$TORCH_WHEEL" "${TORCH_CPU_NEEDS[@]}"
}

# say_driver_too_old DRIVER CUDA: why the GPU is not used. CUDA: the newest that this driver runs; empty: none.
say_driver_too_old() {
  say "warning: the NVIDIA driver $1 is too old for this LibTorch, which needs CUDA 13 and so driver 580 or newer: going on"
  say "         with the CPU. Debian's own packages end at 550; NVIDIA's repository for Debian has the driver as cuda-drivers."
  if [[ -n $2 ]]; then
    say "         Or keep the driver and take a LibTorch of CUDA 12: set FLOWCACHE_TORCH_INDEX to the address that PyTorch's"
    say "         page \"Get started\" prints behind --index-url, which ends in $2, and run this again."
  fi
}

# install_libtorch NEED_MB WHAT PIP_ARGUMENT…: installs under a temporary name, which is changed when all is
# complete.
install_libtorch() {
  local need_mb=$1 what=$2 python free_mb fresh=$DEPS/libtorch.partial
  shift 2
  local command="pip install --no-compile --target $LIBTORCH $*"
  mkdir -p "$DEPS"
  free_mb=$(($(df -Pk "$DEPS" | awk 'NR == 2 { print $4 }') / 1024))
  if [[ $free_mb -lt $need_mb ]]; then
    die "LibTorch needs $need_mb MB free in $DEPS while it installs, $free_mb MB are: free some space and run this again"
  fi
  if ! python=$(python_with_pip); then
    install_packages python3 python3-pip
    python=$(python_with_pip) || die "no Python with pip found after installing python3-pip; run: $command"
  fi
  step "LibTorch ($what) into deps/libtorch"
  rm -rf "$fresh"
  mkdir -p "$fresh.tmp"
  if ! TMPDIR=$fresh.tmp PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip install --no-compile --target "$fresh" "$@" >&2; then
    rm -rf "$fresh" "$fresh.tmp"
    if libtorch_complete; then
      say "warning: the CUDA libraries could not be installed; going on with the CPU. To try again: $command"
      return
    fi
    die "LibTorch could not be installed; when the network is back run this again, or:" "$command"
  fi
  rm -rf "$LIBTORCH" "$fresh.tmp"
  mv "$fresh" "$LIBTORCH"
}

# setup_nvcc: an nvcc in deps/cuda (271 MB) where the machine has none that can compile the CUDA kernels, so that tests compile
# them everywhere. Failing is no harm: what needs them then skips.
setup_nvcc() {
  local python fresh=$DEPS/cuda.partial
  if [[ -d $DEPS/cuda ]] || grep -qs libflowcache-kernels-cuda.so "$BUILD/build.ninja"; then return; fi
  if [[ ! -f $LIBTORCH/nvidia/cu13/lib/libcudart.so.13 ]]; then return; fi  # the wheels' nvcc is of CUDA 13
  if "$ROOT/kernels/find_nvcc.py" "$DEPS/cuda" 13 >/dev/null 2>&1; then return; fi
  if ! python=$(python_with_pip); then
    say "warning: no Python with pip, so nvcc is not fetched and the CUDA kernels are not compiled"
    return
  fi
  step "nvcc into deps/cuda"
  rm -rf "$fresh"
  if PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip install -q --no-deps --no-compile --target "$fresh" "${NVCC_WHEELS[@]}" >&2; then
    mv "$fresh" "$DEPS/cuda"
    # A build that was configured without it looks again.
    if build_is_configured; then meson setup --reconfigure "$BUILD" "$ROOT" >"$DEPS/meson.log" 2>&1; fi
  else
    rm -rf "$fresh"
    say "warning: nvcc could not be fetched, so the CUDA kernels are not compiled"
  fi
}

# build_is_configured: for this checkout, that is, not for one that it was copied from.
build_is_configured() {
  [[ -f $BUILD/build.ninja && -f $BUILD/meson-private/coredata.dat ]] &&
    grep -qF "\"$ROOT\"" "$BUILD/meson-info/meson-info.json" 2>/dev/null
}

# A build folder of another checkout (a copied tree) or one that was interrupted before it was configured is made anew.
setup_configure() {
  if build_is_configured; then return; fi
  step "configuring ${BUILD##*/}/"
  rm -rf "$BUILD"
  if ! meson setup "$BUILD" "$ROOT" "${BUILD_OPTIONS[@]}" >"$DEPS/meson.log" 2>&1; then
    cat "$DEPS/meson.log" >&2
    rm -rf "$BUILD"
    die "meson setup failed (above)"
  fi
}

# With Torch's headers a compiler needs up to 1.5 GB, so only as many run at once as fit.
build_jobs() {
  local cores memory_kb jobs
  cores=$(allowed_cpus)
  memory_kb=$(free_memory_kb)
  jobs=$((memory_kb / 1500000))
  if [[ $jobs -lt 1 ]]; then jobs=1; fi
  echo $((jobs < cores ? jobs : cores))
}

setup_build() {
  local log=$DEPS/build.log todo
  export CCACHE_DIR=$DEPS/ccache CCACHE_SLOPPINESS=pch_defines,time_macros
  todo=$(ninja -C "$BUILD" -n "$@") || die "ninja cannot read ${BUILD##*/}/: remove that folder and run this again" "$todo"
  if [[ $todo == *"no work to do"* ]]; then return; fi
  step "building ($(grep -c "^\[" <<<"$todo") steps)"
  if [[ -t 2 ]]; then
    NINJA_STATUS='[%f/%t, %e s] ' ninja -C "$BUILD" -j "$(build_jobs)" "$@" >&2 || die "the build failed (above)"
  elif ! NINJA_STATUS='[%f/%t, %e s] ' ninja -C "$BUILD" -j "$(build_jobs)" "$@" 2>&1 | tee "$log" | thin_out >&2; then
    tail -n 60 "$log" >&2
    die "the build failed (above; the whole log: $log)"
  fi
}

# If the output is not a terminal: prints a line of ninja's every ten seconds instead of one for each file.
thin_out() {
  local line next=0
  while IFS= read -r line; do
    if [[ $line == \[* && $SECONDS -ge $next ]]; then
      printf '%s\n' "$line"
      next=$((SECONDS + 10))
    fi
  done
}

# Under sudo the files are given to the user who called sudo, so that the next call works without sudo.
give_back() {
  if [[ $EUID -eq 0 && -n ${SUDO_UID:-} && $SUDO_UID -ne 0 ]]; then
    chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$@" 2>/dev/null || true
  fi
}

# flowcache_setup [--nvcc] [--packages "NAME…"] [--configure-only | NINJA_TARGET…]: everything, in order. No target: all of them.
flowcache_setup() {
  local extra=() nvcc=
  if [[ ${1:-} == --nvcc ]]; then
    nvcc=wanted
    shift
  fi
  if [[ ${1:-} == --packages ]]; then
    read -ra extra <<<"$2"
    shift 2
  fi
  setup_packages "${extra[@]}"
  mkdir -p "$DEPS"
  exec 9>"$DEPS/.lock"
  if ! flock -n 9; then
    say "waiting for another set-up in this checkout to finish"
    flock 9 || die "the lock $DEPS/.lock cannot be taken (above)"
  fi
  setup_libtorch
  if [[ -n $nvcc ]]; then setup_nvcc; fi
  setup_configure
  if [[ ${1:-} != --configure-only ]]; then setup_build "$@"; fi
  give_back "$DEPS" "$BUILD"
  exec 9>&-
}

# The environment in which GStreamer finds the plugin in build/ and writes nothing into the home folder.
flowcache_environment() {
  export GST_PLUGIN_PATH_1_0=$BUILD/gst-plugin${GST_PLUGIN_PATH_1_0:+:$GST_PLUGIN_PATH_1_0}
  export GST_REGISTRY_1_0=$BUILD/gst-registry.bin
}
