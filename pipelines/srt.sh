#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/srt.sh [OPTIONS] srt://[HOST]:PORT

Sends generated video as MPEG-TS over SRT. With a HOST it calls that receiver; without one it listens on PORT of this
machine and receivers may come and go. Watch it with
  gst-launch-1.0 srtsrc uri=srt://127.0.0.1:PORT ! tsdemux ! decodebin ! autovideosink

  --latency MS   how long SRT may take to repair losses (default 125)
  --bind ADDR    where to listen (default 127.0.0.1; 0.0.0.0: every interface, open to all who reach it, so choose a
                 passphrase as well)
  --passphrase P ten characters or more: encrypts; the receiver needs it too
TEXT
  retry_options
  common_options
}

latency=125 bind=127.0.0.1 encryption=()
own_option() {
  case $1 in
    --latency)
      [[ $2 =~ ^[0-9]{1,5}$ ]] || die "--latency '$2' is not a whole number of milliseconds from 0 to 99999"
      latency=$2
      ;;
    --bind)
      [[ $2 =~ ^[0-9a-zA-Z.:-]+$ ]] || die "--bind '$2' is not an address"
      bind=$2
      ;;
    --passphrase)
      [[ ${#2} -ge 10 && ${#2} -le 79 ]] || die "--passphrase has ${#2} characters: SRT wants 10 to 79"
      encryption=("passphrase=$(quoted "$2")" pbkeylen=16)
      ;;
    *) retry_option "$@" ;;
  esac
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one address is wanted, not ${#arguments[@]}" "see $0 --help"
url=${arguments[0]}
[[ $url =~ ^srt://([^:/?]*):([0-9]{1,5})$ && ${BASH_REMATCH[2]} -ge 1 && ${BASH_REMATCH[2]} -le 65535 ]] ||
  die "$url is not srt://[HOST]:PORT with a port from 1 to 65535"
host=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
if [[ -n $host ]]; then
  # auto-reconnect=false: a receiver that is gone is an error, and --retry decides.
  sink=(srtsink name=sink "uri=srt://$host:$port" mode=caller auto-reconnect=false)
else
  # wait-for-connection=false: the stream goes on whether or not somebody listens.
  # The mode is in the address: set as a property, it would leave the port a random one.
  sink=(srtsink name=sink "uri=srt://$bind:$port?mode=listener" wait-for-connection=false)
fi
#   key frames a second apart   a receiver that joins sees a picture within a second
#   alignment=7                 seven TS packets fill one datagram
set_encoder 2000 16
send_pipeline "$url" mpegtsmux name=mux alignment=7 ! "${sink[@]}" "latency=$latency" "${encryption[@]}" \
  @video ! h264parse ! mux.
