#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One forward of this engine beside its peers.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/setup.sh"
PEERS=${FLOWCACHE_PEERS:-$DEPS/peers}
# The engine's own LibTorch, so that all of them multiply with the same libraries.
PEERS_PACKAGES=("$TORCH_WHEEL" flashdreams==0.1.0)

usage() {
  cat <<'TEXT'
tests/bench/peers.sh [ambient|wan|wan-480p] [OPTION…]
tests/bench/peers.sh --install

Times one forward of a chunk with a full history: this engine, eager PyTorch, torch.compile, and FlashDreams' modules as
they are and compiled. They take turns, each in a process of its own, with the same shape and the same threads. Prints a
table of medians and, as the last line, `ratio to the fastest peer: R`: the engine's median over that of the fastest peer
that ran. A peer that cannot run is named, with the reason.

  ambient           the model that ships: 432 tokens, 1,296 of history (the default)
  wan               two layers of Wan 2.1 1.3B: 1,530 tokens, 6,120 of history, 512 of text
  wan-480p          four layers of it at 832x480: the first chunk, 4,680 tokens without history; a turn takes minutes
  --isa avx2        no more than AVX2, for all of them alike; native, the default: what the processor has
  --precision P     fp32 (the default) or bf16
  --threads N       as many as this process may use by default
  --rounds N        turns that each takes, 5 by default
  --runs N          forwards that are timed in a turn; 20 of ambient, 3 of wan, 1 of wan-480p by default
  --only NAMES      peers to run, by commas: eager,compile,flashdreams,flashdreams-compile
  --json FILE       the figures as JSON, every turn's among them
  --install         puts the peers into deps/peers (5 GB: PyTorch's wheel for Linux brings its CUDA libraries along);
                    nothing else does. FLOWCACHE_PEERS names another folder
TEXT
}

install_peers() {
  local python free_mb
  python=$(python_with_pip) || die "no Python with pip found; run: apt-get install python3-pip"
  mkdir -p "$(dirname "$PEERS")"
  free_mb=$(($(df -Pk "$(dirname "$PEERS")" | awk 'NR == 2 { print $4 }') / 1024))
  [[ $free_mb -ge 8000 ]] || die "the peers need 8000 MB free in $(dirname "$PEERS") while they install, $free_mb MB are"
  step "${PEERS_PACKAGES[*]} into $PEERS"
  rm -rf "$PEERS.partial"
  PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    "$python" -m pip install --no-compile --target "$PEERS.partial" "${PEERS_PACKAGES[@]}" >&2 ||
    die "the peers could not be installed (above)"
  "$python" -c 'import sys; print(sys.executable)' >"$PEERS.partial/interpreter"
  rm -rf "$PEERS" && mv "$PEERS.partial" "$PEERS"
  give_back "$PEERS"
}

for argument in "$@"; do
  case $argument in
    -h | --help) usage && exit 0 ;;
    --install) install_peers && exit 0 ;;
  esac
done
[[ -r $PEERS/interpreter ]] || die "the peers are not installed" "run: tests/bench/peers.sh --install"
python=$(<"$PEERS/interpreter")
[[ -x $python ]] || die "$python, which the peers were installed for, is gone" "run: tests/bench/peers.sh --install"
PYTHONPATH=$PEERS exec "$python" "$ROOT/tests/bench/peers/compare.py" --threads "$(allowed_cpus)" "$@"
