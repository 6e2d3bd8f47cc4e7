#!/usr/bin/env bash
# Runs the OSS clients of other projects against local-oss and prints a table of the results: `tests/clients/run.sh`.
# Fails if a step fails. A client whose runtime or packages are not available is skipped, and the table says why.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "${CARGO_TARGET_DIR:=$root/target}"
CARGO_TARGET_DIR=$(cd "$CARGO_TARGET_DIR" && pwd)
export CARGO_TARGET_DIR
# Installed packages are kept for the next run.
work=$CARGO_TARGET_DIR/clients
log=$work/log
mkdir -p "$work"
: >"$log"

oss2=2.19.1
oss_v2=1.4.1
ali_oss=6.23.0 # The versions of the Rust clients are in rust/Cargo.toml.

columns=(put multipart list_parts abort list_uploads read_back list_objects delete delete_many signed_url)
rows=()
failed=0
why=

# No client takes longer than this, unless it hangs.
limited() {
    if command -v timeout >/dev/null; then timeout 300 "$@"; else "$@"; fi
}

# Each of these functions prepares a runtime; if that fails, "why" has the reason.
prepare_python() {
    local venv=$work/python
    python=$venv/bin/python
    [[ -e $venv/has-$oss2-$oss_v2 ]] && return
    why='python3 is not installed'
    command -v python3 >>"$log" || return
    why='python3 cannot create a venv'
    python3 -m venv --clear "$venv" >>"$log" 2>&1 || return
    why='pip cannot install it'
    limited "$python" -m pip install --quiet --disable-pip-version-check --retries 1 \
        "oss2==$oss2" "alibabacloud-oss-v2==$oss_v2" >>"$log" 2>&1 || return
    : >"$venv/has-$oss2-$oss_v2"
}

prepare_node() {
    export NODE_PATH=$work/node/node_modules
    why='node 18 or later is not installed'
    node --eval fetch >>"$log" 2>&1 || return
    [[ $(node --print "require('ali-oss/package.json').version" 2>>"$log") == "$ali_oss" ]] && return
    why='npm is not installed'
    command -v npm >>"$log" || return
    why='npm cannot install it'
    mkdir -p "$work/node"
    limited npm install --prefix "$work/node" --no-save --no-audit --no-fund --silent \
        --fetch-retries 1 --fetch-retry-mintimeout 1000 --fetch-timeout 30000 "ali-oss@$ali_oss" >>"$log" 2>&1
}

prepare_rust() {
    local manifest=(--quiet --locked --manifest-path "$here/rust/Cargo.toml")
    why='cargo cannot fetch it'
    cargo fetch "${manifest[@]}" >>"$log" 2>&1 || return
    cargo build "${manifest[@]}" --target-dir "$work/rust" >"$work/build" 2>&1 && return
    why='rustc is too old for it'
    grep -q 'requires rustc\|is not supported by the following package' "$work/build" && return 1
    why='it does not build'
    cat "$work/build" >&2
    failed=1
    return 1
}

# NAME SIGN COMMAND...: runs a client, which prints its version and `STEP ok` or `STEP FAILED`, and adds a row.
run() {
    local name=$1 sign=$2 status=0 row column result
    shift 2
    limited "$@" "$endpoint" "$sign" ${client:+"$client"} >"$work/steps" 2>"$work/errors" || status=$?
    row=$(printf '%-28s%-6s' "$name $(awk '$1 == "version" { print $2 }' "$work/steps")" "$sign")
    for column in "${columns[@]}"; do
        result=$(awk -v column="$column" '$1 == column { print $2 }' "$work/steps")
        # A missing step is one that the client does not support, unless the client has failed.
        [[ -z $result && $status != 0 ]] && result=FAILED
        row+=$(printf "%-$((${#column} + 2))s" "${result:--}")
        if [[ $result == FAILED ]]; then failed=1; fi
    done
    rows+=("${row%"${row##*[! ]}"}")
    if [[ $row == *FAILED* ]]; then
        echo "--- $name $sign" >&2
        cat "$work/errors" >&2
    fi
}

skip() {
    rows+=("$(printf '%-28sskipped: %s' "$1" "$why")")
}

cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --package local-oss
data=$(mktemp -d "$work/data.XXXXXX")
"$CARGO_TARGET_DIR/debug/local-oss" --port 0 --dir "$data" >"$work/server" 2>"$work/requests" &
server=$!
trap '[[ -z $server ]] || kill "$server" || true; rm -rf "$data"' EXIT
for ((tries = 0; tries < 100; tries++)); do
    endpoint=$(awk '$1 == "endpoint" { print $2 }' "$work/server")
    [[ -n $endpoint ]] && break
    sleep 0.1
done
if [[ -z $endpoint ]]; then
    echo 'local-oss did not start:' >&2
    cat "$work/requests" >&2
    exit 1
fi
# The server is on this machine, and no proxy must be used for it.
export no_proxy="${no_proxy:+$no_proxy,}127.0.0.1,localhost" NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost"

if prepare_python; then
    run oss2 V4 "$python" "$here/python_v1.py"
    run oss2 V1 "$python" "$here/python_v1.py"
    run alibabacloud-oss-v2 V4 "$python" "$here/oss_v2.py"
    run alibabacloud-oss-v2 V1 "$python" "$here/oss_v2.py"
else
    skip oss2
    skip alibabacloud-oss-v2
fi
if prepare_node; then
    run ali-oss V4 node "$here/ali_oss.mjs"
    run ali-oss V1 node "$here/ali_oss.mjs"
else
    skip ali-oss
fi
if prepare_rust; then
    client=opendal run opendal V1 "$work/rust/debug/rust-clients"
    client=ali-oss-rs run ali-oss-rs V4 "$work/rust/debug/rust-clients"
else
    skip opendal
    skip ali-oss-rs
fi

kill "$server"
if ! wait "$server"; then
    echo 'local-oss exited with an error' >&2
    failed=1
fi
server=

printf '%-28s%-4s' client sign
for column in "${columns[@]}"; do printf '  %s' "${column//_/ }"; done
printf '\n'
printf '%s\n' "${rows[@]}"
if ((failed)); then echo "FAILED; see also $work/requests" >&2; fi
exit "$failed"
