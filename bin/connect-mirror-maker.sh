#!/usr/bin/env bash
# Starts MirrorMaker 2, which copies topics and offsets between clusters: Apache's own class, from ZURAU_KAFKA_JARS.
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] mm2.properties"
  exit 1
fi
base_dir=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
export KAFKA_LOG4J_OPTS=${KAFKA_LOG4J_OPTS:--Dlog4j.configuration=file:$base_dir/config/connect-log4j.properties}
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xms256M -Xmx2G}
extra_args=(-name mirrorMaker)
if [ "$1" = -daemon ]; then
  extra_args=(-daemon "${extra_args[@]}")
  shift
fi
exec "$base_dir/bin/kafka-run-class.sh" "${extra_args[@]}" org.apache.kafka.connect.mirror.MirrorMaker "$@"
