#!/bin/bash
# Runs Debian's wg-quick and wg over files: reads "strip FOLDER" and "up FOLDER", answers each with an exit status.
# The folder holds NAME.conf. `up` leaves there what was done; its namespace goes with it.
# Environment: NAME, the interface; STUBS, a folder with wg-quick and what it calls (stubs.sh).
set -u
export WG_ENDPOINT_RESOLUTION_RETRIES=0

up() {
  unshare --net bash -c '
    ip link set lo up
    "$STUBS/wg-quick" up "./$NAME.conf" 2>up.log || exit 1
    ip -o address show dev "$NAME" >addresses
    ip -o link show dev "$NAME" >link
    ip -o route show table all dev "$NAME" >routes
    before=$(stat -c %i "$NAME.conf")
    "$STUBS/wg-quick" down "./$NAME.conf" 2>down.log || exit 2
    [ "$before" = "$(stat -c %i "$NAME.conf")" ] || touch saved
  ' >/dev/null
}

strip() (
  set -o pipefail
  wg-quick strip "./$NAME.conf" 2>/dev/null | wg setconf "$NAME" /dev/stdin 2>/dev/null
)

while read -r verb folder; do
  (cd "$folder" && "$verb")
  echo $?
done
