#!/usr/bin/env bash
# Copies topics between clusters the way of before MirrorMaker 2: Apache's own class, from ZURAU_KAFKA_JARS.
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/kafka-run-class.sh" kafka.tools.MirrorMaker "$@"
