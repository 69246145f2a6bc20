#!/usr/bin/env bash
# Everything that must hold before a change is done: the form of the code, its lints, the scripts, all tests, and real nodes under
# faults. What is missing ends it, except what CANARY_TESTS_WITHOUT names (tests/README.md).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS" >&2; }

# Whether this run does not do without NAME; says so otherwise.
wants() {
    local without=${CANARY_TESTS_WITHOUT:-}
    [[ ,${without// /}, == *",$1,"* ]] || return 0
    echo "skipped: this run does without $1 (CANARY_TESTS_WITHOUT)" >&2
    return 1
}

# Ends this where PROGRAM, of Debian's PACKAGE, is wanted and missing.
has() {
    wants "$1" || return 1
    command -v "$1" >/dev/null && return 0
    echo "error: $1 is missing: install Debian's package $2; CANARY_TESTS_WITHOUT=$1 checks without it" >&2
    exit 1
}

step 'format'
cargo fmt --check

step 'lints'
cargo clippy --locked --all-targets -- -D warnings

step 'scripts'
if has shellcheck shellcheck; then
    shellcheck deploy.sh .ci/run tools/*.sh tools/fuzz/run.sh
fi

step 'dependencies'
if wants cargo-deny; then
    tools/deny.sh
fi

step 'tests'
cargo test

step 'crash points'
tools/hooks.sh

step 'faults on real nodes'
if has python3 python3; then
    tools/chaos/run self-test
    tools/upgrade/run self-test
    # Each kind of fault, or none but those that this run does without.
    whole=(--whole)
    for name in faketime mount namespaces; do
        wants "$name" || whole=()
    done
    tools/chaos/run faults --for 60s "${whole[@]}" --canary "${CARGO_TARGET_DIR:-target}/debug/canary"
fi

printf '\n== all of it holds (after %d s)\n' "$SECONDS" >&2
