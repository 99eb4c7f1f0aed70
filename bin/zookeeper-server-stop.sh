#!/usr/bin/env bash
# Asks the development ZooKeepers of this installation to stop: SIGTERM, or the signal that $SIGNAL names.
#
# Kafka's script takes every ZooKeeper on the machine. This one takes those that run the binary that kafka-run-class.sh would
# start, as kafka-server-stop.sh does.
set -u
base_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
if [ -n "${ZURAU_BIN:-}" ]; then
  binary=$ZURAU_BIN
elif [ -f "$base_dir/Cargo.toml" ]; then
  binary=${CARGO_TARGET_DIR:-$base_dir/target}/release/zurau
else
  binary=$(command -v zurau)
fi
binary=$(readlink -f "$binary")

pids=()
for pid in $(ps axww -o pid=,args= | awk '$2 ~ /(^|\/)zurau$/ && $3 == "zookeeper" { print $1 }'); do
  running=$(readlink "/proc/$pid/exe") || continue
  [ "${running% (deleted)}" = "$binary" ] || continue
  pids+=("$pid")
done
if [ ${#pids[@]} -eq 0 ]; then
  echo "No zookeeper server to stop"
  exit 1
fi
kill -s "${SIGNAL:-TERM}" "${pids[@]}"
