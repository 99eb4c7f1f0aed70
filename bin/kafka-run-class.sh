#!/usr/bin/env bash
# Runs a sub-command of the zurau binary, or a Java class of Apache Kafka; every other script here goes through it.
#
#   kafka-run-class.sh [-name NAME] [-daemon] SUB-COMMAND [ARGUMENT]...
#   kafka-run-class.sh [-name NAME] [-daemon] PACKAGE.CLASS [ARGUMENT]...
#
# -daemon runs it in the background, away from the terminal, with its output in $LOG_DIR/NAME.out (LOG_DIR: logs/ of the tree).
#
# The binary is $ZURAU_BIN, else the release build of this tree (built when it is not there), else the zurau on PATH.
#
# Connect, MirrorMaker and Streams are Java and run unchanged: a name with a dot in it is a class, taken from the jars in the
# directories that ZURAU_KAFKA_JARS names (separated by colons; libs/ of a Kafka distribution is one) and from CLASSPATH.
# JAVA_HOME, KAFKA_HEAP_OPTS, KAFKA_JVM_PERFORMANCE_OPTS, KAFKA_JMX_OPTS, JMX_PORT, KAFKA_LOG4J_OPTS and KAFKA_OPTS mean
# what they mean to Kafka's script of this name.
set -u
# -loggc, which scripts of Kafka's own pass, asks for a log of the JVM's collector: there is none here.
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
  echo "USAGE: $0 [-daemon] [-name servicename] sub-command|classname [opts]" >&2
  exit 1
fi

base_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
log_dir=${LOG_DIR:-$base_dir/logs}

# jars: the class path of a Java class. Connectors of files stay out of it, as in Kafka: Connect finds them by plugin.path.
jars() {
  local dir dirs jar path=${CLASSPATH:-}
  IFS=: read -ra dirs <<<"${ZURAU_KAFKA_JARS:-}"
  for dir in "${dirs[@]}"; do
    for jar in "$dir"/*.jar; do
      case ${jar##*/} in
        \*.jar) echo "$0: no jars in $dir, which ZURAU_KAFKA_JARS names" >&2; return 1 ;;
        connect-file-*.jar | *-test.jar | *-test-sources.jar | *-src.jar | *-scaladoc.jar | *-javadoc.jar) ;;
        *) path=${path:+$path:}$jar ;;
      esac
    done
  done
  if [ -z "$path" ]; then
    {
      echo "$0: $1 is a Java class of Apache Kafka, and there are no jars to take it from."
      echo "Set ZURAU_KAFKA_JARS to the directory of Kafka's jars, for example to libs/ of a Kafka distribution (3.9.1 is"
      echo "what was tested), or set CLASSPATH."
    } >&2
    return 1
  fi
  echo "$path"
}

case $1 in
  *.*)
    class_path=$(jars "$1") || exit 1
    java=${JAVA_HOME:+$JAVA_HOME/bin/}java
    command -v "$java" >/dev/null || { echo "$0: no $java: $1 needs a Java runtime of version 11 or newer" >&2; exit 1; }
    if [ -n "${JMX_PORT:-}" ]; then
      jmx=${KAFKA_JMX_OPTS:--Dcom.sun.management.jmxremote=true -Dcom.sun.management.jmxremote.authenticate=false -Dcom.sun.management.jmxremote.ssl=false}
      KAFKA_JMX_OPTS="$jmx -Dcom.sun.management.jmxremote.port=$JMX_PORT -Dcom.sun.management.jmxremote.rmi.port=$JMX_PORT"
    fi
    # Each of these holds several words.
    # shellcheck disable=SC2206
    options=(
      ${KAFKA_HEAP_OPTS:--Xmx256M} ${KAFKA_JVM_PERFORMANCE_OPTS:--server -Djava.awt.headless=true} ${KAFKA_JMX_OPTS:-}
      "-Dkafka.logs.dir=$log_dir" ${KAFKA_LOG4J_OPTS:-"-Dlog4j.configuration=file:$base_dir/config/tools-log4j.properties"}
      ${KAFKA_OPTS:-}
    )
    mkdir -p "$log_dir"
    command=("$java" "${options[@]}" -cp "$class_path")
    ;;
  *)
    if [ -n "${ZURAU_BIN:-}" ]; then
      command=("$ZURAU_BIN")
    elif [ -f "$base_dir/Cargo.toml" ]; then
      command=("${CARGO_TARGET_DIR:-$base_dir/target}/release/zurau")
      if [ ! -x "${command[0]}" ]; then
        cargo build --quiet --release --bin zurau --manifest-path "$base_dir/Cargo.toml" >&2 || exit 1
      fi
    else
      command=("$(command -v zurau)") || { echo "$0: no zurau binary: set ZURAU_BIN, or put zurau on PATH" >&2; exit 1; }
    fi
    ;;
esac

if [ -n "$daemon" ]; then
  mkdir -p "$log_dir"
  nohup "${command[@]}" "$@" > "$log_dir/$name.out" 2>&1 < /dev/null &
else
  exec "${command[@]}" "$@"
fi
