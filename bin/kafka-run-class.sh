#!/usr/bin/env bash
# Runs a sub-command of the zurau binary; every other script here goes through it.
#
#   kafka-run-class.sh [-name NAME] [-daemon] SUB-COMMAND [ARGUMENT]...
#
# The binary is $ZURAU_BIN, else the release build of this tree (built when it is not there), else the zurau on PATH.
# -daemon runs it in the background, away from the terminal, with its output in $LOG_DIR/NAME.out (LOG_DIR: logs/ of the tree).
set -u
# -loggc, which scripts of Kafka's own pass, has no meaning without a JVM.
name=zurau daemon=
while [ $# -gt 0 ]; do
  case $1 in
    -name) name=$2; shift 2 ;;
    -daemon) daemon=yes; shift ;;
    -loggc) shift ;;
    *) break ;;
  esac
done
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] [-name servicename] sub-command [opts]" >&2
  exit 1
fi

base_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
if [ -n "${ZURAU_BIN:-}" ]; then
  zurau=$ZURAU_BIN
elif [ -f "$base_dir/Cargo.toml" ]; then
  zurau=${CARGO_TARGET_DIR:-$base_dir/target}/release/zurau
  if [ ! -x "$zurau" ]; then
    cargo build --quiet --release --bin zurau --manifest-path "$base_dir/Cargo.toml" >&2 || exit 1
  fi
else
  zurau=$(command -v zurau) || { echo "$0: no zurau binary: set ZURAU_BIN, or put zurau on PATH" >&2; exit 1; }
fi

if [ -n "$daemon" ]; then
  log_dir=${LOG_DIR:-$base_dir/logs}
  mkdir -p "$log_dir"
  nohup "$zurau" "$@" > "$log_dir/$name.out" 2>&1 < /dev/null &
else
  exec "$zurau" "$@"
fi
