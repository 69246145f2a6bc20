#!/usr/bin/env bash
# Everything that must hold before a change is done: the form of the code, its lints, the scripts, and all tests.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*" >&2; }

step 'format'
cargo fmt --check

step 'lints'
cargo clippy --locked --all-targets -- -D warnings

step 'scripts'
if command -v shellcheck >/dev/null; then
    shellcheck deploy.sh .ci/run tools/*.sh tools/fuzz/run.sh
else
    echo 'skipped: shellcheck is not installed' >&2
fi

step 'dependencies'
tools/deny.sh

step 'tests'
cargo test

step 'faults on real nodes'
if command -v python3 >/dev/null; then
    tools/chaos/run self-test
    tools/upgrade/run self-test
    tools/chaos/run faults --for 60s --canary "${CARGO_TARGET_DIR:-target}/debug/canary"
else
    echo 'skipped: python3 is not installed' >&2
fi
