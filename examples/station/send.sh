#!/bin/sh
# Sends pictures to a station and prints its answers, one line of JSON each:
#     MODEL=part ./send.sh A-17.png A-18.png
# STATION says where it is. TOKEN is needed where tokens are demanded; curl reads it from its
# standard input, so that no list of processes shows it. A busy station says when to come again,
# and curl does.
set -eu
: "${STATION:=http://127.0.0.1:8000}"
: "${MODEL:?say which model: MODEL=NAME; $STATION/v1/models lists them}"
for picture in "$@"; do
  name=${picture##*/}
  printf '%s\n' "${TOKEN:+Authorization: Bearer $TOKEN}" |
    curl --silent --show-error --fail-with-body --retry 5 --max-time 120 --header @- \
      --form "files=@\"$picture\"" --form-string "part_id=${name%.*}" \
      "$STATION/v1/models/$MODEL/inspect"
  echo
done
