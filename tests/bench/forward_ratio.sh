#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# forward_ratio.sh [fp32|bf16 [ROUNDS [THREADS]]]: one forward of the model that ships, this engine against eager PyTorch,
# run in turns; prints the ratio of the least times and of the medians of each side's rounds. PYTHON must have torch.
set -eu
kind=${1:-fp32} rounds=${2:-5} threads=${3:-2}
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH_FORWARD:-$here/../../build/tests/bench/bench-forward}
python=${PYTHON:-python3}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Both sides wait as the engine's programs do: a thread that spins at a barrier takes the core that another one needs.
export OMP_NUM_THREADS="$threads" GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"
for round in $(seq "$rounds"); do
  "$bench" "$here/../../models/ambient" "$kind" "$threads" 20 | sed -n 's/^forward/engine/p' >> "$log"
  "$python" "$here/eager_forward.py" "$kind" "$threads" 20 | sed -n 's/^forward/eager/p' >> "$log"
done
cat "$log"
awk -v kind="$kind" -v threads="$threads" '
  { if (!($1 in least) || $3 < least[$1]) least[$1] = $3; sum[$1] += $5 }
  END {
    printf "%s, %d threads: engine %.1f ms, eager %.1f ms, ratio %.2f (least); %.2f (mean of medians)\n",
      kind, threads, least["engine"], least["eager"], least["engine"] / least["eager"], sum["engine"] / sum["eager"]
  }' "$log"
