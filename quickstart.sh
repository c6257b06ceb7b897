#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine with Rust to a first build: installs what is missing, builds
# the executable, starts a server with a worker in ./data, adds a small example repository, builds it
# in a real container and shows the log. The server goes on running.
#
#   ./quickstart.sh          leaves the server running and prints the address of its page
#   ./quickstart.sh --once   stops the server afterwards; exits with the build's code
#
# OCELOT_DATA names another folder than ./data. Can be called again at any time: what is there is used.
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/scripts/lib.sh"

READY_SECONDS=60
STOP_SECONDS=120
FIRST_PORT=8080

ONCE=
DATA=
OCELOT=
PID=

main() {
    read_options "$@"
    prepare "$ROOT/quickstart.sh" "$@"
    make_example
    if running_server; then
        reuse_server
    else
        start_server
    fi
    connect
    add_example
    local code=0
    build_example || code=$?
    if [[ -n $ONCE ]]; then stop_server; else farewell; fi
    exit "$code"
}

read_options() {
    while (($# > 0)); do
        case $1 in
        --once) ONCE=yes ;;
        -h | --help)
            sed -n '2,/^# shellcheck/{/^# shellcheck/d; s/^# \{0,1\}//; p}' "$ROOT/quickstart.sh"
            exit 0
            ;;
        *)
            say "error: unknown option $1; there is --once and --help"
            exit 64
            ;;
        esac
        shift
    done
}

# --- before the server ------------------------------------------------------------------------

prepare() {
    heading "What is needed"
    ensure_tools
    ensure_rust
    ensure_docker "$@"
    example_image

    DATA=$(realpath -m -- "${OCELOT_DATA:-$ROOT/data}")
    # The server keeps tokens and logs here: for this user alone.
    if [[ ! -d $DATA ]]; then (umask 077 && mkdir -p -- "$DATA"); fi
    [[ -w $DATA ]] || die "$DATA belongs to another user (was it made by a call as root?). Remove it, or set OCELOT_DATA to another folder."
    # Settings for another server must not reach this one, nor its client commands.
    local name
    for name in $(compgen -e OCELOT_); do unset "$name"; done

    heading "Building the executable (the first time takes several minutes)"
    cd "$ROOT"
    cargo build --release --locked -p ocelot || die "the build failed; the reason is above"
    OCELOT=$(cargo metadata --no-deps --format-version 1 --locked | jq -r .target_directory)/release/ocelot
}

# A real git repository with the smallest useful ocelot.yml, plus a stage that tests something. What is there already
# stays as it is, whoever made it.
make_example() {
    local repo=$DATA/example.new
    # Not `git -C`: it would find the repository around the folder.
    if git --git-dir="$DATA/example/.git" rev-parse --quiet --verify HEAD >/dev/null 2>&1; then return; fi
    [[ ! -e $DATA/example ]] || die "$DATA/example is there, but is no git repository with a commit. Move it away, or set OCELOT_DATA to another folder."
    rm -rf -- "$repo"
    git init --quiet --initial-branch=main -- "$repo"
    cat >"$repo/ocelot.yml" <<'YAML'
image: busybox

stages:
  - name: hello
    script:
      - echo "Hello from a container of $(uname -s) on $(uname -m)."
      - echo "This is build $BUILD_ID, of commit $GIT_HASH_SHORT on $GIT_BRANCH."

  - name: count
    script:
      - sh count.sh 5 > count.txt
      - cat count.txt

  - name: test
    script:
      - test "$(wc -l < count.txt)" -eq 5
      - printf '\033[32m%s\033[0m\n' "All five are there."
YAML
    cat >"$repo/count.sh" <<'SH'
# Prints the numbers from 1 to the given one, a line each.
i=1
while [ "$i" -le "$1" ]; do
    echo "$i of $1"
    i=$((i + 1))
done
SH
    # shellcheck disable=SC2016 # Markdown, not commands
    printf '# Example\n\nChange `ocelot.yml`, commit, and build again: `ocelot build git/example --follow`.\n' >"$repo/README.md"
    git -C "$repo" add --all
    git -C "$repo" -c user.name=Example -c user.email=example@localhost -c commit.gpgsign=false \
        -c core.hooksPath=/dev/null commit --quiet -m "The smallest useful ocelot.yml"
    mv -T -- "$repo" "$DATA/example"
    say "Made the example repository $DATA/example."
}

# --- the server -------------------------------------------------------------------------------

# A server holds a lock on its data folder, and writes its process number into the lock's file.
data_is_free() { [[ ! -e $DATA/lock ]] || flock --nonblock "$DATA/lock" true; }

running_server() {
    if data_is_free; then return 1; fi
    PID=$(<"$DATA/lock")
    [[ $PID =~ ^[0-9]+$ && $(readlink -- "/proc/$PID/exe") == */ocelot* ]] ||
        die "$DATA is in use by another process (${PID:-unknown}); stop it, or set OCELOT_DATA to another folder"
}

reuse_server() {
    heading "The server"
    if [[ $(readlink -- "/proc/$PID/exe") == *' (deleted)' ]]; then
        say "A server of an older build runs on $DATA (process $PID): starting it anew."
        stop_server
        start_server
        return
    fi
    URL=$(address_of "$PID")
    wait_until "$READY_SECONDS" ready || die "process $PID uses $DATA, but does not answer at $URL"
    say "A server already runs on $DATA (process $PID): using it."
}

# The address of a server that this script started, or else what its command line says.
address_of() {
    local -a words=()
    local i
    if [[ -s $DATA/quickstart.address && $(cat "$DATA/quickstart.pid" 2>/dev/null) == "$1" ]]; then
        cat "$DATA/quickstart.address"
        return
    fi
    mapfile -d '' -t words <"/proc/$1/cmdline"
    for i in "${!words[@]}"; do
        case ${words[i]} in
        --listen) printf 'http://%s\n' "${words[i + 1]}" && return ;;
        --listen=*) printf 'http://%s\n' "${words[i]#--listen=}" && return ;;
        esac
    done
    printf 'http://127.0.0.1:%s\n' "$FIRST_PORT"
}

start_server() {
    [[ -n $OCELOT && -x $OCELOT ]] || die "there is no executable at $OCELOT"
    heading "The server"
    local port
    port=$(free_port)
    rm -f -- "$DATA/quickstart.address" "$DATA/server.log"
    # The log holds a sign-in link: for this user alone.
    (umask 077 && : >"$DATA/server.log")
    # A session of its own: Ctrl-C here stops the looking-on, not the server.
    # The example needs little room; a worker for real jobs wants more (`ocelot up --help`).
    export OCELOT_MIN_FREE=${OCELOT_MIN_FREE:-1GiB} OCELOT_MIN_FREE_PERCENT=${OCELOT_MIN_FREE_PERCENT:-0}
    setsid nohup "$OCELOT" up --data "$DATA" --listen "127.0.0.1:$port" --allow-local-repos \
        --address-file "$DATA/quickstart.address" >"$DATA/server.log" 2>&1 </dev/null &
    PID=$!
    printf '%s\n' "$PID" >"$DATA/quickstart.pid"
    URL=http://127.0.0.1:$port
    if [[ -n $ONCE ]]; then trap stop_server EXIT; fi
    wait_until "$READY_SECONDS" ready_or_gone || true
    if gone || ! ready; then
        tail -n 20 -- "$DATA/server.log" >&2
        die "the server did not come up at $URL; the end of $DATA/server.log is above"
    fi
    say "Started at $URL (process $PID, log $DATA/server.log)."
}

free_port() {
    local port
    for ((port = FIRST_PORT; port < FIRST_PORT + 50; port++)); do
        if ! port_taken "$port"; then
            ((port == FIRST_PORT)) || say "Port $FIRST_PORT is taken: using $port."
            printf '%s\n' "$port"
            return
        fi
    done
    die "no free port between $FIRST_PORT and $port"
}

port_taken() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
ready() { curl --noproxy '*' -fsS --max-time 2 -o /dev/null "$URL/readyz" 2>/dev/null; }
gone() { ! kill -0 "$PID" 2>/dev/null; }
ready_or_gone() { ready || gone; }

# SIGTERM: the server ends its running jobs first.
stop_server() {
    trap - EXIT
    kill "$PID" 2>/dev/null || true
    wait_until "$STOP_SECONDS" data_is_free || die "the server (process $PID) does not stop; see $DATA/server.log"
    rm -f -- "$DATA/quickstart.pid" "$DATA/quickstart.address"
    say "Stopped the server (process $PID)."
}

# --- the build --------------------------------------------------------------------------------

connect() {
    [[ -r $DATA/admin-token ]] || die "there is no $DATA/admin-token, so this server cannot be used from here"
    OCELOT_URL=$URL
    OCELOT_TOKEN=$(<"$DATA/admin-token")
    NO_PROXY=127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}
    export OCELOT_URL OCELOT_TOKEN NO_PROXY no_proxy=$NO_PROXY
}

add_example() {
    local url known
    # Spaces and the like in the path are written as a URL wants them.
    url="file://$(jq -rn --arg path "$DATA/example" '$path | split("/") | map(@uri) | join("/")')"
    known=$("$OCELOT" repo list --json | jq -r '[.. | objects | select(.repo? == "git/example")][0].clone_url // empty')
    case $known in
    "") "$OCELOT" repo add "$url" --name example >&2 ;;
    "$url" | "$DATA/example" | "file://$DATA/example") ;;
    *) die "git/example is already there, and means $known. Was the folder moved? \`ocelot repo remove git/example\` forgets it." ;;
    esac
}

build_example() {
    heading "The build: git/example"
    "$OCELOT" build git/example --follow
}

farewell() {
    heading "Look at it"
    say "The page         $URL"
    local link
    link=$(grep -o -m 1 'Sign in.*' "$DATA/server.log" 2>/dev/null || true)
    [[ -z $link ]] || say "$link"
    say "The admin token  $DATA/admin-token"
    say "Build again      OCELOT_URL=$URL OCELOT_TOKEN=\$(cat '$DATA/admin-token') '$OCELOT' build git/example --follow"
    say "Stop the server  kill $PID"
}

main "$@"
