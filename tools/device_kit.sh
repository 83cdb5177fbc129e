#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The first day with a card: one command that checks the engine on an NVIDIA GPU and keeps the figures.
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)

usage() {
  cat <<'TEXT'
tools/device_kit.sh --prepare DIR [--build BUILD]     where the project is built
DIR/tools/device_kit.sh [--half 1|2] [--out DIR]      where the card is
tools/device_kit.sh --rehearse [--build BUILD]        without a card

  --prepare DIR   put what has to be carried into DIR, less than 20 MB: programs and libraries without symbols, the model that
                  ships, templates of others, golden cases as far as they fit, and this script
  --build BUILD   the build to take them from (build/ of this checkout)
  --half 1|2      only the first half (machine, processes, goldens, policies, planes) or the second (speed, endurance,
                  GStreamer); each takes five minutes at most
  --only A,B      only the checks of these names; --list prints them
  --torch DIR     LibTorch, the folder torch/ of its wheel; otherwise deps/libtorch of the checkout, or that of python3 here
  --out DIR       results.json and page.md go there (device-kit-results)
  --rehearse      the whole kit with short lengths: on the CPU where numbers count, on the stand-in for a GPU
                  (tests/fake_gpu) where launches and memory do. --quick leaves out what takes long

Nothing is fetched. Each check has a time limit and says PASS, FAIL or SKIP with the reason and its figures; one that fails
stops no other. The exit status is 0 only if none failed.
TEXT
}

for argument in "$@"; do
  if [[ $argument == -h || $argument == --help ]]; then usage && exit 0; fi
done
command -v python3 >/dev/null || { echo "error: device_kit.sh needs python3, and nothing of it but the standard library" >&2 && exit 1; }
exec python3 -B "$here/device_kit/kit.py" "$@"
