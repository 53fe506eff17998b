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

# wait_until SECONDS WHAT PID LOG CONDITION...: on failure, or when process PID has ended, the end of LOG is shown.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2 pid=$3 log=$4
    shift 4
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
            say "$what did not come up; the end of its log:" >&2
            tail -n 40 "$log" >&2
            return 1
        fi
        sleep 0.1
    done
}
