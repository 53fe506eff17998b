#!/usr/bin/env bash
# Runs one test program for cargo, which names it and its package. The whole-system tests wait for others most of their
# time: more of them run side by side than the machine has processors.
set -uo pipefail

name=${1##*/}
if [[ ${CARGO_PKG_NAME:-}/${name%-*} == tests/it ]]; then
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))}
fi
exec "$@"
