#!/usr/bin/env bash
# Fuzzes every target, or those that are named, guided by coverage: tools/fuzz/run.sh [SECONDS [TARGET…]].
# Needs a nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz`). What it learns stays in tools/fuzz/corpus, what it
# finds in tools/fuzz/artifacts; `cargo +nightly fuzz run --fuzz-dir tools/fuzz -s none TARGET FILE` repeats a finding.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

readonly seconds=${1:-600}
targets=("${@:2}")
if [[ ${#targets[@]} -eq 0 ]]; then
    readarray -t targets < <(cargo +nightly fuzz list --fuzz-dir tools/fuzz)
fi

# Safe code has no use for the sanitizers; what they cost is better spent on inputs.
readonly fuzz=(--fuzz-dir tools/fuzz --sanitizer none)
cargo +nightly fuzz build "${fuzz[@]}"
failed=()
for target in "${targets[@]}"; do
    mkdir -p "tools/fuzz/corpus/$target"
    log=tools/fuzz/corpus/$target.log
    if cargo +nightly fuzz run "${fuzz[@]}" "$target" "tools/fuzz/corpus/$target" "tools/fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=64 -print_final_stats=1 \
        >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        covered=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        echo "$target: nothing found in $seconds s, $runs runs, $covered"
    else
        failed+=("$target")
        echo "$target: see $log and tools/fuzz/artifacts/$target" >&2
    fi
done
[[ ${#failed[@]} -eq 0 ]]
