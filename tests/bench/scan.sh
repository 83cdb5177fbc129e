#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What scanning the plugin adds to the making of a GStreamer registry: scan.sh PLUGIN_FOLDER [RUNS].
set -euo pipefail
plugins=${1:?scan.sh PLUGIN_FOLDER [RUNS]} runs=${2:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/none" "$work/one"
cp "$plugins/libgstflowcache.so" "$work/one/"

# milliseconds FOLDER: median time of a program that starts GStreamer with a fresh registry of FOLDER alone.
milliseconds() {
  local i start
  for ((i = 0; i < runs; ++i)); do
    start=${EPOCHREALTIME/,/.}
    GST_PLUGIN_SYSTEM_PATH_1_0="" GST_PLUGIN_PATH_1_0=$1 GST_REGISTRY_1_0=$work/registry gst-inspect-1.0 >"$work/log" 2>&1
    awk -v a="$start" -v b="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.3f\n", (b - a) * 1000 }'
    rm -f "$work/registry"
  done | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

milliseconds "$work/one" >/dev/null # warms the disk cache
with=$(milliseconds "$work/one")
without=$(milliseconds "$work/none")
awk -v a="$with" -v b="$without" 'BEGIN { printf "registry scan of the plugin: %.1f ms (%.1f ms with it, %.1f ms without)\n", a - b, a, b }'
