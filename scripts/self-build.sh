#!/usr/bin/env bash
# Ocelot builds itself, for real: makes the builder image from this machine's own toolchain, starts `ocelot up` in a folder of
# its own, builds this repository's HEAD in a container as ocelot.yml says, and writes what came out into docs/first-build.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$here/scripts/lib.sh"
cd "$here"

ensure_docker
"$here/scripts/builder-image.sh"
ocelot=${OCELOT_BINARY:-$here/target/release/ocelot}
[ -x "$ocelot" ] || cargo build --release --locked -p ocelot

data=$(mktemp -d)
pid=
stop() {
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$data"
}
trap stop EXIT

# A clone, so that what is built is what is committed.
git clone --quiet --bare "$here" "$data/ocelot.git"
"$ocelot" up --data "$data/up" --listen 127.0.0.1:0 --address-file "$data/address" --allow-local-repos --slots 1 \
    >"$data/up.log" 2>&1 &
pid=$!
for _ in $(seq 200); do
    [ -s "$data/address" ] && break
    read -r -t 0.1 <> <(:) || true
done
[ -s "$data/address" ] || { cat "$data/up.log" >&2; exit 2; }
OCELOT_URL="http://$(sed 's#^http://##' "$data/address")"
OCELOT_TOKEN=$(cat "$data/up/admin-token")
export OCELOT_URL OCELOT_TOKEN

"$ocelot" repo add "$data/ocelot.git" --name ocelot
code=0
"$ocelot" build git/ocelot --branch "$(git rev-parse --abbrev-ref HEAD)" --follow || code=$?
build=$("$ocelot" status 1 --json)
log=$("$ocelot" logs 1 --raw | wc -c)
machine="$(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)"
{
    echo '# Ocelot builds itself'
    echo
    echo 'Written by `scripts/self-build.sh` from a real build of this repository through `ocelot up`; nothing in it is by hand.'
    echo
    echo '| | |'
    echo '|---|---|'
    echo "| date | $(date -u '+%Y-%m-%d %H:%M UTC') |"
    echo "| commit | $(jq -r .commit <<<"$build") |"
    echo "| machine | $machine |"
    echo "| engine | $(docker version --format '{{.Server.Version}}') |"
    echo "| status | $(jq -r .status <<<"$build") |"
    echo "| waited in the queue | $(jq -r .queue_ms <<<"$build") ms |"
    echo "| took | $(jq -r '.duration_ms / 1000 | floor' <<<"$build") s |"
    echo "| log | $log bytes |"
    echo
    echo '| stage | status | took | log |'
    echo '|---|---|---|---|'
    jq -r '.jobs[].stages[] | "| \(.name) | \(.status) | \((.duration_ms // 0) / 1000) s | \(.log_bytes) bytes |"' <<<"$build"
    echo
    echo 'The end of the log:'
    echo
    echo '```'
    "$ocelot" logs 1 --tail 25 | sed 's/\x1b\[[0-9;]*m//g'
    echo '```'
} >"$here/docs/first-build.md"
echo "wrote docs/first-build.md"
exit "$code"
