# The Debian packages the run needs, installed only when what they bring is missing, and without starting
# the services they carry.

packages=(gcc ca-certificates openssl procps iproute2 iptables busybox-static docker.io docker-registry
    docker-compose rabbitmq-server faketime nginx-light)

# What tells that a package need not be installed: another package may bring it as well (docker-ce, busybox).
brought_by() {
    case $1 in
    gcc) command -v cc ;;
    ca-certificates) [[ -s /etc/ssl/certs/ca-certificates.crt ]] ;;
    procps) command -v pkill ;;
    iproute2) command -v ip ;;
    iptables) command -v iptables ;;
    busybox-static) command -v busybox ;;
    docker.io) command -v dockerd && command -v docker ;;
    nginx-light) [[ -x /usr/sbin/nginx ]] ;;
    rabbitmq-server) [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] ;;
    *) command -v "$1" ;;
    esac >/dev/null
}

needs_debootstrap() {
    local name
    for name in $(newer_ones); do
        newer_is_made "$name" || return 0
    done
    return 1
}

missing_packages() {
    local package
    if needs_debootstrap; then packages+=(debootstrap); fi
    for package in "${packages[@]}"; do
        brought_by "$package" || echo "$package"
    done
}

install_missing_packages() {
    local missing
    command -v cargo >/dev/null || { say "needs Rust: cargo is not in PATH" >&2 && return 1; }
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    forbid_service_starts || return 1
    { install_packages "${missing[@]}" || { update_package_lists && install_packages "${missing[@]}"; }; } \
        >"$dir/logs/packages.log" 2>&1 || { tail -n 40 "$dir/logs/packages.log" >&2 && return 1; }
    restore_service_policy
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || { say "still missing after the installation: ${missing[*]}" >&2 && return 1; }
}

update_package_lists() {
    apt-get -qq update
}

# --no-remove: the machine's own packages stay, whatever ours would rather have.
install_packages() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -y --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=300 install "$@" </dev/null
}

service_policy=/usr/sbin/policy-rc.d
service_policy_mark="# put here by longshore's tests/run for the time of an installation"

# Debian's packages ask policy-rc.d before they start, stop or restart a service; 101 is "no".
forbid_service_starts() {
    exec 8>/run/longshore-tests-packages.lock && flock 8 || return 1
    if [[ -e $service_policy ]] && ! grep -qxF "$service_policy_mark" "$service_policy"; then
        cp -a "$service_policy" "$dir/policy-rc.d" || return 1
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$service_policy_mark" >"$dir/policy-rc.d.ours"
    install -m 755 "$dir/policy-rc.d.ours" "$service_policy" && service_policy_ours=1
}

restore_service_policy() {
    [[ -n ${service_policy_ours:-} ]] || return 0
    rm -f "$service_policy"
    [[ ! -e $dir/policy-rc.d ]] || cp -a "$dir/policy-rc.d" "$service_policy"
    service_policy_ours=
    exec 8>&-
}
