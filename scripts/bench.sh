#!/usr/bin/env bash
# Builds the release executable and measures what the README claims; see bench/src/main.rs. Fails below 0.7 of a target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
ensure_postgres
ensure_docker
ensure_busybox
[[ -x /usr/sbin/nginx ]] || ensure_packages nginx=nginx-light
cargo build --release --locked -p ocelot -p ocelot-bench
exec target/release/ocelot-bench --ocelot target/release/ocelot "$@"
