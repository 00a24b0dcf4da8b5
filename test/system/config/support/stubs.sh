#!/bin/bash
# Stands in for what wg-quick calls, under each one's name. `ip` is the real one, but that a WireGuard interface is a
# plain TUN device, and that nothing is known of the way to an endpoint; resolvconf writes down what it is told.
set -eu
case "${0##*/} $*" in
  "ip link add "*" type wireguard")
    "$IP" tuntap add "$3" mode tun
    "$IP" link set dev "$3" addrgenmode none
    ;;
  "ip route get "*) exit 1 ;;
  "ip "*"route add "*)
    echo "$*" >>route-commands
    exec "$IP" "$@"
    ;;
  "ip "*) exec "$IP" "$@" ;;
  "resolvconf -a "*) cat >resolvconf ;;
  "resolvconf -d "*) ;;
esac
