# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034 # the arrays are for the scripts that source this file
# Shared by the scripts in this folder: their common options, and how they run a pipeline.
#
#   source common.sh
#   parse_arguments "$@"      reads the options, fills the array arguments; needs usage()
#   prepare                   builds what is missing, asks for the model's frame rate, fills the array source
#   run_pipeline NAME WORD…   prints the pipeline and runs it
#   send_pipeline NAME WORD…  the same for a receiver that may disappear: the generator continues without it

# shellcheck source=tools/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../tools/setup.sh"

flowcache_environment
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000} # threads that wait longer give their cores to the encoder
prompt="slow green aurora over mountains" seed=1 seconds="" dry_run=0
arguments=() source=() encoder=() sound=() retry=30 rate_n=0 rate_d=1

# A queue that drops its oldest frames if the other side is slow, so that no delay builds up.
live_queue=(queue max-size-buffers=8 max-size-bytes=0 max-size-time=0 leaky=downstream)

common_options() {
  cat <<'TEXT'
  --prompt TEXT  what to show (default: "slow green aurora over mountains")
  --seed N       another seed, another video (default 1)
  --seconds N    stop after N seconds (default: go on until Ctrl-C)
  --dry-run      print the pipeline and do not run it
TEXT
}

retry_options() {
  cat <<'TEXT'
  --retry N      when the other side goes away, try again up to N times, after 1, 2, 4 … 15 seconds, while the generator
                 goes on; then, or at once with 0, end with a message (default 30)
TEXT
}

# own_option OPTION VALUE: scripts with options of their own replace this function. It returns 0 if it has
# used the option.
own_option() { return 1; }

parse_arguments() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) usage && exit 0 ;;
      --dry-run) dry_run=1 && shift && continue ;;
      -?*) ;;
      *) arguments+=("$1") && shift && continue ;;
    esac
    case $1 in
      --prompt | --seed | --seconds) [[ $# -ge 2 ]] || die "$1 needs a value" "see $0 --help" ;;
    esac
    case $1 in
      --prompt) prompt=$2 ;;
      --seed) seed=$2 ;;
      --seconds) seconds=$2 ;;
      *) own_option "$1" "${2:-}" || die "unknown option $1" "see $0 --help" ;;
    esac
    shift $(($# < 2 ? $# : 2))
  done
  [[ $seed =~ ^[0-9]{1,18}$ ]] || die "--seed $seed is not a whole number from 0 to 999999999999999999"
  [[ -z $seconds || $seconds =~ ^[0-9]{1,6}$ && $seconds -gt 0 ]] || die "--seconds $seconds is not a whole number from 1 to 999999"
}

# prepare: builds what is missing, asks for the model's frame rate and fills the array source. Call it once,
# after all arguments have been checked.
prepare() {
  local answer
  set_up apps/ask/flowcache-ask
  answer=$(ask frame-rate)
  read -r rate_n rate_d <<<"$answer"
  source=(flowcachesrc "prompt=$(quoted "$prompt")" "seed=$seed")
  if [[ -n $seconds ]]; then source+=("num-buffers=$(frames_in "$seconds")"); fi
}

# ask WORD…: asks flowcache-ask; apps/ask/main.cpp says what it answers.
ask() { "$BUILD/apps/ask/flowcache-ask" "$@"; }

# frames_in SECONDS: prints how many of the model's frames that is, rounded, at least one.
frames_in() {
  local frames=$(((2 * $1 * rate_n + rate_d) / (2 * rate_d)))
  echo $((frames > 0 ? frames : 1))
}

# quoted TEXT: prints it as a value for gst-launch-1.0.
quoted() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# in_brackets ADDRESS: prints it as it is written before a port: IPv6 in brackets, others unchanged.
in_brackets() {
  if [[ $1 == *:* ]]; then printf '[%s]' "$1"; else printf '%s' "$1"; fi
}

# bind_option OPTION VALUE: reads --bind ADDRESS into bind, without brackets. Use it in own_option of scripts
# that listen.
bind_option() {
  [[ $1 == --bind ]] || return 1
  bind=$2
  if [[ $bind == \[*\] ]]; then bind=${bind:1:-1}; fi
  [[ $bind =~ ^([0-9a-zA-Z.-]+|[0-9a-fA-F:.]+)$ ]] ||
    die "--bind '$2' is not an address, such as 127.0.0.1, ::1 or 0.0.0.0"
}

# read_address TEXT: reads HOST:PORT, [HOST]:PORT (IPv6) or :PORT into host (without brackets) and port. Fails
# for any other text.
read_address() {
  local form='^(\[([0-9a-fA-F:.]+)\]|[^]/?@:[:space:][]*):([0-9]{1,5})$'
  [[ $1 =~ $form ]] || return 1
  host=${BASH_REMATCH[2]:-${BASH_REMATCH[1]}} port=$((10#${BASH_REMATCH[3]}))
  [[ $port -ge 1 && $port -le 65535 ]]
}

# --exists would compare a plugin's version with GStreamer's, but some plugins have numbers of their own.
has_element() { gst-inspect-1.0 "$1" >/dev/null 2>&1; }

# ask_encoder ARRAY NAME NUMBER…: fills the array with an encoder and its settings, from
# apps/output/encoders.cpp.
ask_encoder() {
  local -n into=$1
  local answer
  answer=$(ask encoder "${@:2}")
  read -ra into <<<"$answer"
}

# set_encoder KBIT_PER_SECOND SECONDS: fills the array encoder with H.264 for a live stream, with this many
# seconds between key frames. A viewer who joins waits at most that long for a picture.
set_encoder() { ask_encoder encoder h264 "$1" "$(frames_in "$2")"; }

# set_sound WAVE VOLUME ENCODER [KBIT_PER_SECOND]: fills the array sound with an encoded live sound that ends with the video.
set_sound() {
  local encoded
  ask_encoder encoded "${@:3}"
  sound=(audiotestsrc is-live=true "wave=$1" "volume=$2" samplesperbuffer=480)
  if [[ -n $seconds ]]; then sound+=("num-buffers=$((seconds * 100))"); fi
  sound+=(! "audio/x-raw,rate=48000" ! audioconvert ! "${encoded[@]}")
}

# retry_option OPTION VALUE: reads --retry. Use it in own_option of scripts whose receiver may disappear.
retry_option() {
  [[ $1 == --retry ]] || return 1
  [[ $2 =~ ^[0-9]{1,6}$ ]] || die "--retry '$2' is not a whole number from 0 to 999999"
  retry=$2
}

# set_up TARGET…: builds what all pipelines need, and these targets of ninja. Tests set FLOWCACHE_READY, which
# means that everything is built.
set_up() {
  if [[ -z ${FLOWCACHE_READY:-} ]]; then
    flowcache_setup gst-plugin/libgstflowcache.so libflowcache "$@"
  fi
}

# print_pipeline WORD…: prints a line that can be pasted into a shell.
print_pipeline() {
  local word
  printf 'gst-launch-1.0 -e'
  for word in "$@"; do
    if [[ $word =~ ^([a-z-]+=)?\"[^\"\$\`\\!]*\"$ || $word =~ ^[a-zA-Z0-9_./:=,!-]+$ ]]; then
      printf ' %s' "$word"
    else
      printf ' %q' "$word"
    fi
  done
  printf '\n'
}

# run_pipeline WHAT WORD…: prints the pipeline, runs it unless --dry-run is given, and prints a message if it
# fails. A signal to the script ends the pipeline in order, so that files are complete. setsid keeps the
# terminal's own signal away from gst-launch-1.0, which would end at once after a second one. setpriv stops it
# if the script is killed.
run_pipeline() {
  local what=$1 log status=0 child stopping=0 tee_fd tee_pid
  shift
  print_pipeline "$@"
  if [[ $dry_run -eq 1 ]]; then return; fi
  log=$(mktemp)
  exec {tee_fd}> >(tee -i "$log" >&2)
  tee_pid=$!
  setpriv --pdeathsig INT setsid gst-launch-1.0 -e "$@" 2>&"$tee_fd" &
  child=$!
  exec {tee_fd}>&-
  trap 'stopping=1; kill -INT "$child" 2>/dev/null || true' INT TERM HUP
  wait "$child" || status=$?
  if [[ $stopping -eq 1 && $status -gt 128 ]]; then # the wait was cut short
    status=0
    wait "$child" || status=$?
  fi
  wait "$tee_pid" || true
  if [[ $status -ne 0 ]]; then
    say ""
    say "error: $what: $(grep -m 1 -oP '^ERROR: from element \S+: \K.*' "$log" || echo "the pipeline ended with status $status")"
  fi
  rm -f "$log"
  return "$status"
}

# send_pipeline WHAT WORD…: the words are an output with a sink named "sink", in which @video and @audio are
# the tracks of the generator. flowcache-send (apps/send/main.cpp) runs generator and output as two pipelines,
# so that the output can be made again.
send_pipeline() {
  local what=$1 word whole=() output=() generator=()
  local video_chain=("${source[@]}" ! "${live_queue[@]}" ! videoconvert ! "${encoder[@]}" ! h264parse config-interval=-1)
  shift
  for word in "$@"; do
    case $word in
      @video)
        whole+=("${video_chain[@]}" ! queue) output+=(appsrc name=video)
        generator+=("${video_chain[@]}" ! "video/x-h264,stream-format=byte-stream,alignment=au" ! appsink name=video)
        ;;
      @audio)
        whole+=("${sound[@]}" ! queue) output+=(appsrc name=audio)
        generator+=("${sound[@]}" ! appsink name=audio)
        ;;
      *) whole+=("$word") output+=("$word") ;;
    esac
  done
  print_pipeline "${whole[@]}"
  if [[ $dry_run -eq 1 ]]; then return; fi
  set_up apps/send/flowcache-send
  exec "$BUILD/apps/send/flowcache-send" "$what" "$retry" "${generator[*]}" "${output[*]}"
}
