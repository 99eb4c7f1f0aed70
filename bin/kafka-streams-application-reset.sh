#!/usr/bin/env bash
# Takes a Streams application back to its begin: Apache's own class, from ZURAU_KAFKA_JARS.
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx512M}
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/kafka-run-class.sh" org.apache.kafka.tools.StreamsResetter "$@"
