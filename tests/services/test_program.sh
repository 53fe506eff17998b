#!/usr/bin/env bash
# Runs one test program for cargo, which names it and its package. Some wait for others most of their time: more of
# their tests run side by side than the machine has processors.
set -uo pipefail

name=${1##*/}
case ${CARGO_PKG_NAME:-}/${name%-*} in
tests/it | worker/life) export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))} ;;
esac
exec "$@"
