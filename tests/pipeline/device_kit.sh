#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tools/device_kit.sh: what is carried is small, a rehearsal without a card is green, and one check that breaks stops no other.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
kit=$SOURCE_DIR/tools/device_kit.sh
for part in engine/cli/flowcache tests/device_kit/device-kit tests/golden-runner/golden-runner; do
  if [[ ! -x $BUILD_DIR/$part ]]; then
    skip "device kit" "$part is not built"
    finish
    exit 0
  fi
done
# LibTorch that this build was linked with: LibTorch's own folder, whose name ends in torch.
torch=$(ldd "$BUILD_DIR/engine/libflowcache.so" | sed -nE 's|.*=> (.*)/lib/libtorch_cpu.so .*|\1|p')

check "--help" "$kit" --help
refuses "no such half" "invalid choice" "$kit" --half 3
refuses "no such check" "there is no check \"speed\"; there are: libraries" "$kit" --only speed
refuses "a folder that was not prepared" "is not prepared" "$kit" --out "$WORK/none"
refuses "a build that is none" "not built in $WORK: engine/cli/flowcache" "$kit" --prepare "$WORK/kit" --build "$WORK"
mkdir "$WORK/full" && touch "$WORK/full/somebody's"
refuses "a folder with something else in it" "no prepared folder" "$kit" --prepare "$WORK/full" --build "$BUILD_DIR"
check "which is left as it is" test -e "$WORK/full/somebody's"

check "--prepare" "$kit" --prepare "$WORK/kit" --build "$BUILD_DIR"
check "a second time" "$kit" --prepare "$WORK/kit" --build "$BUILD_DIR"
check "less than 20 MB" test "$(du -sb "$WORK/kit" | cut -f1)" -lt 20000000
refuses "no LibTorch where it is said to be" "no LibTorch" "$WORK/kit/tools/device_kit.sh" --torch "$WORK" --out "$WORK/out"

# Where it was carried to, there is no card.
carried() { (cd "$WORK" && CUDA_VISIBLE_DEVICES="" kit/tools/device_kit.sh --torch "$torch" --out out "$@"); }
check "without a card nothing fails" carried --half 1
check "and everything says why it cannot" "$PYTHON" - "$WORK/out/results.json" <<'TEXT'
import json, sys
results = json.load(open(sys.argv[1]))["results"]
bad = [one for one in results if one["check"] != "libraries" and not (one["status"] == "SKIP" and "GPU" in one["reason"] + one["title"])]
sys.exit(str(bad) if bad or len(results) < 8 else 0)
TEXT

cat >"$WORK/breaks.py" <<'TEXT'
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import kit
scratch = pathlib.Path(sys.argv[2])
one = kit.Kit(scratch / "kit", scratch, scratch / "torch", True, scratch)
asleep = lambda k: kit.Result(kit.PASS if k.run(["sh", "-c", "sleep 600 & wait"]).status == 124 else kit.FAIL)
checks = [kit.Check("raises", "", 1, 5, lambda k: 1 / 0), kit.Check("hangs", "", 1, 1, asleep),
          kit.Check("passes", "", 1, 5, lambda k: kit.Result(kit.PASS))]
start = time.monotonic()
got = [(r["status"], r["reason"]) for r in kit.run_all(one, checks)]
assert got == [("FAIL", "ZeroDivisionError: division by zero"), ("PASS", ""), ("PASS", "")], got
assert time.monotonic() - start < 60
TEXT
check "a check that breaks or hangs stops no other" "$PYTHON" -B "$WORK/breaks.py" "$SOURCE_DIR/tools/device_kit" "$WORK"

# LibTorch of another version there: the first check says so, and the others run.
mkdir "$WORK/other"
ln -s "$torch/lib" "$WORK/other/lib"
printf "__version__ = '2.10.0'\n" >"$WORK/other/version.py"
refuses "LibTorch of another version is named" "FAIL  libraries .*LibTorch is 2.10.0 here, and the programs were made with [0-9]" \
  "$WORK/kit/tools/device_kit.sh" --only libraries,graphs --torch "$WORK/other" --out "$WORK/out"
check "and the other checks run" grep -q '"check": "graphs"' "$WORK/out/results.json"

printf '{"rows": [{"model": "m", "launches": 1500, "syncs": 3}]}' >"$WORK/before"
printf '[{"model": "m", "launches": 900, "forward": 9, "syncs": 3, "copies": 2, "mallocs": 0, "peak_mb": 12}]' >"$WORK/now"
"$PYTHON" "$SOURCE_DIR/tests/fake_gpu/report.py" --markdown "$WORK/before" <"$WORK/now" >"$WORK/table"
check "tests/fake_gpu/report names what has changed" grep -qxF "| m | 1,500 → 900 | 9 | 3 | 2 | 0 | 12 |" "$WORK/table"

# The stand-in for a GPU computes nothing, so what compares numbers must find that out.
stand_in=$BUILD_DIR/tests/fake_gpu
cat >"$WORK/on_stand_in" <<TEXT
#!/bin/sh
LD_LIBRARY_PATH=$stand_in/names LD_PRELOAD=$stand_in/libfake-gpu.so exec "$BUILD_DIR/tests/device_kit/device-kit" "\$@" --device cuda \\
  --no-cudnn --steps 2 --chunks 1 --size 256x160
TEXT
chmod +x "$WORK/on_stand_in"
if [[ -d $stand_in/names ]]; then
  export FLOWCACHE_MODEL=$SOURCE_DIR/models/ambient FLOWCACHE_CUDA_KERNELS=$BUILD_DIR/kernels/libflowcache-kernels-cuda.so
  refuses "policies that draw otherwise than on the CPU are found" "none: .* dB from the CPU" "$WORK/on_stand_in" policies --only none
  refuses "streams that draw nothing are found" "two seeds draw the same" "$WORK/on_stand_in" pair
  if [[ -f $FLOWCACHE_CUDA_KERNELS ]]; then
    refuses "planes that are not written are found" "samples differ by 2" "$WORK/on_stand_in" planes
  else
    refuses "kernels that are missing are named" "cannot write planes in CUDA memory without" "$WORK/on_stand_in" planes
  fi
else
  skip "wrong numbers are found" "the stand-in for a GPU is not built"
fi

check "--rehearse" "$kit" --rehearse --build "$BUILD_DIR" --torch "$torch" --out "$WORK/rehearsed"
check "which leaves a page" grep -q "^| flowcache doctor uses the GPU | \(PASS\|SKIP\)" "$WORK/rehearsed/page.md"
finish
