# One RabbitMQ for all tests, every file it writes in the run's directory.

# start_broker 3|4: the installed one, or the newer one beside it. One runs at a time, on the same ports.
start_broker() {
    local home=$dir/rabbitmq-$1 log=$dir/logs/rabbitmq-$1.log command=env
    if [[ $1 == 4 ]]; then command=$(newer_command rabbitmq); fi
    mkdir -p "$home/log" && write_broker_configuration "$home"
    export_broker_environment "$home"
    make_broker_commands "$home" "$command"
    rabbitmq-server >"$log" 2>&1 </dev/null &
    broker=$!
    wait_until 180 "RabbitMQ" "$broker" "$log" broker_answers || return 1
    export LONGSHORE_TEST_AMQP=amqp://guest:guest@127.0.0.1:5672/%2f
    broker_version=$(grep -om 1 'Starting RabbitMQ [^ ]*' "$log")
    broker_version=${broker_version##* }
}

# Nobody needs its data any more.
stop_broker() {
    kill -KILL "$(cat "$RABBITMQ_PID_FILE")" && wait "$broker"
    wait_until 20 "RabbitMQ's end" $$ "$dir/logs/unshare.log" broker_is_gone
}

broker_is_gone() {
    ! broker_answers
}

write_broker_configuration() {
    cat >"$1/rabbitmq.conf" <<'CONF'
listeners.tcp.1 = 127.0.0.1:5672
log.console = true
log.console.level = info
log.file = false
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 100MB
CONF
    echo '[].' >"$1/enabled_plugins"
    : >"$1/rabbitmq-env.conf"
}

export_broker_environment() {
    export RABBITMQ_NODENAME=longshore@localhost RABBITMQ_NODE_PORT=5672 RABBITMQ_DIST_PORT=25672
    export RABBITMQ_CONF_ENV_FILE=$1/rabbitmq-env.conf RABBITMQ_CONFIG_FILE=$1/rabbitmq.conf
    export RABBITMQ_ADVANCED_CONFIG_FILE=$1/advanced.config RABBITMQ_ENABLED_PLUGINS_FILE=$1/enabled_plugins
    export RABBITMQ_MNESIA_BASE=$1/mnesia RABBITMQ_LOG_BASE=$1/log RABBITMQ_GENERATED_CONFIG_DIR=$1/config
    export RABBITMQ_PID_FILE=$1/pid ERL_CRASH_DUMP=$1/crash.dump
    # Two schedulers that sleep when idle: the machine belongs to the tests.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
}

# The distribution's own scripts go to another user and its cookie; these keep to a HOME of their own, so
# that a test's rabbitmqctl finds this broker and no other.
make_broker_commands() {
    local name
    for name in rabbitmq-server rabbitmqctl; do
        printf '#!/bin/sh\nexec %s HOME=%s /usr/lib/rabbitmq/bin/%s "$@"\n' "$2" "$1" "$name" >"$dir/bin/$name"
        chmod +x "$dir/bin/$name"
    done
}

# The listeners are the last step of the start; a broker that is up answers the protocol header.
broker_answers() {
    local first
    exec 3<>/dev/tcp/127.0.0.1/5672 || return 1
    printf 'AMQP\0\0\x09\x01' >&3
    first=$(timeout 2 head -c 1 <&3 | od -An -tu1)
    exec 3>&-
    [[ ${first// /} == 1 ]]
}
