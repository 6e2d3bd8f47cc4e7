#!/usr/bin/env bash
# The public API is what tests/api.txt says, and names no other crate than std.
#
#   tests/api.sh            compares; without its tools it only says so
#   tests/api.sh --strict   the same, but fails without its tools
#   tests/api.sh --update   writes the list again
#
# Its tools: rustup toolchain install nightly --profile minimal; cargo install cargo-public-api --locked
set -euo pipefail
cd "$(dirname "$0")/.."
list=tests/api.txt toolchain=${API_TOOLCHAIN:-nightly}

if ! cargo public-api --version >/dev/null 2>&1 || ! rustup toolchain list | grep -q "^$toolchain"; then
    echo "api: skipped, because cargo-public-api or the toolchain $toolchain is missing; see tests/api.sh"
    [ "${1:-}" != --strict ]
    exit
fi

now=$(mktemp)
trap 'rm -f "$now"' EXIT
# The documentation pages are not part of the API.
cargo "+$toolchain" public-api -p oss-upload -sss --color never | grep -v '^pub mod oss_upload::docs' >"$now"

foreign=$(grep -oE '(^|[^:A-Za-z0-9_])[a-z_][a-z0-9_]*::' "$now" | grep -oE '[a-z_][a-z0-9_]*' | sort -u |
    grep -vE '^(alloc|core|std|oss_upload)$' || true)
if [ -n "$foreign" ]; then
    echo "api: types of other crates are in the public API:" $foreign >&2
    exit 1
fi
if [ "${1:-}" = --update ]; then
    cp "$now" "$list"
elif ! diff -u "$list" "$now"; then
    echo "api: the public API is another one than $list says. If that is meant: tests/api.sh --update, and a word in CHANGELOG.md" >&2
    exit 1
fi
