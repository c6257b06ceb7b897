#!/usr/bin/env bash
# Makes the image `ocelot-base`, a plain system of the distribution, without any image registry: what `./build-release.sh
# --local` puts git into. Kept until it is removed (`docker rmi ocelot-base`).
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

IMAGE=ocelot-base:latest
SUITE=bookworm

main() {
    ensure_docker "$ROOT/scripts/base-image.sh"
    if docker image inspect "$IMAGE" >/dev/null 2>&1; then
        say "$IMAGE is there."
        return
    fi
    ensure_packages debootstrap debian-archive-keyring
    local folder
    folder=$(mktemp -d)
    say "Making $IMAGE ..."
    # The log is the only word about what went wrong.
    if ! as_root debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        "$SUITE" "$folder/base" >"$folder/log" 2>&1; then
        tail -n 20 -- "$folder/log" >&2
        as_root rm -rf --one-file-system -- "$folder"
        die "debootstrap failed; the end of what it said is above"
    fi
    as_root tar -c --numeric-owner --exclude='./dev/*' --exclude='./var/cache/apt/archives/*.deb' -C "$folder/base" . |
        docker import --change 'CMD ["bash"]' - "$IMAGE" >/dev/null
    as_root rm -rf --one-file-system -- "$folder"
}

main "$@"
