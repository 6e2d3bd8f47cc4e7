#!/usr/bin/env bash
# The library builds, and its unit tests pass, with the newest ureq that Cargo.toml allows. In a copy: the lock file stays.
#
# src/transport/http uses ureq::unversioned, which may change with a minor release of ureq. It takes a network.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r src README.md Cargo.lock "$copy"
# The library alone, as in minimal.sh.
awk '/^\[/ { skip = ($0 == "[dev-dependencies]") } /^(members|default-members) =/ { next } !skip' Cargo.toml >"$copy/Cargo.toml"
cd "$copy"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$OLDPWD/target}/newest
cargo update --quiet -p ureq
cargo tree -e normal --depth 1 | grep ureq
for features in '' rustls native-tls platform-verifier; do
    cargo check --lib --no-default-features --features "$features"
done
cargo test --lib transport
