#!/usr/bin/env bash
# Tests and times drg on this machine's GPU with what lies beside this file; nothing else is needed. A missing GPU is a failure,
# not a skip. What the programs write goes to a folder of its own, or where a command says.
#
#   ./run.sh test [NAME...]       every case of every operation on the GPU against the CPU, whole models, training; NAMEs of
#                                 operations (ops::conv1d) leave out the rest
#   ./run.sh bench [ARGUMENT...]  drg bench gpu ARGUMENT..., e.g. --json, --what ops, --against torch --compile
#   ./run.sh sanitize [TOOL...]   the cases of all operations under NVIDIA's compute-sanitizer: memcheck if no TOOL is named;
#                                 racecheck, initcheck, synccheck
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export DRG_REQUIRE_GPU=1 DRG_PROGRAM="$here/drg" DRG_SHARED="$here"
# Tests share the GPU; more threads only wait for each other, and take memory.
threads=--test-threads=${DRG_TEST_THREADS:-4}

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}

[ $# -ge 1 ] || usage
what=$1
shift
cat "$here/VERSION" >&2
"$here/drg" devices >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

unpack() {
    mkdir tests
    if command -v xz >/dev/null; then
        xz -dc "$here/tests.tar.xz"
    else
        python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$here/tests.tar.xz"
    fi | tar -C tests -x
}

case $what in
test)
    unpack
    if [ $# != 0 ]; then
        tests/unit "$threads" "$@"
        exit
    fi
    failed=()
    step() { # step PROGRAM ARGUMENT...: all run, whatever fails
        printf '\n=== %s\n' "$*"
        "tests/$1" "$threads" "${@:2}" || failed+=("$1")
    }
    step unit ops:: tape:: device:: tensor:: nn:: engine::mutate:: engine::bench::gpu
    step devices
    step parity gpu
    step train gpu
    if [ ${#failed[@]} != 0 ]; then
        printf '\nFAILED: %s\n' "${failed[*]}" >&2
        exit 1
    fi
    ;;
bench)
    "$here/drg" bench gpu "$@"
    ;;
sanitize)
    command -v compute-sanitizer >/dev/null || {
        echo "run.sh: no compute-sanitizer in PATH; it comes with the CUDA toolkit" >&2
        exit 1
    }
    [ $# != 0 ] || set -- memcheck
    unpack
    for tool; do
        printf '\n=== %s\n' "$tool"
        # A kernel at a time, so that what is found is found in the right one.
        compute-sanitizer --tool "$tool" --error-exitcode 9 tests/unit --test-threads=1 ops:: tape::
    done
    ;;
*) usage ;;
esac
