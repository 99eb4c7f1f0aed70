#!/usr/bin/env bash
# Asks every zurau broker on this machine to stop: SIGTERM, or the signal that $SIGNAL names.
pids=$(ps axww -o pid=,args= | awk '$2 ~ /(^|\/)zurau$/ && $3 == "broker" { print $1 }')
if [ -z "$pids" ]; then
  echo "No kafka server to stop"
  exit 1
fi
# shellcheck disable=SC2086 # one argument a process
kill -s "${SIGNAL:-TERM}" $pids
