#!/usr/bin/env bash
# Asks the zurau brokers of this installation to stop: SIGTERM, or the signal that $SIGNAL names.
#
#   kafka-server-stop.sh [--node-id=ID] [--process-role=ROLE]
#
# --node-id picks the broker whose broker.id (or node.id) that is; --process-role=broker is every broker, and no other role
# is found. Given both, the id decides, as with Kafka's script.
#
# Kafka's script takes every broker on the machine. This one takes those that run the binary that kafka-run-class.sh would
# start, so that neither a broker of another installation nor one inside a container is stopped. Two clusters from one
# installation are told apart by --node-id. After an upgrade in place the old binary's brokers are still found.
set -u
role='' id=''
for argument in "$@"; do
  case $argument in
    --process-role=*) role=${argument#*=} ;;
    --node-id=*) id=${argument#*=} ;;
  esac
done
if [ -n "$role" ] && [ -n "$id" ]; then
  echo "When both node-id and process-role are provided, the value for node-id will take precedence"
fi

base_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
if [ -n "${ZURAU_BIN:-}" ]; then
  binary=$ZURAU_BIN
elif [ -f "$base_dir/Cargo.toml" ]; then
  binary=${CARGO_TARGET_DIR:-$base_dir/target}/release/zurau
else
  binary=$(command -v zurau)
fi
binary=$(readlink -f "$binary")

# value_of FILE KEYS: the last value that the properties file gives to a key of this pattern.
value_of() {
  local file=$1 keys=$2
  sed -nE "s/^[[:space:]]*($keys)[[:space:]]*[=:[:space:]][[:space:]]*([^[:space:]]*).*/\2/p" "$file" 2>/dev/null | tail -n 1
}

# id_of PID: the broker's id, which an override on its command line sets, or its properties file.
id_of() {
  local pid=$1 word file='' override='' takes_value=''
  local -a words
  mapfile -d '' -t words <"/proc/$pid/cmdline"
  for word in "${words[@]:2}"; do
    if [ -n "$takes_value" ]; then
      takes_value=''
      word=--override=$word
    fi
    case $word in
      --override) takes_value=yes ;;
      --override=broker.id=* | --override=node.id=*) override=${word##*=} ;;
      -*) ;;
      *) file=$word ;;
    esac
  done
  if [ -n "$override" ]; then
    echo "$override"
    return
  fi
  # A relative path is relative to where the broker was started.
  case $file in
    /*) ;;
    *) file=$(readlink "/proc/$pid/cwd")/$file ;;
  esac
  value_of "$file" 'broker\.id|node\.id'
}

pids=()
for pid in $(ps axww -o pid=,args= | awk '$2 ~ /(^|\/)zurau$/ && $3 == "broker" { print $1 }'); do
  running=$(readlink "/proc/$pid/exe") || continue
  [ "${running% (deleted)}" = "$binary" ] || continue
  if [ -n "$id" ]; then
    [ "$(id_of "$pid")" = "$id" ] || continue
  elif [ -n "$role" ] && [ "$role" != broker ]; then
    continue
  fi
  pids+=("$pid")
done
if [ ${#pids[@]} -eq 0 ]; then
  echo "No kafka server to stop"
  exit 1
fi
kill -s "${SIGNAL:-TERM}" "${pids[@]}"
