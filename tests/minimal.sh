#!/usr/bin/env bash
# The library builds, and its unit tests pass, with the oldest releases that Cargo.toml allows. In a copy: the lock file stays.
#
# It needs a nightly toolchain. Without one it only says so.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! rustup toolchain list | grep -q '^nightly'; then
    echo 'minimal versions: skipped, because there is no nightly toolchain'
    exit 0
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r src README.md "$copy"
# The library alone: what the tests and the workspace's other members want is not what users get.
awk '/^\[/ { skip = ($0 == "[dev-dependencies]") } /^(members|default-members) =/ { next } !skip' Cargo.toml >"$copy/Cargo.toml"
cd "$copy"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$OLDPWD/target}/minimal
cargo +nightly -Z direct-minimal-versions generate-lockfile --quiet
cargo tree -e normal --depth 1
for features in '' rustls native-tls platform-verifier credential-providers; do
    cargo check --lib --no-default-features --features "$features"
done
cargo test --lib
