#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What `meson install` lays down is enough: the plugin is found, and the C example builds with the header and the .pc
# alone and writes frames.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"

stage=$WORK/stage
check "meson install" env DESTDIR="$stage" meson install -C "$BUILD_DIR" --no-rebuild --quiet
check "the build says where GStreamer looks instead" grep -q "GStreamer looks in /usr/lib.*choose -Dprefix=/usr" \
  "$BUILD_DIR/meson-logs/meson-log.txt"
plugin=$(find "$stage" -name libgstflowcache.so -printf '%h\n' | sed -n 1p)
pc=$(find "$stage" -name flowcache.pc -printf '%h\n' | sed -n 1p)
library=$(find "$stage" -name libflowcache.so -printf '%h\n' | sed -n 1p)
headers=$(find "$stage" -path '*/include/*' -type f | wc -l)
if [[ $headers -eq 1 ]]; then ok "one public header"; else not_ok "one public header, not $headers"; fi

live=$(find "$stage" -name flowcache-live -type f -printf '/%P\n' | sed -n 1p)
unit=$(find "$stage" -name 'flowcache-live@.service')
if [[ -z $live ]]; then
  skip "the unit starts the program that was installed" "flowcache-live was not built"
elif [[ -n $unit ]] && grep -q "^ExecStart=$live " "$unit"; then
  ok "the unit starts the program that was installed"
else
  not_ok "the unit starts the program that was installed, $live" "$unit"
fi

inspect=(env GST_PLUGIN_SYSTEM_PATH_1_0="" GST_PLUGIN_PATH_1_0="$plugin" GST_REGISTRY_1_0="$WORK/inspect.bin"
  gst-inspect-1.0 flowcachesrc)
check "gst-inspect-1.0 finds the installed plugin" "${inspect[@]}"
"${inspect[@]}" >"$WORK/inspect.log" 2>&1 || true
check "the plugin shows its properties" grep -q 'cache-threshold' "$WORK/inspect.log"

# With the prefix /usr it needs no environment at all. Shown by a view of this system, in a mount namespace, in which what was
# staged lies over /usr.
tree=${plugin%/lib/*}
as_installed() {
  # shellcheck disable=SC2016 # expanded inside
  unshare -rm env -i PATH=/usr/bin:/bin HOME="$WORK/home" GOMP_SPINCOUNT=1000 TREE="$tree" bash -c \
    'mount -t overlay overlay -o "lowerdir=$TREE:/usr" /usr && exec "$@"' - "$@"
}
mkdir "$WORK/home"
if as_installed true 2>/dev/null; then
  check "with the prefix /usr gst-inspect-1.0 finds it with no environment" as_installed gst-inspect-1.0 flowcachesrc
  check "and it plays the model that was installed" as_installed timeout 120 \
    gst-launch-1.0 flowcachesrc num-buffers=16 ! videoconvert ! pngenc ! multifilesink location="$WORK/home/%02d.png"
  check "sixteen pictures" test -s "$WORK/home/15.png"
else
  skip "with the prefix /usr gst-inspect-1.0 finds it with no environment" "no mount namespace with overlay here"
fi

build_example() {
  local flags
  flags=$(PKG_CONFIG_PATH=$pc PKG_CONFIG_SYSROOT_DIR=$stage pkg-config --cflags --libs flowcache)
  cp "$SOURCE_DIR/examples/frames.c" "$WORK/frames.c"
  # shellcheck disable=SC2086 # flags are words
  cc -std=c11 -Wall -Werror "$WORK/frames.c" $flags -Wl,-rpath,"$library" -Wl,--allow-shlib-undefined -o "$WORK/frames"
}
check "the C example builds with pkg-config" build_example
check "the C example writes frames" "$WORK/frames" "orange fire" 2 "$WORK/fire"
check "the frames are pictures that move" picture moving "$WORK"/fire-*.ppm
mkdir "$WORK/broken"
echo '{ "name": ' >"$WORK/broken/model.json"
refuses "the C example says what is wrong with a model" "model\.json" \
  env FLOWCACHE_MODEL="$WORK/broken" "$WORK/frames" fire 1 "$WORK/x"
finish
