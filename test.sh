#!/usr/bin/env bash
# Installs what the tests need and runs all of them: format, lints, layers, unit tests, store tests
# on both databases, builds in real containers, the pages in a real browser.
#
#   ./test.sh         everything that a change must pass
#   ./test.sh --all   also the long tests in which things go wrong on purpose, licences and bans, the README's first command, and the figures in bench/
#
# The last line is the total, `N passed, M failed`; a check outside the test runner that fails counts
# as one failure. The exit code is 0 only when nothing failed.
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/scripts/lib.sh"
cd "$ROOT"

ALL=
case "$#:${1:-}" in
0:) ;;
1:--all) ALL=yes ;;
*)
    say "usage: ./test.sh [--all]"
    exit 64
    ;;
esac

passed=0
failed=0
broken=()

# check NAME COMMAND...: runs it; a failure is remembered and the rest still runs.
check() {
    local name=$1
    shift
    heading "$name"
    "$@" || broken+=("$name")
}

# The crates are read by those who change them, so links to private parts are welcome.
doc_lints() {
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked
}

# From warnings up: below that the distributions' versions differ in what they see.
lint_scripts() { shellcheck --severity=warning -x ./*.sh scripts/*.sh .ci/run; }

# Runs the tests and adds up what their runner says.
run_tests() {
    local out code=0 counts ignored long=()
    [[ -z $ALL ]] || long=(--features ocelot/chaos-all)
    out=$(mktemp)
    cargo test --workspace --locked --no-fail-fast "${long[@]}" 2>&1 | tee "$out" || code=$?
    counts=$(sed 's/\x1b\[[0-9;]*m//g' "$out" |
        awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }')
    rm -f -- "$out"
    read -r passed failed ignored <<<"$counts"
    # An ignored test is a promise that nobody checks.
    if ((ignored > 0)); then
        say "$ignored tests are ignored: repair or remove them"
        return 1
    fi
    # Failed tests are counted one by one; a build error or a crash is one failure.
    ((code == 0 || failed > 0))
}

licences() {
    have cargo-deny || cargo install --locked cargo-deny
    cargo deny check bans licenses sources
}

# In a folder with a space in its name, so that nobody's ./data is touched.
first_command() {
    local folder code=0
    folder=$(mktemp -d "${TMPDIR:-/tmp}/ocelot first.XXXXXX")
    OCELOT_DATA="$folder/data" ./quickstart.sh --once || code=$?
    rm -rf -- "$folder"
    return "$code"
}

figures() { [[ ! -x scripts/bench.sh ]] || scripts/bench.sh; }

heading "What the tests need"
ensure_rust
ensure_tools
ensure_packages shellcheck=shellcheck docker-registry=docker-registry
# The mail server of the tests.
ensure_packages python3-aiosmtpd
# For the tests in which things go wrong on purpose.
ensure_packages ip=iproute2 iptables=iptables sqlite3=sqlite3 faketime=faketime
[[ -x /usr/sbin/nginx ]] || ensure_packages nginx=nginx-light
ensure_sshd
ensure_prometheus
ensure_postgres
ensure_chromium
ensure_docker "$ROOT/test.sh" "$@"

check "Format" cargo fmt --all --check
check "Scripts" lint_scripts
check "Layers" scripts/layers.sh
check "Lints" cargo clippy --workspace --all-targets --locked -- -D warnings
check "Documentation" doc_lints
check "Tests" run_tests
if [[ -n $ALL ]]; then
    check "Licences and bans" licences
    check "The README's first command" first_command
    check "Figures" figures
fi

heading "Result"
((${#broken[@]} == 0)) || printf 'failed check: %s\n' "${broken[@]}"
failed=$((failed + ${#broken[@]}))
printf '%s passed, %s failed\n' "$passed" "$failed"
((failed == 0 && passed > 0))
