#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What can be said of the sources without compiling or running them. .ci/run calls it before ./test.sh.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"

CHECKS=(clang-format shellcheck licences paths links packages headers exports reference clang-tidy)
CLANG_FORMAT_VERSION=14
# After which clang-tidy begins no further file.
TIDY_SECONDS=90
readonly CHECKS CLANG_FORMAT_VERSION

usage() {
  cat <<'TEXT'
tools/checks.sh [CHECK…] [--fix] [--all] [--base REV] [--seconds N] [--configure] [--help]

Checks the sources, all of it or the CHECKs that are named:

  clang-format  C++ and C are formatted as .clang-format says
  shellcheck    shell scripts
  licences      sources say their licence in their first lines
  paths         no file names a folder of somebody's machine
  links         relative links and anchors in *.md lead somewhere
  packages      debian/control builds with the headers that tools/setup.sh installs
  headers       each header that differs from the main branch compiles alone
  exports       libflowcache.so exports what its headers declare (test: unit-exports)
  reference     gst-plugin/REFERENCE.md is what the element says (test: Reference.IsUpToDate)
  clang-tidy    lines that differ from the main branch, with .clang-tidy

  --fix         clang-format: format the files instead of naming them
  --all         headers, clang-tidy: all files instead of those that differ, however long it takes (an hour for clang-tidy)
  --base REV    differ from what REV and HEAD have in common, instead of main or origin/main
  --seconds N   clang-tidy: begin no further file after N seconds (90); what was left out is named
  --configure   set up build/ first, as ./test.sh does, but compile nothing

Missing tools are installed. Headers and clang-tidy need a build/ that is configured, exports and reference one that is built
since the last change of their sources; without it they are skipped and say so. The last line is
`checks: N passed, N failed[, N skipped]`; the exit status is 0 only if nothing failed.
TEXT
}

chosen=() fix="" all="" base="" configure=""
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --fix) fix=1 ;;
    --all) all=1 ;;
    --configure) configure=1 ;;
    --base | --seconds)
      [[ -n ${2:-} ]] || die "$1 needs a value" "see tools/checks.sh --help"
      if [[ $1 == --base ]]; then base=$2; else TIDY_SECONDS=$2; fi
      shift
      ;;
    -*) die "unknown option $1" "see tools/checks.sh --help" ;;
    *)
      [[ " ${CHECKS[*]} " == *" $1 "* ]] || die "there is no check \"$1\"" "there are: ${CHECKS[*]}"
      chosen+=("$1")
      ;;
  esac
  shift
done
[[ $TIDY_SECONDS =~ ^[1-9][0-9]{0,5}$ ]] || die "--seconds $TIDY_SECONDS is not a whole number of seconds from 1 to 999999"
if [[ ${#chosen[@]} -eq 0 ]]; then chosen=("${CHECKS[@]}"); fi

cd "$ROOT"
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
# In a checkout that belongs to somebody else git answers nothing; this takes effect in this process only.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$ROOT

in_git() { [[ -e .git ]] && command -v git >/dev/null && git rev-parse --git-dir >/dev/null 2>&1; }

# every_file: what is in the repository or could be added to it, a line each. From an archive: what lies here.
every_file() {
  local file
  if in_git; then
    git -c core.quotePath=off ls-files --cached --others --exclude-standard
  else
    find . -path './build*' -prune -o -path ./deps -prune -o -name __pycache__ -prune -o -type f -printf '%P\n'
  fi | sort -u | while IFS= read -r file; do
    if [[ -f $file && ! -L $file ]]; then printf '%s\n' "$file"; fi
  done
}

# matching REGEX: those of the files.
matching() { printf '%s\n' "${FILES[@]}" | { grep -E "$1" || true; }; }

# common_ancestor: the commit that what differs is counted from, or nothing.
common_ancestor() {
  local candidate
  in_git || return 0
  if [[ -n $base ]]; then
    git merge-base "$base" HEAD 2>/dev/null || git rev-parse --verify --quiet "$base^{commit}" || true
    return 0
  fi
  for candidate in main origin/main; do
    if git rev-parse --verify --quiet "$candidate^{commit}" >/dev/null; then
      git merge-base "$candidate" HEAD 2>/dev/null || true
      return 0
    fi
  done
}

# differing REGEX: files that differ from the main branch, committed or not.
differing() {
  { git -c core.quotePath=off diff --name-only --diff-filter=d "$ANCESTOR" && git ls-files --others --exclude-standard; } |
    sort -u | { grep -E "$1" || true; }
}

# Every check prints what is wrong and fails, or sets `note` (how much it looked at) and passes. skip and mend set the rest.
note="" skipped="" remedy=""
skip() { skipped=$1; }
mend() { remedy=$1; }

# needs_build: there is a configured build/, or the check is skipped.
needs_build() {
  if ! build_is_configured || [[ ! -f $BUILD/meson-info/intro-targets.json ]]; then
    skip "build/ is not configured: tools/checks.sh --configure does it"
    return 1
  fi
}

needs_ancestor() {
  if [[ -z $ANCESTOR ]]; then
    skip "no main branch to compare with: name a commit with --base, or check all files with --all"
    return 1
  fi
}

# needs_newer FILE SOURCE…: a file of the build that was made after the sources last changed.
needs_newer() {
  local made=$1 source
  shift
  if [[ ! -f $made ]]; then
    skip "${made#"$ROOT/"} is not built: ./test.sh builds it"
    return 1
  fi
  for source in "$@"; do
    if [[ $source -nt $made ]]; then
      skip "${made#"$ROOT/"} is older than $source: ./test.sh builds it"
      return 1
    fi
  done
}

check_clang-format() {
  local files version program=clang-format
  if command -v "clang-format-$CLANG_FORMAT_VERSION" >/dev/null; then program=clang-format-$CLANG_FORMAT_VERSION; fi
  version=$("$program" --version)
  if [[ $version != *"version $CLANG_FORMAT_VERSION."* ]]; then
    skip "$version is here, and only version $CLANG_FORMAT_VERSION formats as this repository is formatted"
    return 0
  fi
  mapfile -t files < <(matching '\.(cpp|h|c|cu)$')
  note="${#files[@]} files"
  if [[ -n $fix ]]; then
    "$program" -i "${files[@]}"
    return
  fi
  mend "tools/checks.sh clang-format --fix"
  # Of each place only the file's name is printed, with how many places there are in it; other errors as they are.
  "$program" --dry-run --Werror "${files[@]}" 2>&1 | awk -F: '
    /: error: code should be clang-formatted/ { if (!places[$1]++) names[++count] = $1; said = 3 }
    /^[^ ]*: error: / && !/clang-formatted/ || /^[^:]*$/ && said == 0 { print }
    { if (said > 0) said-- }
    END { for (i = 1; i <= count; i++) print names[i] ": " places[names[i]] " places" }'
}

check_shellcheck() {
  local files
  mapfile -t files < <(matching '\.sh$|^\.ci/run$')
  note="${#files[@]} scripts"
  mend "what the page of each number says, https://www.shellcheck.net/wiki/SC…"
  shellcheck -x --format=gcc "${files[@]}"
}

check_licences() {
  local file bad=0 count=0
  mend "the line \"SPDX-License-Identifier: LGPL-2.1-or-later\" as a comment on top"
  while IFS= read -r file; do
    count=$((count + 1))
    if [[ $(sed -n 1,5p "$file") != *SPDX-License-Identifier:* ]]; then
      echo "$file: no SPDX-License-Identifier in its first five lines"
      bad=1
    fi
  done < <(matching '\.(cpp|h|c|cu|py|sh|js|css|html|xml|scenario|supp)$|(^|/)meson(_options\.txt|\.build)$|^Dockerfile$|^\.ci/')
  note="$count files"
  return $bad
}

check_paths() {
  local files
  mapfile -t files < <(matching '\.')
  note="${#files[@]} files"
  mend "a path relative to the checkout, a variable, or /path/to"
  # Preceded by a variable or a name it is a part of a longer path. -I leaves out what is no text.
  ! grep -nIPH '(?<![\w$}"*.)-])/(?:work|home|root)/\S' "${files[@]}" | cut -c1-200
}

check_links() {
  local pages
  mapfile -t pages < <(matching '\.md$')
  note="${#pages[@]} pages"
  mend "the file's name relative to the page, or the heading's words in lower case with - between them"
  python3 tools/checks/links.py "${pages[@]}"
}

check_packages() {
  local wanted have
  wanted=$(printf '%s\n' "${FLOWCACHE_PACKAGES[@]}" | grep -e '-dev$' | grep -v '^libgtest-dev$' | sort)
  have=$(sed -n '/^Build-Depends:/,/^[A-Z]/p' debian/control | grep -oE '[a-z0-9.+-]+-dev' | sort)
  note="$(wc -l <<<"$wanted") packages"
  mend "the same *-dev packages in Build-Depends of debian/control and in FLOWCACHE_PACKAGES of tools/setup.sh, which has libgtest-dev besides"
  diff --label debian/control --label tools/setup.sh -U 0 <(echo "$have") <(echo "$wanted")
}

# not_a_part: the headers among its lines, less those that are included in the middle of a file (Highway's …-inl.h).
not_a_part() { grep -vE -e '-inl\.h$' || true; }

check_headers() {
  local headers cheap=()
  needs_build || return 0
  if [[ -n $all ]]; then
    mapfile -t headers < <(matching '\.h$' | not_a_part)
    cheap=(--cheap)
    note="${#headers[@]} headers"
  else
    needs_ancestor || return 0
    mapfile -t headers < <(differing '\.h$' | not_a_part)
    note="${#headers[@]} headers differ from the main branch"
    # Each by itself would take longer than the rest together.
    if [[ ${#headers[@]} -gt 16 ]]; then cheap=(--cheap); fi
  fi
  if [[ ${#headers[@]} -eq 0 ]]; then
    note="no header differs from the main branch; --all checks each"
    return 0
  fi
  mend "include in the header what it uses"
  python3 tools/checks/headers.py "$ROOT" "$BUILD" "$(build_jobs)" "${cheap[@]}" "${headers[@]}"
}

check_exports() {
  local sources
  mapfile -t sources < <(matching '^engine/(flowcache\.h|api.*|flowcache\.symbols)$')
  needs_newer "$BUILD/engine/libflowcache.so" "${sources[@]}" || return 0
  note="libflowcache.so"
  mend "engine/flowcache.symbols and FC_API in the header, then ninja -C build libflowcache"
  python3 tests/unit/exports_test.py "$BUILD/engine/libflowcache.so" engine/flowcache.h engine/api_report.h engine/api_adopt.h \
    engine/api_worker.h
}

check_reference() {
  local sources now=$BUILD/reference.md
  mapfile -t sources < <(matching '^gst-plugin/.*\.(cpp|h)$')
  needs_newer "$BUILD/gst-plugin/flowcachesrc-reference" gst-plugin/reference.cpp || return 0
  needs_newer "$BUILD/gst-plugin/libgstflowcache.so" "${sources[@]}" || return 0
  note="REFERENCE.md"
  mend "meson devenv -C build build/gst-plugin/flowcachesrc-reference > gst-plugin/REFERENCE.md"
  if ! GST_PLUGIN_PATH_1_0=$BUILD/gst-plugin GST_REGISTRY_1_0=$BUILD/gst-registry-reference.bin GST_REGISTRY_FORK=no \
    "$BUILD/gst-plugin/flowcachesrc-reference" >"$now"; then
    mend "flowcachesrc-reference failed: see what it said"
    return 1
  fi
  diff --label REFERENCE.md --label "what the element says" -U 1 gst-plugin/REFERENCE.md "$now" | sed -n 1,40p
}

check_clang-tidy() {
  local files seconds=$TIDY_SECONDS
  needs_build || return 0
  if [[ -n $all ]]; then
    mapfile -t files < <(matching '\.(cpp|h|c)$')
    seconds=86400
  else
    needs_ancestor || return 0
    mapfile -t files < <(differing '\.(cpp|h|c)$')
  fi
  if [[ ${#files[@]} -eq 0 ]]; then
    note="no file differs from the main branch; --all checks each"
    return 0
  fi
  note="${#files[@]} files${all:+ of all}${ANCESTOR:+, from ${ANCESTOR:0:7} on}"
  mend "what the page of each name says, https://clang.llvm.org/extra/clang-tidy/checks/list.html, or // NOLINT(name) with the reason"
  printf '%s\n' "${files[@]}" | python3 tools/checks/tidy.py "$ROOT" "$BUILD" "$(build_jobs)" "$seconds" ${all:-$ANCESTOR}
}

tools=(git:git python3:python3)
for check in "${chosen[@]}"; do
  case $check in
    clang-format | clang-tidy | shellcheck) tools+=("$check:$check") ;;
    headers) tools+=(g++:g++) ;;
    exports) tools+=(nm:binutils) ;;
  esac
done
setup_tools "${tools[@]}"
if [[ -n $configure ]]; then flowcache_setup --configure-only; fi
mapfile -t FILES < <(every_file)
ANCESTOR=$(common_ancestor)
readonly FILES ANCESTOR
if [[ -n $base && -z $ANCESTOR ]]; then die "--base $base is no commit of this repository"; fi

# tell: what a check said, as far as somebody will read it.
tell() {
  sed -n '1,120s/^/        /p' "$said"
  if [[ $(wc -l <"$said") -gt 120 ]]; then echo "        … and $(($(wc -l <"$said") - 120)) lines more"; fi
}

passed=0 failed=() left_out=0
said=$(mktemp)
trap 'rm -f "$said"' EXIT
for check in "${chosen[@]}"; do
  note="" skipped="" remedy="" began=$SECONDS
  if "check_$check" >"$said" 2>&1; then verdict=passed; else verdict=failed; fi
  took="$((SECONDS - began)) s"
  if [[ $verdict == failed ]]; then
    failed+=("$check")
    echo "FAILED  $check ($note, $took)"
    tell
    echo "        mend it: $remedy"
    echo "        run it:  tools/checks.sh $check"
  elif [[ -n $skipped ]]; then
    left_out=$((left_out + 1))
    echo "skipped $check: $skipped"
  else
    passed=$((passed + 1))
    echo "passed  $check ($note, $took)"
    tell
  fi
done
if [[ -d $BUILD ]]; then give_back "$BUILD"; fi
if [[ ${#failed[@]} -gt 0 ]]; then echo "failed: ${failed[*]}"; fi
summary="checks: $passed passed, ${#failed[@]} failed"
if [[ $left_out -gt 0 ]]; then summary+=", $left_out skipped"; fi
echo "$summary"
[[ ${#failed[@]} -eq 0 ]]
