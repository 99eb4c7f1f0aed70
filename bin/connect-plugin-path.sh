#!/usr/bin/env bash
# Lists Connect's plugins and completes their manifests: Apache's own class, from ZURAU_KAFKA_JARS.
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xms256M -Xmx2G}
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/kafka-run-class.sh" org.apache.kafka.tools.ConnectPluginPath "$@"
