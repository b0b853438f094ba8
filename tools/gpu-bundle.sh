#!/usr/bin/env bash
# Puts everything that a GPU host needs to test and time drg into the folder `bundle`, below 60 MiB: no Rust, no compiler and no
# sources are needed there. Here it takes a Rust toolchain and nvcc (CONTRIBUTING.md says how to get one), and no GPU.
#
#   DRG_NVCC=.../nvcc tools/gpu-bundle.sh [FOLDER]     build; FOLDER is `bundle` if it is not given
#   bundle/run.sh test|bench|sanitize                  on the GPU host: Linux, no older glibc than here
#
# DRG_CUDA_ARCHS chooses the GPUs, 80,90a if it is not set. Fixtures of whole models come along from DRG_SHARED or ../shared
# where they are there.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-bundle}
export DRG_REQUIRE_CUDA=1 DRG_CUDA_ARCHS=${DRG_CUDA_ARCHS:-80,90a}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
cargo build --release --locked --bin drg
cargo test --release --locked --no-run --lib --test devices --test parity --test train 2>&1 | tee "$log"

executable() { # executable SOURCE NAME: the test program of that source, under that name, without symbols
    local path
    path=$(sed -n "s|^ *Executable .*$1 (\(.*\))\$|\1|p" "$log")
    [ -f "$path" ] || { echo "tools/gpu-bundle.sh: cargo made no test program of $1" >&2; exit 1; }
    strip -o "$scratch/tests/$2" "$path"
}

rm -rf "$folder"
mkdir -p "$folder/fixtures" "$scratch/tests"
executable src/lib.rs unit
executable tests/devices.rs devices
executable tests/parity.rs parity
executable tests/train.rs train
# Each of them holds all kernels: a packer with a window wide enough to see that. run.sh unpacks them.
tar -C "$scratch/tests" -c . | xz -9 >"$folder/tests.tar.xz"
strip -o "$folder/drg" target/release/drg
cp tools/bundle/run.sh "$folder/run.sh"
chmod +x "$folder/run.sh"
shared=${DRG_SHARED:-../shared}
for name in 01_baseline 01b_baseline_padded 02_attention 03_multihead 12a_train_sgd 12b_train_adamw; do
    [ -d "$shared/fixtures/$name" ] && cp -r "$shared/fixtures/$name" "$folder/fixtures/"
done
for path in "$shared"/fixtures/09*; do
    [ -d "$path" ] && cp -r "$path" "$folder/fixtures/"
done
chmod -R u+w "$folder"
{
    printf 'drg %s\n' "$(git describe --always --dirty 2>/dev/null || echo 'of no repository')"
    "$folder/drg" devices | grep '^GPU kernels'
    ldd --version 2>/dev/null | sed -n 1p
} >"$folder/VERSION"

kib=$(du -sk "$folder" | cut -f 1)
cat "$folder/VERSION"
printf '%s: %s MiB\n' "$folder" $(((kib + 1023) / 1024))
if [ "$kib" -gt $((60 * 1024)) ]; then
    echo "tools/gpu-bundle.sh: more than 60 MiB; compile for fewer GPUs (DRG_CUDA_ARCHS)" >&2
    exit 1
fi
