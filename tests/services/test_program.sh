#!/usr/bin/env bash
# Runs one test program for cargo, which names it and its package. Some wait for others most of their time: more of
# their tests run side by side than the machine has processors.
set -uo pipefail

# More than these in one program are no accident.
most_looked_at_twice=3

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

main() {
    local said copy copier status failed
    said=$(mktemp "${LONGSHORE_TEST_DIR:-/tmp}/said.XXXXXX") || exit 1
    # No pipeline: it would wait for whatever a test left behind with the same output.
    exec {copy}> >(exec tee "$said")
    copier=$!
    "$@" 1>&"$copy" 2>&1 {copy}>&-
    status=$?
    exec {copy}>&-
    ended_within 5 "$copier"
    mapfile -t failed < <(failed_tests <"$said")
    rm -f "$said"
    if ((status == 0 || ${#failed[@]} == 0 || ${#failed[@]} > most_looked_at_twice)); then exit "$status"; fi
    look_again "$1" "${failed[@]}"
}

# Of a whole run, where many other programs are at work, up to three of a program's tests that failed are run once more by
# themselves. Each is named at the end of the run: that a test passes the second time is a finding, not its absence.
look_again() {
    local file=$1 name
    shift
    echo "tests/run: a second look at $program, by itself: $*"
    RUST_TEST_THREADS=1 "$file" --exact "$@" || exit
    for name in "$@"; do echo "$program: $name"; done >>"$LONGSHORE_TEST_SECOND_LOOKS"
}

ended_within() {
    local deadline=$((SECONDS + $1))
    while kill -0 "$2" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.02; done
}

# The names at the end of what a test program said; none where it did not come to its end.
failed_tests() {
    awk '/^failures:$/ { n = 0; next } /^    [^ ]+$/ { name[++n] = $1 } /^test result: FAILED/ { whole = 1 }
        END { if (whole) for (i = 1; i <= n; i++) print name[i] }'
}

# Without a place to write them to, as where tests are chosen by name, every failure is one.
if [[ -z ${LONGSHORE_TEST_SECOND_LOOKS:-} ]]; then exec "$@"; fi
main "$@"
