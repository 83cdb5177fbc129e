#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The flowcache command looks whether its output can be written before the work that it is for.
set -euo pipefail
# shellcheck source=tests/pipeline/tap.sh
source "$SOURCE_DIR/tests/pipeline/tap.sh"
flowcache=$BUILD_DIR/engine/cli/flowcache
if [[ ! -x $flowcache ]]; then
  skip "command" "libcli11-dev was not installed when this was built"
  finish
  exit 0
fi

# idle NAME PATTERN ARGUMENT…: the command refuses, says PATTERN and has begun nothing.
idle() {
  refuses "$1" "$2" "$flowcache" "${@:3}"
  if grep -qE 'loading|cases x|[0-9] %' "$WORK/check.log"; then not_ok "$1: nothing is begun" "$WORK/check.log"; else ok "$1: nothing is begun"; fi
}
quick=(--chunks 1 --steps 1 --prompt fire --cache none)
idle "bench --json into no folder" "cannot write .*there is no folder" bench "${quick[@]}" --json "$WORK/none/x.json"
idle "bench --html over a folder" "cannot write .*it is a folder" bench "${quick[@]}" --html "$WORK"
idle "calibrate --out into no folder" "cannot write .*--out" calibrate --chunks 2 --out "$WORK/none/x.json"
idle "generate into no folder" "cannot write .*there is no folder" generate fire -s 0.1 -o "$WORK/none/x.y4m"
idle "generate pictures into no folder" "cannot write .*there is no folder" generate fire -s 0.1 -o "$WORK/none/%04d.png"
idle "generate under a name of another kind" "ends in .y4m" generate fire -s 0.1 -o "$WORK/x.mp4"
idle "generate from a prefix that is not there" "none.png" generate fire -s 0.1 -o "$WORK/x.y4m" --prefix "$WORK/none.png"
if [[ -z $(find "$WORK" -name 'x.*') ]]; then ok "and nothing is left behind"; else not_ok "and nothing is left behind"; fi

refuses "inspect --memory of no size" "is not the size of a GPU" "$flowcache" inspect --memory 8G,large
refuses "inspect of two models" "describes one model" "$flowcache" inspect "$SOURCE_DIR/models/ambient" "$SOURCE_DIR/models/ambient"
(cd "$SOURCE_DIR" && "$flowcache" inspect --memory 8G,12G,16G,24G models/ambient models/templates/*.json) >"$WORK/cards" 2>&1 || true
sed -n '/^| model | 8 GB/,/^$/p' "$SOURCE_DIR/models/README.md" | sed '/^$/d' >"$WORK/page"
check "models/README.md has the table that inspect --memory prints" diff "$WORK/page" "$WORK/cards"
check "which has rows" grep -q '^| `self-forcing' "$WORK/page"

# A video that is repainted: strength 1 is the video that the prompt gives anyhow.
small=(--size 256x160 --steps 4 --cache none)
y4m() { "$flowcache" generate "$@" 2>>"$WORK/generate.log"; }
y4m "orange fire" --seed 3 -s 1 "${small[@]}" -o "$WORK/in.y4m" || true
y4m "green aurora" --seed 1 -s 1 "${small[@]}" -o "$WORK/unfed.y4m" || true
y4m "green aurora" --seed 1 "${small[@]}" --input "$WORK/in.y4m" --strength 1 -o "$WORK/one.y4m" || true
y4m "green aurora" --seed 1 "${small[@]}" --input "$WORK/in.y4m" --strength 0.5 -o "$WORK/half.y4m" || true
y4m "green aurora" --seed 1 "${small[@]}" --input - --strength 0.5 -o - <"$WORK/in.y4m" >"$WORK/piped.y4m" || true
for motion in "" --follow-motion; do
  # shellcheck disable=SC2086
  y4m "green aurora" --seed 1 "${small[@]}" --input "$WORK/in.y4m" --strength 0.63 $motion -o "$WORK/motion$motion.y4m" || true
done
check "generate --strength 1 is the unfed video" cmp "$WORK/one.y4m" "$WORK/unfed.y4m"
if cmp -s "$WORK/half.y4m" "$WORK/unfed.y4m"; then not_ok "--strength 0.5 is not"; else ok "--strength 0.5 is not"; fi
if cmp -s "$WORK/motion.y4m" "$WORK/motion--follow-motion.y4m"; then not_ok "--follow-motion takes fewer steps of fire"; else ok "--follow-motion takes fewer steps of fire"; fi
check "--input - reads standard input" cmp "$WORK/half.y4m" "$WORK/piped.y4m"
# 16 frames, though a chunk has 12.
check "it has as many frames as the input" test "$(stat -c %s "$WORK/half.y4m")" -eq "$(stat -c %s "$WORK/in.y4m")"
head -c 100000 "$WORK/in.y4m" >"$WORK/cut.y4m"
sed '1s/C420mpeg2/C444/' "$WORK/in.y4m" >"$WORK/444.y4m"
printf 'YUV4MPEG2 W256 H160 F16:1 C420\n' >"$WORK/empty.y4m"
refuses "generate --input of another size" "scale=512:288" "$flowcache" generate fire --input "$WORK/in.y4m" -o "$WORK/y.y4m"
refuses "generate --input of no video" "takes FILE.y4m" "$flowcache" generate fire --input "$WORK/page" -o "$WORK/y.y4m"
refuses "generate --input that is not there" "No such file" "$flowcache" generate fire --input "$WORK/none.y4m" -o "$WORK/y.y4m"
refuses "generate --input that is cut off" "cut off" "$flowcache" generate fire "${small[@]}" --input "$WORK/cut.y4m" -o "$WORK/y.y4m"
refuses "generate --input of 4:4:4" "C444" "$flowcache" generate fire "${small[@]}" --input "$WORK/444.y4m" -o "$WORK/y.y4m"
refuses "generate --input without frames" "no frame in it" "$flowcache" generate fire "${small[@]}" --input "$WORK/empty.y4m" -o "$WORK/y.y4m"
refuses "generate --strength 2" "strength" "$flowcache" generate fire --input "$WORK/in.y4m" --strength 2 -o "$WORK/y.y4m"

check "what can be written is" "$flowcache" bench "${quick[@]}" --json "$WORK/x.json" --html "$WORK/x.html"
check "both files" test -s "$WORK/x.json" -a -s "$WORK/x.html"

# A LoRA that a stream takes on is that of model.json.
check "a LoRA and a model that has it" "$PYTHON" "$SOURCE_DIR/tests/pipeline/write_lora.py" "$SOURCE_DIR/models/ambient" "$WORK"
made() { "$flowcache" generate fire --steps 3 -s 0.5 --size 256x160 --cache none -o "$WORK/$1.y4m" "${@:2}"; }
check "frames of the model alone" made plain
check "frames of the model with it" made json -m "$WORK/with"
check "frames with --lora" made lora --lora "$WORK/style.safetensors:4"
check "are those of model.json" cmp "$WORK/json.y4m" "$WORK/lora.y4m"
if cmp -s "$WORK/plain.y4m" "$WORK/lora.y4m"; then not_ok "and not those without"; else ok "and not those without"; fi
refuses "a DoRA" "DoRA" "$flowcache" generate fire -s 0.1 -o "$WORK/dora.y4m" --lora "$WORK/dora.safetensors"
refuses "a LoRA that is not there" "nothing.safetensors" "$flowcache" generate fire -s 0.1 -o "$WORK/dora.y4m" --lora "$WORK/nothing.safetensors"
if [[ ! -e $WORK/dora.y4m ]]; then ok "and no file is begun"; else not_ok "and no file is begun"; fi

# measure says how far a step is before it ends, and Ctrl-C ends it in order. It would measure for a long time.
"$flowcache" measure --threads 1 --size 640x384 --chunks 1000 >"$WORK/measure.log" 2>&1 &
measuring=$!
cleanup+=("kill -9 $measuring 2>/dev/null || true")
said='step 1: [0-9]+ of [0-9]+ layers, [0-9.]+ s, about'
check "measure says how far a step is" until_true grep -qE "$said" "$WORK/measure.log"
kill -INT "$measuring"
status=0
wait "$measuring" || status=$?
if [[ $status -eq 130 ]]; then ok "Ctrl-C ends it with 130"; else not_ok "Ctrl-C ends it with 130, not $status" "$WORK/measure.log"; fi
check "and it says where it was" grep -q 'interrupted in step' "$WORK/measure.log"
sed '/^one step/q' "$WORK/measure.log" >"$WORK/begin.log"
check "it had said so before the step was over" grep -qE "$said" "$WORK/begin.log"
finish
