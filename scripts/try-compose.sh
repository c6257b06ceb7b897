#!/usr/bin/env bash
# Tries docker-compose.yml as it would be used: up, a build in a worker that is a container itself, more workers, a restart, stop. With
# images made on this machine, so that no registry is needed. Leaves nothing but the images behind.
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

POSTGRES=ocelot-postgres:latest
export COMPOSE_PROJECT_NAME=ocelot-try OCELOT_POSTGRES_IMAGE=$POSTGRES OCELOT_ALLOW_LOCAL_REPOS=true OCELOT_STOP_GRACE=30s
OCELOT_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export OCELOT_PORT

# What the usual image of PostgreSQL does with its variables, as far as docker-compose.yml needs it.
make_postgres() {
    if docker image inspect "$POSTGRES" >/dev/null 2>&1; then return; fi
    local folder
    folder=$(mktemp -d)
    cat >"$folder/start.sh" <<'END'
#!/bin/sh
set -eu
data=/var/lib/postgresql/data
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
chown postgres "$data"
if [ ! -e "$data/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" >/tmp/password
    chown postgres /tmp/password
    su postgres -c "$bin/initdb -D $data -U $POSTGRES_USER --pwfile /tmp/password --auth-host scram-sha-256" >/dev/null
    rm /tmp/password
    echo "CREATE DATABASE $POSTGRES_DB" | su postgres -c "$bin/postgres --single -D $data postgres" >/dev/null
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
fi
exec su postgres -c "exec $bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp"
END
    cat >"$folder/Dockerfile" <<'END'
FROM ocelot-base
RUN apt-get update && apt-get install -y --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
COPY start.sh /start.sh
ENV PGHOST=/tmp
VOLUME /var/lib/postgresql/data
CMD ["sh", "/start.sh"]
END
    docker build --tag "$POSTGRES" "$folder"
    rm -rf -- "$folder"
}

clean() { docker-compose down --volumes --timeout 30 >/dev/null 2>&1 || true; }

server() { docker-compose exec -T -e OCELOT_TOKEN="$(cat "$folder/token")" server ocelot "$@"; }

healthy() { [[ $(docker inspect --format '{{.State.Health.Status}}' "$(docker-compose ps -q "$1")") == healthy ]]; }

connected() { [[ $(server worker list --json | jq '[.[] | select(.state == "idle" or .state == "busy")] | length') == "$1" ]]; }

has_token() { docker-compose exec -T server cat /data/admin-token >"$folder/token"; }

ensure_tools
ensure_packages docker-compose=docker-compose python3
ensure_docker "$ROOT/scripts/try-compose.sh"
./build-release.sh --local
scripts/base-image.sh
make_postgres
example_image
folder=$(mktemp -d)
trap 'clean; rm -rf -- "$folder"' EXIT
clean

heading "Up"
docker-compose up -d
wait_until 120 healthy server || { docker-compose logs; die "the server does not become healthy"; }
wait_until 30 has_token || die "there is no admin's token"
wait_until 60 connected 1 || { docker-compose logs worker; die "the worker does not connect"; }

heading "A build"
git init -q "$folder/example"
printf 'image: busybox\nstages:\n  - name: test\n    script: [echo built beside the workers]\n' >"$folder/example/ocelot.yml"
git -C "$folder/example" add -A
git -C "$folder/example" -c user.name=try -c user.email=try@localhost commit -qm first
git clone -q --bare "$folder/example" "$folder/example.git"
docker cp "$folder/example.git" "$(docker-compose ps -q server):/enrolment/example.git"
server repo add /enrolment/example.git
server build git/example --follow | tee "$folder/log"
grep -q 'built beside the workers' "$folder/log" || die "the log is not there"

heading "Five workers, and a server that restarts"
docker-compose up -d --scale worker=5
wait_until 90 connected 5 || { server worker list; die "five workers do not connect"; }
[[ $(server worker list --json | jq '[.[] | select(.enrolled) | .name] | unique | length') == 5 ]] ||
    { server worker list; die "five workers that came with one token are not five identities"; }
docker-compose restart server
wait_until 120 healthy server || die "the server does not come back"
wait_until 90 connected 5 || { server worker list; die "the workers do not come back"; }
server build git/example --follow

heading "Stop"
instance=$(docker-compose exec -T worker cat /data/instance)
docker-compose stop
left=$(docker ps -aq --filter "label=ocelot.instance=$instance")
[[ -z $left ]] || die "containers of jobs are left: $left"
say "docker-compose.yml works with Docker Engine $(docker version --format '{{.Server.Version}}') and $(docker-compose version --short)."
