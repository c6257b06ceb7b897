#!/bin/sh
# Builds the executable without any shared library and puts it into target/static. Used within the image `ocelot-build`.
set -eu
cd "$(dirname "$0")/.."
# --target is needed: without it the flags would reach the build's own programs, which must be dynamic.
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" -p ocelot
mkdir -p target/static
cp "target/$target/release/ocelot" target/static/ocelot
