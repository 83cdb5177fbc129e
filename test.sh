#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets up what is missing, builds everything and runs every test.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/tools/setup.sh"

usage() {
  cat <<'TEXT'
./test.sh [FILTER] [--asan | --ubsan | --tsan] [--help]

Runs every test, or those whose suite (golden, unit, element, pipeline, …) or name has FILTER in it; a FILTER that no
suite or test has is looked for among the GoogleTest cases. Prints the output of what fails and, as the last line,
`N passed, N failed`. Exit status 0 only if nothing failed.

The first call installs what is missing, as ./demo.sh does, and an nvcc into deps/ (271 MB) where there is none for the CUDA
kernels; and it builds into build/.

With a sanitizer it runs the suites unit, golden and element, as far as they have a meaning there:
  --asan   AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/; the first finding ends a program
  --ubsan  the same build; goes on after undefined behaviour, so that one run names every place
  --tsan   ThreadSanitizer, in build-tsan/: the element's worker thread, without LibTorch
The first call of --asan builds for half an hour on two cores, and golden alone runs for minutes. What is left out, and why, is
said first; it stands in tools/sanitizers.py.
TEXT
}

filter="" sanitizer=""
for argument in "$@"; do
  case $argument in
    -h | --help) usage && exit 0 ;;
    --asan | --ubsan | --tsan)
      [[ -z $sanitizer ]] || die "one sanitizer at a time: --$sanitizer and $argument"
      sanitizer=${argument#--}
      ;;
    -*) die "unknown option $argument" "see ./test.sh --help" ;;
    *)
      [[ -z $filter ]] || die "one filter at a time: \"$filter\" and \"$argument\""
      filter=$argument
      ;;
  esac
done

cd "$ROOT"
if [[ -n $sanitizer ]]; then
  case $sanitizer in
    asan | ubsan) BUILD=$ROOT/build-asan flags=address,undefined ;;
    tsan) BUILD=$ROOT/build-tsan flags=thread ;;
  esac
  # Calls keep their names with -O1, and nobody waits for a file to compile as with -O2. -g1: lines, but no variables.
  BUILD_OPTIONS+=(-Db_sanitize="$flags" -Db_lundef=false -Dbuildtype=debugoptimized -Doptimization=1 -Dlive=disabled -Dbench=disabled
    -Dc_args="-g1 -fno-omit-frame-pointer" -Dcpp_args="-g1 -fno-omit-frame-pointer")
  flowcache_setup --configure-only
  mapfile -t targets < <(python3 tools/run_tests.py "$BUILD" "$filter" --sanitizer "$sanitizer" --targets)
  flowcache_setup "${targets[@]}"
  python3 tools/run_tests.py "$BUILD" "$filter" --sanitizer "$sanitizer" || status=$?
  give_back "$BUILD"
  exit "${status:-0}"
fi
flowcache_setup --nvcc --packages "gstreamer1.0-plugins-base-apps xvfb xauth ffmpeg python3-gi python3-numpy gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 libges-1.0-0 chromium chromium-driver firefox-esr openssl iproute2 nftables"
unpack_packages nginx nginx libnginx-mod-rtmp
unpack_packages caddy caddy
unpack_packages coturn coturn libevent-extra-2.1-7 libevent-openssl-2.1-7 libevent-core-2.1-7 libevent-pthreads-2.1-7 libhiredis0.14 libmariadb3 libpq5 libldap-2.5-0
unpack_packages janus janus janus-tools libconfig9 libjansson4 libmicrohttpd12 libnice10 libsrtp2-1 libusrsctp2 libcurl4 libpcap0.8
python3 "$ROOT/tools/run_tests.py" "$BUILD" "$filter" || status=$?
give_back "$BUILD"
exit "${status:-0}"
