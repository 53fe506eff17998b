# Programs as Debian's next release carries them: each in a folder of files that is made once and kept for later
# runs, used in a root of its own, beside everything the machine has.

newer_release=trixie
newer_cache=${LONGSHORE_TEST_CACHE:-/var/cache/longshore-tests}

# newer_packages NAME: the packages that the folder NAME-$newer_release is made of.
newer_packages() {
    case $1 in
    rabbitmq) echo rabbitmq-server ;;
    docker) echo docker.io,iptables,ca-certificates ;;
    esac
}

newer_files() {
    echo "$newer_cache/$1-$newer_release"
}

newer_is_made() {
    [[ -d $(newer_files "$1")/usr ]]
}

# Made aside and renamed when whole: a run never sees half of it. Two runs that need it make it once.
make_newer() {
    newer_is_made "$1" && return
    mkdir -p "$newer_cache" && exec 7>"$newer_cache/lock" && flock 7 || return 1
    newer_is_made "$1" || make_newer_aside "$1"
    local status=$?
    exec 7>&-
    return $status
}

make_newer_aside() {
    local aside=$newer_cache/unfinished log=$dir/logs/debootstrap.log files mirror
    files=$(newer_files "$1")
    mirror=$(debian_mirror) || return 1
    say "making $1 of Debian $newer_release, once, in $files"
    rm -rf --one-file-system "$aside" && mkdir "$aside" || return 1
    make_debian_tree "$aside/tree" "$mirror" "$(newer_packages "$1")" >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2 && rm -rf --one-file-system "$aside" && return 1; }
    mkdir "$aside/kept" && mv "$aside/tree/usr" "$aside/tree/etc" "$aside/kept" || return 1
    echo "127.0.0.1 localhost" >"$aside/kept/etc/hosts"
    mkdir -p "$aside/kept/etc/docker"
    rm -rf --one-file-system "$files" && mv "$aside/kept" "$files" || return 1
    rm -rf --one-file-system "$aside"
}

# The namespace takes with it what debootstrap mounts and starts, also when it is killed halfway.
make_debian_tree() {
    local proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    http_proxy=${http_proxy:-$proxy} supervise setpriv --pdeathsig KILL \
        unshare --mount --pid --fork --kill-child --mount-proc \
        debootstrap --variant=minbase --include="$3" "$newer_release" "$1" "$2"
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

# newer_command NAME: what to put before a command so that it is that folder's.
newer_command() {
    echo "unshare --mount bash $services/newer_root.sh $(newer_files "$1")"
}
