# A Docker Engine of the run's own, in swarm mode, and an image to make others from.

# start_engine 20|26: the installed one, or the newer one in its place. One runs at a time.
start_engine() {
    local home=$dir/docker-$1 log=$dir/logs/dockerd-$1.log
    mkdir -p "$home/config" && choose_iptables || return 1
    if [[ $1 == 26 ]]; then make_newer_engine_command || return 1; fi
    export LONGSHORE_TEST_DOCKER=unix://$home/docker.sock
    export DOCKER_HOST=$LONGSHORE_TEST_DOCKER DOCKER_CONFIG=$home/config
    echo '{}' >"$home/daemon.json"
    # cgroupfs: systemd, if there is one, knows nothing of the processes in here.
    dockerd --config-file "$home/daemon.json" --host "$LONGSHORE_TEST_DOCKER" \
        --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/docker.pid" \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$(basename "$dir")" \
        --insecure-registry 127.0.0.0/8 >"$log" 2>&1 </dev/null &
    engine=$!
    wait_until 60 "Docker Engine" "$engine" "$log" docker version || return 1
    engine_version=$(docker version --format '{{.Server.Version}}')
    docker swarm init --advertise-addr 127.0.0.1 >>"$log" 2>&1 || { tail -n 40 "$log" >&2 && return 1; }
    wait_until 30 "the swarm" "$engine" "$log" swarm_is_ready
}

# Services end with their swarm; an engine that is told to end kills what is left.
stop_engine() {
    docker swarm leave --force >>"$dir/logs/swarm.log" 2>&1
    kill -TERM "$engine" && wait "$engine"
    rm "$dir/bin/dockerd" 2>/dev/null
    return 0
}

# The tests start engines of their own too, by this name.
make_newer_engine_command() {
    mkdir -p "$dir/newer-bin" && cp -a "$dir"/bin/ip*tables "$dir/newer-bin/" 2>/dev/null
    printf '#!/bin/sh\nexec %s /usr/sbin/dockerd "$@"\n' "$(newer_command docker)" >"$dir/bin/dockerd" &&
        chmod +x "$dir/bin/dockerd"
}

# Kernels differ in which of the two families they carry; the engine wants one that works.
choose_iptables() {
    iptables -w -t nat -n -L >/dev/null 2>&1 && return
    ln -sf "$(command -v iptables-legacy)" "$dir/bin/iptables"
    ln -sf "$(command -v ip6tables-legacy)" "$dir/bin/ip6tables"
    iptables -w -t nat -n -L >/dev/null 2>"$dir/logs/iptables.log" ||
        { say "neither iptables nor iptables-legacy works here: $(cat "$dir/logs/iptables.log")" >&2 && return 1; }
}

swarm_is_ready() {
    [[ $(docker node ls --format '{{.Status}} {{.ManagerStatus}}') == "Ready Leader" ]]
}

# Busybox is all that the images of the tests hold. A container is killed, not asked, to end: busybox as
# first process ignores TERM, and every rollout would wait for the grace period.
make_base_image() {
    local tree=$dir/base log=$dir/logs/base-image.log
    export LONGSHORE_TEST_BASE_IMAGE=longshore-test-base:1
    [[ -e $tree/Dockerfile ]] || make_base_tree "$tree" || return 1
    DOCKER_BUILDKIT=0 docker build -t "$LONGSHORE_TEST_BASE_IMAGE" "$tree" >"$log" 2>&1 ||
        { cat "$log" >&2 && return 1; }
}

make_base_tree() {
    mkdir -p "$1"/{bin,etc,tmp,www} && copy_with_libraries "$(command -v busybox)" "$1" || return 1
    ln -s busybox "$1/bin/sh" && busybox_applets "$1" || return 1
    base_image_recipe >"$1/Dockerfile"
}

base_image_recipe() {
    cat <<'RECIPE'
FROM scratch
COPY . /
STOPSIGNAL SIGKILL
ENV PATH=/bin
CMD ["httpd","-f","-p","8080","-h","/www"]
RECIPE
}

# A machine may have the busybox that is not static.
copy_with_libraries() {
    local library
    cp -L "$1" "$2/bin/busybox" || return 1
    for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ )]*'); do
        mkdir -p "$2$(dirname "$library")" && cp -L "$library" "$2$library" || return 1
    done
}

busybox_applets() {
    local applet
    for applet in httpd sleep cat echo wget false true test; do
        ln -s busybox "$1/bin/$applet" || return 1
    done
}
