#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Compiles the fuzz targets with clang, libFuzzer, AddressSanitizer and UBSan. See README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

usage() {
  cat <<'TEXT'
tests/fuzz/build.sh [--torch PREFIX] OUT_DIR [TARGET…]

Compiles all targets, or those that are named, into OUT_DIR/TARGET. Only what they need of the project is compiled.
CXX (default clang++, of version 14 or later), JOBS (default: all cores).
TEXT
}

die() {
  printf 'error: %s\n' "$@" >&2
  exit 2
}

torch=$root/deps/libtorch
out=
wanted=()
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --torch) torch=${2:?--torch PREFIX} && shift ;;
    -*) die "unknown option $1; see --help" ;;
    *) if [[ -z $out ]]; then out=$1; else wanted+=("$1"); fi ;;
  esac
  shift
done
[[ -n $out ]] || die "give a folder for the programs; see --help"
if [[ -d $torch/torch/include ]]; then torch=$torch/torch; fi

# ---- what each target is made of: its own file, these, and libraries

json="base/unicode base/words package/card package/fields package/sizes package/strict_json"
readers="package/check_weights package/deferred package/gguf package/mapping package/naming package/pickle package/published_names
  package/safetensors package/torch_file package/weights_file package/zip"
package="$json package/files package/model $readers"
cd "$root/engine"
cache=$(echo cache/registry.cpp cache/*/*.cpp)
networks=$(echo families/*.cpp families/*/*.cpp networks/*.cpp networks/decoders/*.cpp networks/text/t5*.cpp networks/text/words.cpp \
  networks/text/prompt_*.cpp samplers/*.cpp)
cd "$root"
engine() { for file in "$@"; do echo "engine/${file%.cpp}.cpp"; done; }
live() { for file in "$@"; do echo "apps/live/$file.cpp"; done; }

# shellcheck disable=SC2086 # lists of words by construction
declare -A sources=(
  [safetensors]=$(engine base/words package/strict_json $readers)
  [pickle]=$(engine base/words package/strict_json $readers)
  [gguf]=$(engine base/words package/strict_json $readers)
  [model_json]="$(engine $package $networks base/log base/process_end) tests/fuzz/no_kernels.cpp
    tests/fuzz/tokenizer_module.cpp"
  [policies]="$(engine base/words base/process_end $cache) tests/fuzz/no_kernels.cpp"
  [subtitles]="gst-plugin/subtitles.cpp gst-plugin/script.cpp gst-plugin/properties_table.cpp"
  [prompts]=$(engine base/unicode networks/text/prompt_cleaning networks/text/prompt_words)
  [magi_prompts]=$(engine base/unicode networks/text/prompt_cleaning families/magi/prompt_cleaning)
  [tokenizer]="$(engine base/unicode networks/text/prompt_cleaning) tests/fuzz/tokenizer_module.cpp"
  [sdp]=$(live sdp)
  [ice]=$(live ice)
  [gate]="$(live gate options ice) apps/output/handles.cpp"
  [whip_answers]="$(live exchange ice sdp) apps/output/handles.cpp"
  [live_messages]="$(live commands feed session sdp ice) apps/output/handles.cpp apps/output/tap.cpp tests/fuzz/live_stubs.cpp"
  [live_http]="$(live commands connection_limiter feed gate ice options server session sdp) apps/output/handles.cpp
    apps/output/tap.cpp tests/fuzz/live_stubs.cpp resources.c"
  [user_data]=gst-plugin/user_data.cpp
  [exif]="gst-plugin/prefix.cpp gst-plugin/properties_table.cpp"
)
gst=(gstreamer-1.0 gstreamer-video-1.0 gstreamer-tag-1.0 gstreamer-sdp-1.0 gstreamer-app-1.0 libsoup-3.0 gio-unix-2.0)
targets=(safetensors pickle gguf model_json policies subtitles prompts magi_prompts tokenizer sdp ice gate whip_answers live_messages live_http
  user_data exif)
[[ ${#wanted[@]} -gt 0 ]] || wanted=("${targets[@]}")
for target in "${wanted[@]}"; do
  [[ -n ${sources[$target]:-} ]] || die "no target \"$target\"; there are ${targets[*]}"
done

# ---- tools

cxx=${CXX:-clang++}
for tool in "$cxx" ninja pkg-config glib-compile-resources; do
  command -v "$tool" >/dev/null || die "$tool is missing; see tests/fuzz/README.md"
done
[[ -f $torch/include/ATen/ATen.h ]] || die "no LibTorch in $torch: ./test.sh installs it, or give --torch PREFIX"
pkg-config --exists "${gst[@]}" || die "development packages are missing: ./test.sh installs them"
mkdir -p "$out"
out=$(cd "$out" && pwd)

# ---- build.ninja: an object for each source, whichever targets it is in

needs_torch() {
  case $1 in
    engine/base/* | engine/package/card.cpp | engine/package/fields.cpp | engine/package/sizes.cpp | engine/package/strict_json.cpp) false ;;
    engine/networks/text/prompt_* | engine/families/magi/prompt_cleaning.cpp) false ;;
    engine/* | tests/fuzz/safetensors.cpp | tests/fuzz/pickle.cpp | tests/fuzz/gguf.cpp | tests/fuzz/model_json.cpp | tests/fuzz/policies.cpp | tests/fuzz/no_kernels.cpp) true ;;
    *) false ;;
  esac
}

# Escaped for build.ninja.
object() { echo "obj/${1%.*}.o"; }

write_ninja() {
  local target source objects libraries
  declare -A seen=()
  cat <<TEXT
ninja_required_version = 1.8
builddir = $out
san = -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
flags = -std=c++20 -O1 -g1 -fPIC -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS -Wno-everything \$san -fsanitize=fuzzer-no-link $
  -I$root -I$root/engine -I$root/kernels -I$root/apps/live -I$root/apps/output -I$here $
  -DFLOWCACHE_SOURCE_DIR="\"$root\"" -DFLOWCACHE_DATA_DIR="\"/nowhere\"" -DFLOWCACHE_VERSION="\"0\""
torch = -isystem $torch/include -isystem $torch/include/torch/csrc/api/include
gst = $(pkg-config --cflags "${gst[@]}" nlohmann_json | sed 's/-I/-isystem /g')
rule cxx
  command = $cxx \$flags \$more -MD -MF \$out.d -c \$in -o \$out
  depfile = \$out.d
  deps = gcc
  description = \$in
rule cc
  command = ${cxx%++*} -O1 \$gst -c \$in -o \$out
rule pch
  command = $cxx \$flags \$torch -x c++-header -MD -MF \$out.d \$in -o \$out
  depfile = \$out.d
  deps = gcc
  description = LibTorch's headers
rule resources
  command = glib-compile-resources --sourcedir=$root/apps/live --sourcedir=$root/apps/live/page --generate-source --target=\$out \$in
rule link
  command = $cxx \$san -fsanitize=fuzzer \$in -o \$out \$libs
  description = \$out
rule module
  command = $cxx -std=c++20 -O2 -fPIC -shared -I$root/engine \$in -o \$out $(pkg-config --cflags --libs sentencepiece)
build aten.pch: pch $root/engine/pch/aten.h
build libflowcache-sentencepiece.so: module $root/engine/networks/text/piece_model.cpp
build resources.c: resources $root/apps/live/live.gresource.xml
build obj/resources.o: cc resources.c
TEXT
  for target in "${wanted[@]}"; do
    objects=
    for source in "tests/fuzz/$target.cpp" ${sources[$target]}; do
      objects+=" $(object "$source")"
      if [[ $source == resources.c || -n ${seen[$source]:-} ]]; then continue; fi
      seen[$source]=1
      # shellcheck disable=SC2016 # ninja's variables
      if needs_torch "$source"; then
        printf 'build %s: cxx %s | aten.pch\n  more = $torch -include-pch aten.pch\n' "$(object "$source")" "$root/$source"
      else
        printf 'build %s: cxx %s\n  more = $gst\n' "$(object "$source")" "$root/$source"
      fi
    done
    libraries="$(pkg-config --libs "${gst[@]}") -ldl -lpthread"
    case $target in
      safetensors | pickle | gguf | model_json | policies)
        libraries="-L$torch/lib -Wl,-rpath,$torch/lib -Wl,--no-as-needed -ltorch_cpu -lc10 -Wl,--as-needed -ldl -lpthread" ;;
    esac
    printf 'build %s: link%s | libflowcache-sentencepiece.so\n  libs = %s\n' "$target" "$objects" "$libraries"
  done
}
write_ninja >"$out/build.ninja.new"
mv "$out/build.ninja.new" "$out/build.ninja"
ninja -C "$out" -k 0 -j "${JOBS:-$(nproc)}" "${wanted[@]}"
