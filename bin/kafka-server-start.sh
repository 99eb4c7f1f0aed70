#!/usr/bin/env bash
# Starts a broker on a properties file, in the foreground, or with -daemon in the background.
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] server.properties [--override property=value]*"
  exit 1
fi
extra_args=(-name kafkaServer)
if [ "$1" = -daemon ]; then
  extra_args=(-daemon "${extra_args[@]}")
  shift
fi
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/kafka-run-class.sh" "${extra_args[@]}" broker "$@"
