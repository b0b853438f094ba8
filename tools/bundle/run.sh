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
cd "$(mktemp -d)"
case $what in
test)
    if [ $# != 0 ]; then
        exec "$here/unit" "$threads" "$@"
    fi
    failed=()
    step() { # step PROGRAM ARGUMENT...: all run, whatever fails
        printf '\n=== %s\n' "$*"
        "$here/$1" "$threads" "${@:2}" || failed+=("$1")
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
    exec "$here/drg" bench gpu "$@"
    ;;
sanitize)
    command -v compute-sanitizer >/dev/null || {
        echo "run.sh: no compute-sanitizer in PATH; it comes with the CUDA toolkit" >&2
        exit 1
    }
    [ $# != 0 ] || set -- memcheck
    for tool; do
        printf '\n=== %s\n' "$tool"
        # A kernel at a time, so that what is found is found in the right one.
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$here/unit" --test-threads=1 ops:: tape::
    done
    ;;
*) usage ;;
esac
