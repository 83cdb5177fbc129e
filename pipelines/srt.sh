#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"

usage() {
  cat <<'TEXT'
pipelines/srt.sh [OPTIONS] srt://[HOST]:PORT[?streamid=NAME]

Sends generated video as MPEG-TS over SRT. With a HOST it calls that receiver; without one it listens on PORT of this
machine and receivers may come and go. Watch it with
  gst-launch-1.0 srtsrc uri=srt://127.0.0.1:PORT ! tsdemux ! decodebin ! autovideosink
An address of IPv6 stands in brackets: srt://[::1]:PORT. What a server wants to know of a caller stands behind a question mark,
for example ?streamid=publish:show for MediaMTX; # and & within it as %23 and %26.

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
    --passphrase)
      [[ ${#2} -ge 10 && ${#2} -le 79 ]] || die "--passphrase has ${#2} characters: SRT wants 10 to 79"
      encryption=("passphrase=$(quoted "$2")" pbkeylen=16)
      ;;
    *) bind_option "$@" || retry_option "$@" ;;
  esac
}

parse_arguments "$@"
[[ ${#arguments[@]} -eq 1 ]] || die "exactly one address is wanted, not ${#arguments[@]}" "see $0 --help"
url=${arguments[0]}
query=""
[[ $url != *\?* ]] || query=${url#*\?}
rest=${url%%\?*} rest=${rest#srt://}
if [[ $url != srt://* || $query == *[[:space:]\#]* ]] || ! read_address "${rest%/}"; then
  die "$url is not srt://[HOST]:PORT[?NAME=VALUE] with a port from 1 to 65535"
fi
for name in mode latency passphrase pbkeylen; do
  [[ "&$query" != *"&$name="* ]] ||
    die "$url has $name= in it: with a HOST it calls, without one it listens; --latency and --passphrase set the rest"
done
if [[ -n $host ]]; then
  # auto-reconnect=false: if the receiver disappears, that is an error, and --retry decides what happens.
  sink=(srtsink name=sink "uri=$(quoted "srt://$(in_brackets "$host"):$port?mode=caller${query:+&$query}")" auto-reconnect=false)
else
  # wait-for-connection=false: the stream runs even if nobody listens.
  # The mode is part of the address, because with the property the port would be a random one.
  sink=(srtsink name=sink "uri=$(quoted "srt://$(in_brackets "$bind"):$port?mode=listener${query:+&$query}")" wait-for-connection=false)
fi
#   key frames a second apart   a receiver that joins sees a picture within a second
#   alignment=7                 seven TS packets fill one datagram
prepare
set_encoder 2000 1
send_pipeline "$url" mpegtsmux name=mux alignment=7 ! "${sink[@]}" "latency=$latency" "${encryption[@]}" \
  @video ! h264parse ! mux.
