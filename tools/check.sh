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
