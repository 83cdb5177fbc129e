#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The element's tests with a sanitizer: sanitize.sh address|thread [GTEST_FILTER]
#
# Builds plugin, fake engine and tests, but nothing with LibTorch, in build-address/ or build-thread/. The
# meson test set-ups of the same names also run the tests of such a folder: meson test -C build-address
# --setup address --suite element
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kind=${1:-} filter=${2:-*}
case $kind in
  address) flags=address,undefined ;;
  thread) flags=thread ;;
  *)
    echo "sanitize.sh address|thread [GTEST_FILTER]" >&2
    exit 2
    ;;
esac

build=$root/build-$kind
if [[ ! -f $build/build.ninja ]]; then
  meson setup "$build" "$root" -Db_sanitize="$flags" -Db_lundef=false -Dbuildtype=debugoptimized >"$build.log" 2>&1 || {
    cat "$build.log" >&2
    exit 1
  }
  rm -f "$build.log"
fi
targets=(gst-plugin/libgstflowcache.so gst-plugin/flowcachesrc-reference tests/fake/libflowcache-fake.so
  tests/element/element-tests)
if ninja -C "$build" -t targets all | grep '^tests/element/element-cuda-tests:' >/dev/null; then
  targets+=(tests/fake_cuda/libcuda.so.1 tests/fake_cuda/libnvcuvid.so.1 tests/element/element-cuda-tests)
fi
ninja -C "$build" -j "${JOBS:-$(nproc)}" "${targets[@]}" >/dev/null

# Leaks are checked with valgrind, because GLib never frees what it makes in constructors and the engine is
# never closed. Tests that start other programs are not run, because those programs are not instrumented; nor
# are tests with OpenGL drivers.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 TSAN_OPTIONS=second_deadlock_stack=1
skip='Gl.*:Cuda.Textures*:Pipelines.L*:Pipelines.Inspect*:Pipelines.ToMp4*:Pipelines.PluginLinks*:Pipelines.Registry*:Reference.IsUpToDate'
if [[ $kind == thread && $filter == '*' ]]; then
  # ThreadSanitizer does not see GLib's own locks, so all data that GStreamer passes between threads looks
  # like a race. These tests use only locks of the C++ library.
  filter='Worker.*:*Governor.*'
  export GST_PLUGIN_SYSTEM_PATH_1_0= # no races in libraries that other plugins load
fi
status=0
for tests in "${targets[@]}"; do
  [[ $tests == *-tests ]] || continue
  "$build/$tests" --gtest_brief=1 --gtest_filter="$filter-$skip" || status=1
done
exit $status
