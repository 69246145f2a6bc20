#!/usr/bin/env bash
# What takes too long for every change, one part after the other: about three hours on two processors. Red if any part is.
#
#   tools/nightly.sh                 everything, with seeds of today
#   tools/nightly.sh 20261129        everything, with the seeds of that day
#   tools/nightly.sh --only NAME     one part; may be given more than once
#
# Parts, with the minutes after which each is ended and counts as red:
#
#   release        30  the program that ships is built, and knows of no crash point
#   searches       90  every interleaving within the larger budgets
#   simulation     30  a million schedules of the whole system
#   crash-points   60  every node, killed at every passing of every step
#   chaos          15  ten minutes of faults on three nodes of the release build (root)
#   upgrade        30  three nodes from 0.1.0 to the present program, and back
#   powercut       30  200 power cuts in mid-commit (root)
#
# The output of each part is kept in target/nightly. Programs that are needed: tests/README.md.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

readonly parts=(release searches simulation crash-points chaos upgrade powercut)
only=()
seed=$(date +%Y%m%d)
while [[ $# -gt 0 ]]; do
    case $1 in
        --only)
            [[ " ${parts[*]} " == *" ${2:-} "* ]] || fail "--only: there is no part ${2:-}: use ${parts[*]}"
            only+=("$2")
            shift 2
            ;;
        *)
            [[ $1 =~ ^[1-9][0-9]{0,8}$ ]] || fail "$1 is no seed: a number such as 20261129; or --only NAME"
            seed=$1
            shift
            ;;
    esac
done
readonly target=${CARGO_TARGET_DIR:-target} seed only
readonly logs=$target/nightly program=$target/release/canary
mkdir -p "$logs"

# Everything that a part started ends with this, too.
running=
trap '[[ -z $running ]] || kill "$running" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

table=()
red=0

# part NAME MINUTES WORDS COMMAND…: runs a part, whose output must have a line with WORDS, an extended regular expression.
part() {
    local name=$1 minutes=$2 words=$3
    shift 3
    [[ ${#only[@]} -eq 0 || " ${only[*]} " == *" $name "* ]] || return 0
    local log=$logs/$name.log began=$SECONDS code=0 verdict=held
    printf '\n== %s: %s\n' "$name" "$*"
    # In a group of its own, which the signal at the end of its time reaches as a whole.
    timeout --kill-after=60 "${minutes}m" "$@" </dev/null >"$log" 2>&1 &
    running=$!
    wait "$running" || code=$?
    running=
    if [[ $code -eq 124 || $code -eq 137 ]]; then
        verdict="RED: not over after $minutes minutes"
    elif [[ $code -ne 0 ]]; then
        verdict="RED: ended with $code"
    elif ! grep -qE -e "$words" "$log"; then
        verdict="RED: it did nothing: no line has $words"
    fi
    if [[ $verdict == held ]]; then
        tail -n 4 "$log"
    else
        red=1
        tail -n 40 "$log"
    fi
    echo "$verdict, $((SECONDS - began)) s, $log"
    table+=("$(printf '%-14s %7d  %s' "$name" "$((SECONDS - began))" "$verdict")")
}

readonly passed='^test result: ok\. [1-9][0-9]* passed'
# A million schedules of their own for each day.
readonly first_schedule=${seed}000000

echo "seed $seed, schedules from $first_schedule; $(git rev-parse --short HEAD) on $(nproc) processors"
[[ -z ${CANARY_TESTS_WITHOUT:-} ]] || echo "this looks at less than everything: CANARY_TESTS_WITHOUT=$CANARY_TESTS_WITHOUT"

# shellcheck disable=SC2016
part release 30 'knows of none' bash -c 'cargo build --release --locked --bin canary && tools/hooks.sh "$0"' "$program"
part searches 90 "$passed" env CANARY_SEARCH=deep cargo test -p sim --lib -- search::exhaustive search::random --include-ignored --nocapture
part simulation 30 "$passed" env CANARY_SIM_FROM="$first_schedule" CANARY_SIM_SCHEDULES=1000000 \
    cargo test --profile nightly -p sim --lib system::nightly -- --ignored --nocapture
part crash-points 60 "$passed" env CANARY_CRASH_POINTS=all cargo test --test cluster crash_points -- --nocapture
part chaos 15 '^HELD' tools/chaos/run faults --for 10m --seed "$seed" --whole --canary "$program"
part upgrade 30 '^HELD' tools/upgrade/run --seed "$seed"
part powercut 30 '^HELD' tools/powercut --seed "$seed" --binary "$program"

printf '\n%-14s %7s  %s\n' PART SECONDS "seed $seed"
printf '%s\n' "${table[@]}"
exit "$red"
