#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets up what is missing, builds everything and runs every test.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/tools/setup.sh"

usage() {
  cat <<'TEXT'
./test.sh [FILTER] [--help]

Runs every test, or those whose suite (golden, unit, element, pipeline, …) or name has FILTER in it; a FILTER that no
suite or test has is looked for among the GoogleTest cases. Prints the output of what fails and, as the last line,
`N passed, N failed`. Exit status 0 only if nothing failed.

The first call installs what is missing, as ./demo.sh does, and builds into build/.
TEXT
}

filter=""
for argument in "$@"; do
  case $argument in
    -h | --help) usage && exit 0 ;;
    -*) die "unknown option $argument" "see ./test.sh --help" ;;
    *)
      [[ -z $filter ]] || die "one filter at a time: \"$filter\" and \"$argument\""
      filter=$argument
      ;;
  esac
done

cd "$ROOT"
flowcache_setup --packages "gstreamer1.0-plugins-base-apps xvfb xauth ffmpeg python3-gi python3-numpy gir1.2-gstreamer-1.0 libges-1.0-0 chromium chromium-driver firefox-esr openssl iproute2 nftables"
unpack_packages nginx nginx libnginx-mod-rtmp
unpack_packages caddy caddy
unpack_packages coturn coturn libevent-extra-2.1-7 libevent-openssl-2.1-7 libevent-core-2.1-7 libevent-pthreads-2.1-7 libhiredis0.14 libmariadb3 libpq5 libldap-2.5-0
unpack_packages janus janus janus-tools libconfig9 libjansson4 libmicrohttpd12 libnice10 libsrtp2-1 libusrsctp2 libcurl4 libpcap0.8
python3 "$ROOT/tools/run_tests.py" "$BUILD" "$filter" || status=$?
give_back "$BUILD"
exit "${status:-0}"
