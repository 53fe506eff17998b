# What the run says of itself: one line for each phase and how long it took.

say() {
    echo "tests/run: $*"
}

phase() {
    local name=$1 start=$EPOCHREALTIME
    shift
    "$@"
    local status=$?
    if ((status == 0)); then
        say "$name: $(seconds_since "$start") s"
    else
        say "$name: failed after $(seconds_since "$start") s" >&2
    fi
    return $status
}

seconds_since() {
    local micros=$((${EPOCHREALTIME/./} - ${1/./}))
    printf '%d.%d' $((micros / 1000000)) $((micros / 100000 % 10))
}

# wait_until SECONDS WHAT LOG CONDITION...: on failure the end of LOG is shown.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2 log=$3
    shift 3
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            say "$what did not come up in time; the end of its log:" >&2
            tail -n 40 "$log" >&2
            return 1
        fi
        sleep 0.1
    done
}
