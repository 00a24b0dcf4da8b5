#!/bin/sh
# A login server in another language, that ends its sessions when the machine under it is forked: by the counter page of
# `wireonce vmgenid serve`, which any program can read. No part of wireonce is in here.
# What to see: a token from before the fork is worth nothing after it, and one that was drawn in front of a snapshot is
# not given out behind it: the page is looked at once more before an answer leaves.
# Run: login-server.sh FOLDER [PAGE [RANDOM]], under inetd, or socat TCP-LISTEN:7777,fork,reuseaddr EXEC:'...'
#   login USER PASSWORD    token TOKEN | no | later (no randomness of our own yet) | again (forked just now)
#   whoami TOKEN           USER | no | again
set -eu
umask 077
folder=$1
page=${2:-/run/wireonce/vmgenid}
random=${3:-/dev/urandom}

# Two 32-bit words: how often this machine was forked, and after which of these forks the kernel has reseeded.
look() {
  words=$(od -A n -t u4 -N 8 "$page") || return
  # shellcheck disable=SC2086
  set -- $words
  [ $# -eq 2 ] || return
  counter=$1 reseeded=$2
}

# Sessions lie in a folder that bears the counter: a fork makes all of them unfindable at once.
forget_the_old() {
  for old in "$folder"/*/; do
    [ "$old" = "$folder/$counter/" ] || rm -rf "$old"
  done
  mkdir -p "$folder/$counter"
}

log_in() {
  # A real server would keep salted hashes.
  [ "$1 $2" = 'alice wonderland' ] || { answer=no; return; }
  # Until the kernel has reseeded, our siblings may draw what we draw.
  [ "$counter" = "$reseeded" ] || { answer=later; return; }
  token=$(od -A n -t x1 -N 32 "$random" | tr -d ' \n')
  printf '%s\n' "$1" > "$folder/$counter/$token"
  answer="token $token"
}

who_is() {
  answer=no
  case $1 in
    '' | *[!0-9a-f]*) ;;
    *) [ ! -f "$folder/$counter/$1" ] || read -r answer < "$folder/$counter/$1" ;;
  esac
}

while read -r verb one two; do
  answer='cannot tell whether this machine was forked'
  if look; then
    before=$counter
    forget_the_old
    case $verb in
      login) log_in "$one" "$two" ;;
      whoami) who_is "$one" ;;
      *) answer='login or whoami' ;;
    esac
    look && [ "$counter" = "$before" ] || answer=again
  fi
  printf '%s\n' "$answer"
done
