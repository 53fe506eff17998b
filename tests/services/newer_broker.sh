# RabbitMQ as Debian's next release carries it: its files in a folder that is made once and kept for later
# runs. They are used in a root of their own, beside everything the machine has.

newer_release=trixie
newer_broker_cache=${LONGSHORE_TEST_CACHE:-/var/cache/longshore-tests}
newer_broker_files=$newer_broker_cache/rabbitmq-$newer_release

newer_broker_is_made() {
    [[ -x $newer_broker_files/usr/lib/rabbitmq/bin/rabbitmq-server ]]
}

# Made aside and renamed when whole: a run never sees half of it. Two runs that need it make it once.
make_newer_broker() {
    newer_broker_is_made && return
    mkdir -p "$newer_broker_cache" && exec 7>"$newer_broker_cache/lock" && flock 7 || return 1
    newer_broker_is_made || make_newer_broker_aside
    local status=$?
    exec 7>&-
    return $status
}

make_newer_broker_aside() {
    local aside=$newer_broker_cache/unfinished log=$dir/logs/debootstrap.log mirror
    mirror=$(debian_mirror) || return 1
    say "making RabbitMQ of Debian $newer_release, once, in $newer_broker_files"
    rm -rf --one-file-system "$aside" && mkdir "$aside" || return 1
    make_debian_tree "$aside/tree" "$mirror" >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2 && rm -rf --one-file-system "$aside" && return 1; }
    mkdir "$aside/kept" && mv "$aside/tree/usr" "$aside/tree/etc" "$aside/kept" || return 1
    echo "127.0.0.1 localhost" >"$aside/kept/etc/hosts"
    rm -rf --one-file-system "$newer_broker_files" && mv "$aside/kept" "$newer_broker_files" || return 1
    rm -rf --one-file-system "$aside"
}

# The namespace takes with it what debootstrap mounts and starts, also when it is killed halfway.
make_debian_tree() {
    local proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    http_proxy=${http_proxy:-$proxy} supervise setpriv --pdeathsig KILL \
        unshare --mount --pid --fork --kill-child --mount-proc \
        debootstrap --variant=minbase --include=rabbitmq-server "$newer_release" "$1" "$2"
}

# Where this machine's apt gets Debian from.
debian_mirror() {
    local mirrors
    mapfile -t mirrors < <(debian_mirrors)
    ((${#mirrors[@]})) || { update_package_lists >&2 && mapfile -t mirrors < <(debian_mirrors); }
    ((${#mirrors[@]})) || { say "apt knows no mirror of Debian to get $newer_release from" >&2 && return 1; }
    echo "${mirrors[0]}"
}

debian_mirrors() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | sort -u
}

# Called inside the namespace, whose /run vanishes with it. The run's directory has one path everywhere.
enter_newer_broker_files() {
    local tree=/run/longshore-rabbitmq name
    mkdir -p "$tree"/{usr,etc,proc,dev,sys,run} "$tree$dir" && mkdir -p -m 1777 "$tree/tmp" || return 1
    for name in bin sbin lib lib64; do ln -sfn "usr/$name" "$tree/$name"; done
    for name in usr etc; do
        mount --bind "$newer_broker_files/$name" "$tree/$name" && mount -o remount,bind,ro "$tree/$name" || return 1
    done
    for name in proc dev sys; do mount --rbind "/$name" "$tree/$name" || return 1; done
    mount --bind "$dir" "$tree$dir" || return 1
    newer_broker_command="chroot $tree /usr/bin/env -u TMPDIR PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8"
}
