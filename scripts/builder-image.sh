#!/usr/bin/env bash
# Makes the image `ocelot-builder`, in which Ocelot builds itself (ocelot.yml), without any image
# registry: the distribution's base system, this machine's own Rust toolchain, and the sources of the
# locked dependencies.
#
#   scripts/builder-image.sh           makes it when it is missing or the toolchain has changed
#   scripts/builder-image.sh --force   makes it anew
#
# The base system is kept in ${XDG_CACHE_HOME:-~/.cache}/ocelot. The dependencies are a head start
# only: a build may also fetch what the lock file has gained since.
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

IMAGE=ocelot-builder:latest
SUITE=bookworm
# A C compiler for the crates with C inside, git for the tests, the rest for scripts/.
PACKAGES=gcc,libc6-dev,git,ca-certificates,curl,jq,shellcheck,busybox-static
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ocelot
LABEL=ocelot.builder
PATHS=/opt/rust/bin:/opt/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

main() {
    case "$#:${1:-}" in
    0: | 1:--force) ;;
    *) die "usage: scripts/builder-image.sh [--force]" ;;
    esac
    ensure_rust
    ensure_docker "$ROOT/scripts/builder-image.sh" "$@"
    local key
    key=$(image_key)
    if [[ ${1:-} != --force && $(label_of_image) == "$key" ]]; then
        say "$IMAGE is there, made from this toolchain."
        return
    fi
    local base
    base=$CACHE/$SUITE-$(hash_of "$PACKAGES")
    [[ -d $base ]] || make_base "$base"
    say "Reading the locked dependencies ..."
    cargo fetch --locked --quiet
    local old
    old=$(docker image inspect --format '{{.Id}}' "$IMAGE" 2>/dev/null || true)
    import_image "$base" "$key"
    # The one before has lost its name; it stays only where a container still uses it.
    [[ -z $old ]] || docker image rm "$old" >/dev/null 2>&1 || true
    say "Made $IMAGE ($(docker image inspect --format '{{.Size}}' "$IMAGE" | awk '{ printf "%.1f GB", $1 / 1e9 }'))."
}

hash_of() { sha256sum <<<"$1" | cut -c 1-12; }

# Changes with the toolchain, the packages and this script, not with the dependencies.
image_key() { hash_of "$(rustc -vV && cargo -vV && cat "$ROOT/scripts/builder-image.sh")"; }

label_of_image() { docker image inspect --format "{{ index .Config.Labels \"$LABEL\" }}" "$IMAGE" 2>/dev/null || true; }

# make_base FOLDER: the base system of the distribution, whole or not at all.
make_base() {
    local base=$1 partial=$1.partial
    ensure_packages debootstrap debian-archive-keyring
    say "Making a base system ($SUITE) in $base ..."
    mkdir -p -- "$CACHE"
    as_root rm -rf --one-file-system -- "$partial"
    if ! as_root debootstrap --variant=minbase --include="$PACKAGES" \
        --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$SUITE" "$partial" >"$CACHE/debootstrap.log" 2>&1; then
        tail -n 20 -- "$CACHE/debootstrap.log" >&2
        die "debootstrap failed; the end of $CACHE/debootstrap.log is above"
    fi
    as_root sh -c "rm -rf \"\$1\"/var/cache/apt/archives/*.deb \"\$1\"/var/lib/apt/lists/*" sh "$partial"
    as_root mv -T -- "$partial" "$base"
}

# One archive from three places: the base system, the toolchain (without its manuals) and the
# dependencies as they were downloaded. The names are changed on the way; symbolic links are not.
import_image() {
    local base=$1 key=$2 sysroot home
    sysroot=$(rustc --print sysroot)
    home=${CARGO_HOME:-$HOME/.cargo}
    say "Importing $IMAGE ..."
    as_root tar -c --numeric-owner \
        --exclude="./dev/*" --exclude="$(basename "$sysroot")/share/doc" --exclude="$(basename "$sysroot")/share/man" \
        --transform "s,^$(basename "$sysroot"),./opt/rust,S" \
        --transform "s,^registry,./opt/cargo/registry,S" \
        -C "$base" . \
        -C "$(dirname "$sysroot")" "$(basename "$sysroot")" \
        -C "$home" registry/cache registry/index |
        docker import --change "ENV PATH=$PATHS" --change "ENV CARGO_HOME=/opt/cargo" \
            --change "LABEL $LABEL=$key" --change 'CMD ["bash"]' - "$IMAGE" >/dev/null
}

main "$@"
