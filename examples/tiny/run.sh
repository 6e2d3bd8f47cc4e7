#!/usr/bin/env bash
# Builds the tiny uploader, prints its size, and uploads a file to a local server.
# If the musl target is installed, the binary is static.
#
#   examples/tiny/run.sh [CARGO_OPTION]...    for example --no-default-features
set -euo pipefail
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
target=${host/-gnu/-musl}
[[ -d $(rustc --print sysroot)/lib/rustlib/$target ]] || target=$host
export "CC_${target//-/_}=${CC:-cc}"
binaries=${CARGO_TARGET_DIR:-$PWD/target}
cargo build -q --locked --release --target "$target" "$@"
cargo build -q --locked --manifest-path ../../Cargo.toml -p local-oss
tiny=$binaries/$target/release/tiny
local_oss=${CARGO_TARGET_DIR:-$PWD/../../target}/debug/local-oss
echo "tiny for $target: $(wc -c <"$tiny") bytes"

work=$(mktemp -d)
"$local_oss" --port 0 --dir "$work/oss" --quiet >"$work/output" &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
until grep -q '^Ctrl-C' "$work/output"; do
    kill -0 $server
    sleep 0.05
done
head -c 20000000 /dev/urandom >"$work/file"
# The server prints the environment variables that a client needs.
eval "$(grep '^export' "$work/output")"
OSS_SESSION_TOKEN='' NO_PROXY=127.0.0.1 "$tiny" "$work/file" oss://examplebucket/dir/file
cmp "$work/file" "$work/oss/examplebucket/dir/file"
echo 'the object equals the file'
