# The first process of the namespace: starts the services, then runs the tests or the command it was given.
# When it ends, the kernel ends everything else in here.
set -uo pipefail
exec 2>&7 7>&-

services=$(dirname "${BASH_SOURCE[0]}")
source "$services/phases.sh"
source "$services/broker.sh"
source "$services/newer_debian.sh"
source "$services/engine.sh"
dir=$LONGSHORE_TEST_DIR

main() {
    local mode=$1 brokers engines
    read -ra brokers <<<"$2"
    read -ra engines <<<"$3"
    shift 3
    phase "namespace" prepare_namespace || exit 1
    mkdir -p "$dir/bin" && export PATH=$dir/bin:$PATH
    phase "RabbitMQ" start_broker "${brokers[0]}" || exit 1
    phase "Docker Engine" start_engine "${engines[0]}" || exit 1
    phase "base image" make_base_image || exit 1
    export LONGSHORE_TEST_REGISTRY_BIN=$(command -v docker-registry)
    case $mode in
    test) run_on_each run_tests "$@" ;;
    soak) run_on_each soak "$@" ;;
    exec) "$@" ;;
    shell) "${SHELL:-bash}" ;;
    esac
}

# Everything on the first broker and engine. Without ARGS, on others only what has to do with them: the rest would
# learn nothing from a second run.
run_on_each() {
    local run=$1 of_broker=$1 of_engine=$1 other
    shift
    if [[ $run == run_tests ]] && ! (($#)); then
        of_broker=run_tests_that_need_a_broker of_engine=run_tests_that_need_an_engine
    fi
    tests_on_these "$run" "$@" || return
    for other in "${brokers[@]:1}"; do
        phase "RabbitMQ" change_broker "$other" && tests_on_these "$of_broker" "$@" || return
    done
    for other in "${engines[@]:1}"; do
        phase "Docker Engine" change_engine "$other" && tests_on_these "$of_engine" "$@" || return
    done
}

tests_on_these() {
    phase "tests on RabbitMQ $broker_version and Docker Engine $engine_version" "$@"
}

change_broker() {
    stop_broker && start_broker "$1"
}

change_engine() {
    stop_engine && start_engine "$1" && make_base_image
}

# An empty /run hides the sockets of the machine's own engine, containerd and systemd, which a second engine
# would otherwise take into use; /etc/docker keeps its key away from theirs.
prepare_namespace() {
    ip link set lo up || return 1
    mount -t tmpfs tmpfs /run && mkdir -p /run/lock || return 1
    mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker || return 1
    mount_control_groups || return 1
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    # Held open outside as the sign of a living run; the services need not keep it.
    exec 9>&-
}

mount_control_groups() {
    if [[ ! -e /sys/fs/cgroup/cgroup.controllers && ! -d /sys/fs/cgroup/memory ]]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
    fi
}

run_programs() {
    cargo test --config "target.'cfg(unix)'.runner = ['$services/test_program.sh']" --offline "$@"
}

# --workspace would make cargo pass over a -p.
run_tests() {
    local whole=(--workspace) argument
    for argument in "$@"; do
        case $argument in
        --) break ;;
        -p* | --package*) whole=() ;;
        esac
    done
    # Whatever fails, the rest is run: one run tells all that is wrong.
    run_programs --no-fail-fast "${whole[@]}" "$@"
}

# Known by their names: the test programs `amqp…`, the whole-system tests with `broker` in their path, and of the fault
# tests those in which the broker's part differs most: returns, its limit of deliveries, and how it finds a connection dead.
run_tests_that_need_a_broker() {
    run_programs --workspace --test 'amqp*' && run_programs --workspace --test it broker &&
        run_programs --workspace --test faults -- broker processes network
}

# The worker's test programs of the real swarm.
run_tests_that_need_an_engine() {
    run_programs --workspace --test swarm --test truth --test steps
}

# The scenarios that can be as long as one likes; each says its account when it ends. A NAME may be that of a whole
# test program.
soak() {
    local programs=() names=() name
    for name in "$@"; do
        case $name in
        faults | truth) programs+=(--test "$name") ;;
        *) names+=("$name") ;;
        esac
    done
    ((${#programs[@]})) || programs=(--test faults --test truth)
    LONGSHORE_TEST_SOAK=1 run_programs --workspace --no-fail-fast "${programs[@]}" -- "${names[@]}"
}

main "$@"
