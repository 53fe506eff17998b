#!/usr/bin/env bash
# Runs one test program for cargo, which names it and its package. Some wait for others most of their time: more of
# their tests run side by side than the machine has processors.
set -uo pipefail

name=${1##*/}
program=${CARGO_PKG_NAME:-}/${name%-*}

# Of a run in two halves, each runs its own. These two take as long as all the others together.
case $program in
tests/it | tests/faults) half=long ;;
*) half=rest ;;
esac
if [[ ${LONGSHORE_TEST_HALF:-$half} != "$half" ]]; then
    echo "$program: in the other half of this run"
    exit 0
fi

case $program in
# Half of the machine is kept for the brokers and the engine that they set to work.
tests/it) side_by_side=2 ;;
# The engine does the work, and takes its time between two looks at a service.
worker/swarm) side_by_side=2 ;;
# One process that sleeps.
worker/life | worker/portainer | worker/kubernetes | worker/rancher) side_by_side=4 ;;
*) side_by_side=1 ;;
esac
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((side_by_side * $(nproc)))}
exec "$@"
