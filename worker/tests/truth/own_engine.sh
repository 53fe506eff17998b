# An engine with a registry beside it, in a network of their own. Of the lines that are read, `freeze` makes it stand
# still, `thaw` lets it go on, and any other starts it again.
set -eu
home=$1
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /etc/docker
mount -t tmpfs tmpfs /etc/docker
cat >"$home/registry.yml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $home/registry}}
http: {addr: "127.0.0.1:5000", secret: test}
YAML
"$LONGSHORE_TEST_REGISTRY_BIN" serve "$home/registry.yml" >"$home/registry.log" 2>&1 &
echo '{}' >"$home/daemon.json"
while :; do
    dockerd --config-file "$home/daemon.json" --host "unix://$home/docker.sock" \
        --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/docker.pid" \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$(basename "$home")" \
        --insecure-registry 127.0.0.0/8 >>"$home/dockerd.log" 2>&1 </dev/null &
    engine=$!
    while :; do
        read -r word || break 2
        case $word in
            freeze) kill -STOP "$engine" ;;
            thaw) kill -CONT "$engine" ;;
            *) break ;;
        esac
    done
    kill -TERM "$engine"
    wait "$engine" || true
done
kill -KILL "$engine"
