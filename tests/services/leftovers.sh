# What outlives the namespace: the directory, and the engine's control groups. Its mounts, interfaces and
# processes are gone with it.

remove_leftovers_of() {
    remove_control_groups "$(basename "$1")"
    rm -rf --one-file-system "$1"
    rmdir --ignore-fail-on-non-empty /etc/docker 2>/dev/null
    return 0
}

remove_control_groups() {
    local tries
    for tries in {1..50}; do
        find /sys/fs/cgroup -depth -type d -path "*/$1*" -exec rmdir {} + 2>/dev/null
        [[ -n $(find /sys/fs/cgroup -type d -name "$1" -print -quit 2>/dev/null) ]] || return 0
        sleep 0.1
    done
    say "control groups named $1 could not be removed" >&2
}

# A run that was killed outright could not clean up. Its lock is free; that of a living run is not.
remove_directories_of_dead_runs() {
    local old
    for old in "${TMPDIR:-/tmp}"/longshore-tests.??????; do
        [[ -e $old/lock && -z ${LONGSHORE_TEST_KEEP:-} ]] || continue
        if flock -n "$old/lock" true; then remove_leftovers_of "$old"; fi
    done
}
