#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Run by `meson install`: says so if GStreamer will not look where the plugin went. Arguments: the folder of the plugin,
# below the prefix or absolute, and the folder where this machine's GStreamer looks.
set -eu
case $1 in
  /*) folder=$1 ;;
  *) folder=$MESON_INSTALL_PREFIX/$1 ;;
esac
[ -z "${MESON_INSTALL_QUIET:-}" ] || exit 0
[ "$folder" != "$2" ] || exit 0
cat <<TEXT

GStreamer looks for plugins in $2, not in $folder. Either set
  export GST_PLUGIN_PATH=$folder
or install where it looks: meson configure -Dprefix=/usr (the build folder), then meson install again.
TEXT
