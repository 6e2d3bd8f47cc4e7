#!/usr/bin/env bash
# Builds the program of the README with minimal size, in each variant, and prints sizes and crates. Fails if one has grown
# by more than a tenth, or if a proc-macro is in the normal dependency tree. `tests/bench/sizes.sh [WORK_DIRECTORY]`
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-${CARGO_TARGET_DIR:-$root/target}/sizes}

# Bytes as last measured, and crates without the program itself.
limits='
no-tls        970120 37
tls          1966608 47
static       2978832 47
musl-no-tls  1090240 37
musl         2085640 47
'

mkdir -p "$work/src"
cp "$root/Cargo.lock" "$work/"
# The first program in the README.
awk '/^```rust/ { inside = 1; next } inside && /^```/ { exit } inside' "$root/README.md" >"$work/src/main.rs"
cat >"$work/Cargo.toml" <<EOF
[package]
name = "small"
version = "0.0.0"
edition = "2024"
[dependencies]
oss-upload = { path = "$root", default-features = false }
[features]
tls = ["oss-upload/rustls"]
[profile.release]
opt-level = "z"
lto = true
codegen-units = 1
panic = "abort"
strip = true
[workspace]
EOF

# VARIANT TARGET FEATURES RUSTFLAGS
build() {
    local target_dir=$work/target
    RUSTFLAGS=$4 CARGO_TARGET_DIR=$target_dir cargo build -q --release --manifest-path "$work/Cargo.toml" --target "$2" --features "$3"
    tree=$(cargo tree --manifest-path "$work/Cargo.toml" --target "$2" -e normal --prefix none --features "$3")
    if grep -F '(proc-macro)' <<<"$tree"; then
        echo "$1: a proc-macro is in the normal dependency tree" >&2
        return 1
    fi
    crates=$(awk '{ print $1, $2 }' <<<"$tree" | sort -u | grep -vc '^small ')
    size=$(wc -c <"$target_dir/$2/release/small")
    read -r limit crates_max < <(awk -v variant="$1" '$1 == variant { print $2, $3 }' <<<"$limits")
    printf '%-12s %9d bytes %3d crates\n' "$1" "$size" "$crates"
    if ((size * 10 > limit * 11 || crates > crates_max)); then
        echo "$1: more than a tenth over $limit bytes, or more than $crates_max crates" >&2
        return 1
    fi
}

host=$(rustc -vV | sed -n 's/^host: //p')
failed=0
build no-tls "$host" '' '' || failed=1
build tls "$host" tls '' || failed=1
build static "$host" tls '-C target-feature=+crt-static' || failed=1
musl=${host/-gnu/-musl}
if [[ -d $(rustc --print sysroot)/lib/rustlib/$musl && $musl != "$host" ]]; then
    export "CC_${musl//-/_}=${CC:-cc}"
    build musl-no-tls "$musl" '' '' || failed=1
    build musl "$musl" tls '' || failed=1
else
    echo "musl         skipped: its target is not installed (rustup target add $musl)"
fi
exit $failed
