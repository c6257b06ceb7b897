#!/usr/bin/env bash
# Makes the images of a release, in three steps:
#
#   1. ocelot-build   tools and dependencies; `docker run --rm -it ocelot-build sh` opens a shell in it
#   2. the executable, without any shared library, built in it
#   3. ocelot         nothing but the executable (from an empty image): a server
#      ocelot-git     with git, git-lfs and an ssh client: workers, and servers that read plain git repositories
#
#   ./build-release.sh [--build-base IMAGE] [--git-base IMAGE] [--tag TAG] [--local]
#
# --local makes the base images on this machine, from the distribution's packages and its own Rust toolchain: for
# places where no registry can be reached. The executable is also left in target/static/ocelot.
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/scripts/lib.sh"
cd "$ROOT"

usage() {
    say "usage: ./build-release.sh [--build-base IMAGE] [--git-base IMAGE] [--tag TAG] [--local]"
    exit 64
}

main() {
    local tag=latest arguments=()
    while (($# > 0)); do
        case $1 in
        --build-base) arguments+=(--build-arg "BUILD_BASE=${2:?--build-base needs an image}") && shift 2 ;;
        --git-base) arguments+=(--build-arg "GIT_BASE=${2:?--git-base needs an image}") && shift 2 ;;
        --tag) tag=${2:?--tag needs a word} && shift 2 ;;
        --local)
            scripts/builder-image.sh
            scripts/base-image.sh
            arguments+=(--build-arg BUILD_BASE=ocelot-builder --build-arg GIT_BASE=ocelot-base)
            shift
            ;;
        *) usage ;;
        esac
    done
    ensure_docker "$ROOT/build-release.sh" "$@"

    heading "1. Tools and dependencies: ocelot-build:$tag"
    build tools "ocelot-build:$tag"
    heading "2. The executable"
    build binary "ocelot-binary:$tag"
    take_out "ocelot-binary:$tag"
    heading "3. Images to run: ocelot:$tag and ocelot-git:$tag"
    build server "ocelot:$tag"
    build git "ocelot-git:$tag"

    heading "Done"
    docker image ls --format '{{.Repository}}:{{.Tag}}\t{{.Size}}' | grep -E "^ocelot(-git|-build)?:$tag\s" || true
}

# build STAGE IMAGE: steps that are done already come from the engine's cache.
build() { docker build --target "$1" --tag "$2" "${arguments[@]}" .; }

# A container that never starts is enough to copy a file out of an image.
take_out() {
    local container
    container=$(docker create "$1")
    mkdir -p target/static
    docker cp "$container:/image/ocelot" target/static/ocelot
    docker rm "$container" >/dev/null
}

main "$@"
