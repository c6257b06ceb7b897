#!/usr/bin/env bash
# Checks that imports go one way, as ARCHITECTURE.md says:
#   1. the crates of this repository depend on each other only downwards;
#   2. the SQL driver, axum and the Docker client each stand in one crate;
#   3. the rules (ocelot-model) know no I/O, no async, no clock;
#   4. inside the server, http/ and grpc/ do not know each other, and builds/ knows no HTTP.
# Prints every offence and fails when there is one.
# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
have jq || die "jq is missing: apt-get install jq"

# Which of our crates a crate may name. `testkit` stands above all, and is for tests only.
read -r -d '' RULES <<'JSON' || true
{
  "ours": {
    "ocelot":         ["ocelot-server", "ocelot-worker", "ocelot-api", "ocelot-store", "ocelot-model"],
    "ocelot-server":  ["ocelot-store", "ocelot-forge", "ocelot-api", "ocelot-model"],
    "ocelot-worker":  ["ocelot-api", "ocelot-model"],
    "ocelot-store":   ["ocelot-model"],
    "ocelot-forge":   ["ocelot-model"],
    "ocelot-api":     ["ocelot-model"],
    "ocelot-model":   [],
    "ocelot-testkit": ["ocelot-server", "ocelot-worker", "ocelot-store", "ocelot-forge", "ocelot-api", "ocelot-model"],
    "ocelot-bench":   ["ocelot-testkit", "ocelot-store", "ocelot-api", "ocelot-model"]
  },
  "test_only": ["ocelot-testkit"],
  "test_crates": ["ocelot-testkit", "ocelot-bench"],
  "only_in": {
    "sqlx":           ["ocelot-store", "ocelot-bench"],
    "libsqlite3-sys": ["ocelot-store"],
    "rusqlite":       [],
    "tokio-postgres": [],
    "axum":           ["ocelot-server", "ocelot-testkit"],
    "axum-extra":     ["ocelot-server"],
    "utoipa-axum":    ["ocelot-server"],
    "bollard":        ["ocelot-worker", "ocelot-testkit", "ocelot-bench"]
  },
  "never_in_model": ["tokio", "tokio-util", "tokio-stream", "futures-util", "reqwest", "hyper", "http", "tonic", "tempfile", "rand", "libc", "rustix"]
}
JSON

manifest_offences() {
    cargo metadata --format-version 1 --no-deps | jq -r --argjson rules "$RULES" '
        .packages[] | .name as $crate | .dependencies[]
        | .name as $dep | (.kind // "normal") as $kind
        | if $rules.ours[$dep] then
            if $rules.ours[$crate] == null then
                "\($crate): a crate that scripts/layers.sh does not know yet; give it its place there"
            elif (($rules.test_only | index($dep)) and ($kind != "dev") and ($rules.test_crates | index($crate) | not)) then
                "\($crate) -> \($dep): allowed under [dev-dependencies] only"
            elif (($rules.test_only | index($dep)) | not) and ($rules.ours[$crate] | index($dep) | not) then
                "\($crate) -> \($dep): this import goes the wrong way"
            else empty end
          elif $rules.only_in[$dep] and ($rules.only_in[$dep] | index($crate) | not) then
            "\($crate) -> \($dep): stands in \($rules.only_in[$dep] | if length == 0 then "no crate" else join(" or ") end) only"
          elif $crate == "ocelot-model" and $kind == "normal" and ($rules.never_in_model | index($dep)) then
            "ocelot-model -> \($dep): the rules know no I/O, no async, no clock"
          else empty end' | sort -u
}

# source_offences WHY PATTERN FOLDER: lines of Rust below FOLDER that match, comments left out.
source_offences() {
    local why=$1 pattern=$2 folder=$3
    [[ -d $folder ]] || return 0
    # shellcheck disable=SC2016 # awk's own $0
    find "$folder" -name '*.rs' -print0 | xargs -0 -r awk -v why="$why" -v pattern="$pattern" '
        /^[[:space:]]*\/\// { next }
        $0 ~ pattern { printf "%s:%d: %s   <- %s\n", FILENAME, FNR, $0, why }'
}

offences() {
    set -e
    manifest_offences
    local server=crates/ocelot-server/src
    source_offences "the rules know no I/O, no async, no clock" \
        'std::(fs|net|process|env|thread)(::|;)|(SystemTime|Instant|Timestamp|Zoned)::now[(]|async fn' crates/ocelot-model/src
    source_offences "http/ does not call grpc/" 'crate::grpc(::|;)' $server/http
    source_offences "grpc/ does not call http/" 'crate::http(::|;)' $server/grpc
    source_offences "builds/ knows no HTTP" 'StatusCode|axum::|crate::http(::|;)' $server/builds
}

found=$(offences)
if [[ -n $found ]]; then
    printf '%s\n' "$found"
    say "imports go the wrong way: see ARCHITECTURE.md, \"Crates\""
    exit 1
fi
say "layers: imports go one way"
