# shellcheck shell=bash
# What the scripts of this repository share: messages, distribution packages, the
# container engine and the example image. Source it; it does nothing by itself.
#
#   . "$(dirname -- "${BASH_SOURCE[0]}")/scripts/lib.sh"
#
# Every function is safe to call twice. None of them touches a thing that is already there.
# Knows Debian and Ubuntu; elsewhere it says what is missing and stops.

set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
heading() { printf '\n== %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }

# wait_until SECONDS COMMAND...: tries the command until it succeeds or the deadline has passed.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# --- root ------------------------------------------------------------------------------

can_be_root() { [[ $EUID -eq 0 ]] || have sudo; }

# as_root COMMAND...: as is for root, else through sudo.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "\`$*\` needs root, and there is no sudo here. Run this as root, or run that command yourself first."
    fi
}

# --- packages --------------------------------------------------------------------------

APT_UPDATED=

package_installed() { [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

apt_update_once() {
    [[ -z $APT_UPDATED ]] || return 0
    say "Reading the package lists of the distribution ..."
    as_root apt-get update -qq >&2 || say "warning: apt-get update did not succeed everywhere; trying with what there is."
    APT_UPDATED=yes
}

# Not through `grep -q`: it stops reading early, and apt-cache then ends with an error.
package_available() { [[ $(apt-cache show "$1" 2>/dev/null) == *Package:* ]]; }

# install_packages NAME...: installs them, whether or not something similar is there.
install_packages() {
    have apt-get || die "these packages are missing: $*. Only Debian and Ubuntu are set up by itself: please install them and try again."
    can_be_root || die "these packages are missing: $*. Installing needs root or sudo. As root: apt-get install $*"
    apt_update_once
    say "Installing $* ..."
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >&2 </dev/null ||
        die "apt-get could not install: $*"
}

# ensure_packages WANT...: WANT is `command=package` (fine when the command is there, wherever
# it came from) or `package` (must be installed as such).
ensure_packages() {
    local want missing=()
    for want in "$@"; do
        case $want in
        *=*) have "${want%%=*}" || missing+=("${want#*=}") ;;
        *) package_installed "$want" || missing+=("$want") ;;
        esac
    done
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

ensure_tools() {
    ensure_packages git=git curl=curl jq=jq setsid=util-linux ca-certificates
    ensure_busybox
}

ensure_busybox() {
    static_busybox >/dev/null || install_packages busybox-static
    static_busybox >/dev/null || die "there is still no statically linked busybox after installing busybox-static"
}

# Prints the path of a statically linked busybox, or fails.
static_busybox() {
    local path
    for path in /bin/busybox /usr/bin/busybox "$(command -v busybox || true)"; do
        # `ldd` fails on a static file; a dynamic one cannot start in an empty image.
        if [[ -x $path ]] && ! ldd "$path" >/dev/null 2>&1; then
            printf '%s\n' "$path"
            return
        fi
    done
    return 1
}

# --- building --------------------------------------------------------------------------

# The crates with C inside (SQLite, zstd, aws-lc) need a compiler and libc headers; no cmake.
ensure_rust() {
    # The usual place, for shells that do not read a profile.
    have cargo || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    have cargo || die "cargo is missing. Install Rust with rustup (see rust-lang.org), version $(toolchain_channel) or newer, and try again."
    ensure_packages cc=gcc
    [[ -e /usr/include/stdlib.h ]] || ensure_packages libc6-dev
    local got
    got=$(cd "$ROOT" && cargo --version 2>&1) ||
        die "cargo does not start here: $got
Install the toolchain named in rust-toolchain.toml: rustup toolchain install $(toolchain_channel)"
}

toolchain_channel() { sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml"; }

# --- what the tests need ----------------------------------------------------------------

# Only the programs: the tests start a database of their own in a temporary folder.
ensure_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb || install_packages postgresql
}

# install_quietly NAME...: installs packages of which only the programs are wanted. Nobody gets an open port by testing: while
# there is a policy that forbids it, packages start no service when they are installed.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d ours=
    if have apt-get && can_be_root && [[ ! -e $policy ]]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    # In a subshell, for it ends the script when it fails.
    (install_packages "$@") || { [[ -z $ours ]] || as_root rm -f "$policy"; exit 2; }
    [[ -z $ours ]] || as_root rm -f "$policy"
}

# stop_service NAME...: not now, and not after the next start of the machine.
stop_service() {
    [[ ! -d /run/systemd/system ]] || as_root systemctl disable --quiet "$@" 2>/dev/null || true
}

# The tests start it with keys of their own.
ensure_sshd() {
    [[ ! -x /usr/sbin/sshd ]] || return 0
    install_quietly openssh-server
    stop_service ssh.service ssh.socket
}

# The tests start it with a configuration of their own; promtool is in the same package.
ensure_prometheus() {
    if have prometheus && have promtool; then return; fi
    install_quietly prometheus
    stop_service prometheus.service prometheus-node-exporter.service
}

ensure_chromium() {
    if ! have chromium && ! have chromium-browser && ! have google-chrome; then
        install_packages "$(first_available chromium chromium-browser)" fonts-liberation
    fi
    have chromedriver || install_packages "$(first_available chromium-driver chromium-chromedriver)"
    have chromedriver || die "chromedriver is still missing after the installation: put one into PATH (the website is tested in a real browser)."
}

first_available() {
    local name
    can_be_root && have apt-get && apt_update_once
    for name in "$@"; do
        if package_available "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    die "none of these packages is offered by the distribution: $*"
}

# --- container engine --------------------------------------------------------------------

DOCKERD_LOG=/var/log/ocelot-dockerd.log
DOCKERD_PID=/run/ocelot-dockerd.pid
DOCKER_WAIT=60

engine_answers() { have docker && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
engine_answers_root() { have docker && as_root timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# ensure_docker [SCRIPT ARGS...]: afterwards an engine answers to the caller. When it answers to
# root only, SCRIPT is started again with the group `docker` added, for this one call.
# shellcheck disable=SC2120 # the arguments are optional
ensure_docker() {
    if engine_answers; then return; fi
    [[ -z ${DOCKER_HOST:-} ]] || die "DOCKER_HOST is set to $DOCKER_HOST, but no engine answers there. Start it, or unset DOCKER_HOST to use one on this machine."
    can_be_root || die "no Docker Engine answers. Installing or starting one needs root or sudo; run this as root, or start an engine yourself."
    install_engine
    engine_answers_root || start_engine
    if ! engine_answers; then with_docker_group "$@"; fi
    say "Docker Engine $(docker version --format '{{.Server.Version}}') answers."
}

install_engine() {
    have dockerd || PATH="$PATH:/usr/sbin:/sbin"
    # Installing may start the engine by itself; start_engine waits for that.
    have dockerd || install_packages docker.io
    # In some releases the client is a package of its own.
    have docker || install_packages docker-cli
}

start_engine() {
    if [[ -d /run/systemd/system ]]; then
        say "Starting the Docker Engine (systemctl start docker) ..."
        as_root systemctl start docker || die "systemctl could not start docker. See: journalctl -u docker"
        wait_until "$DOCKER_WAIT" engine_answers_root || die "the Docker Engine does not answer after $DOCKER_WAIT s. See: journalctl -u docker"
        return
    fi
    if [[ -x /etc/init.d/docker ]]; then
        say "Starting the Docker Engine (service docker start) ..."
        if as_root /etc/init.d/docker start >&2 </dev/null && wait_until "$DOCKER_WAIT" engine_answers_root; then return; fi
        say "The init script did not bring it up."
    fi
    start_engine_by_hand
}

# For containers and small machines without an init system.
start_engine_by_hand() {
    say "Starting the Docker Engine by hand (log $DOCKERD_LOG, pid in $DOCKERD_PID) ..."
    mount_cgroups
    as_root sh -c "setsid nohup dockerd --pidfile $DOCKERD_PID >>$DOCKERD_LOG 2>&1 </dev/null &"
    if wait_until "$DOCKER_WAIT" engine_answers_root; then return; fi
    as_root tail -n 20 "$DOCKERD_LOG" >&2 || true
    die "the Docker Engine does not answer after $DOCKER_WAIT s. The end of $DOCKERD_LOG is above."
}

mount_cgroups() {
    if grep -q ' cgroup2\? ' /proc/mounts; then return; fi
    have cgroupfs-mount || install_packages cgroupfs-mount
    as_root cgroupfs-mount
}

# What sudo would drop, and this call was made with. No token: other users see command lines.
settings_to_keep() {
    local name
    for name in $(compgen -e); do
        case $name in
        OCELOT_TOKEN) ;;
        PATH | HOME | TMPDIR | NO_COLOR | OCELOT_* | CARGO_* | RUSTUP_* | RUSTFLAGS | XDG_* | *_proxy | *_PROXY)
            [[ ${!name} == *$'\n'* ]] || printf '%s\n' "$name=${!name}"
            ;;
        esac
    done
}

with_docker_group() {
    local user
    user=$(id -un)
    if [[ $# -eq 0 || $EUID -eq 0 || -n ${OCELOT_SCRIPT_REGROUPED:-} ]] || ! getent group docker >/dev/null; then
        die "the Docker Engine runs, but $user may not use it: $(docker version 2>&1 >/dev/null | tail -n 1)"
    fi
    say "The Docker Engine runs, but $user is not in the group docker: going on with that group for this one call."
    say "(To have it always: sudo usermod -aG docker $user, then log in again. The group may do all that root may.)"
    local -a settings=()
    mapfile -t settings < <(settings_to_keep)
    exec sudo -u "$user" -g docker -- env "${settings[@]}" OCELOT_SCRIPT_REGROUPED=1 "$@"
}

# --- the example image -------------------------------------------------------------------

# example_image: afterwards busybox:latest is there.
example_image() {
    if docker image inspect busybox:latest >/dev/null 2>&1; then return; fi
    say "Fetching the image busybox ..."
    # A registry that cannot be reached must not hold up the first look for minutes.
    if timeout "${OCELOT_PULL_SECONDS:-30}" docker pull --quiet busybox:latest >/dev/null 2>&1; then return; fi
    ensure_busybox
    make_busybox_image
    say "No registry could be reached: made a small image busybox:latest from $(static_busybox)."
    say "(\`docker rmi busybox\` removes it; the next pull brings the real one.)"
}

make_busybox_image() {
    local busybox tree applet
    busybox=$(static_busybox)
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,dev,etc,proc,root,sys,tmp,usr/bin,var}
    chmod 1777 "$tree/tmp"
    cp -L "$busybox" "$tree/bin/busybox"
    for applet in $("$busybox" --list); do
        [[ $applet == busybox ]] || ln -s busybox "$tree/bin/$applet"
    done
    ln -s /bin/env "$tree/usr/bin/env"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$tree/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
    tar -C "$tree" --owner=0 --group=0 --numeric-owner -c . |
        docker import --message 'made from the static busybox of the distribution' \
            --change 'CMD ["sh"]' --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
            - busybox:latest >/dev/null
    rm -rf -- "$tree"
}
