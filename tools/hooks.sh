#!/usr/bin/env bash
# Whether a program knows of the points at which tests end a node: none that ships may.
#
#   tools/hooks.sh target/release/canary   looks for their variable and their names in this program
#   tools/hooks.sh                         looks in two builds of the present tree: one with debug assertions, which must know of
#                                          every point, and one without, which must know of none
#
# Both share the dependencies that `cargo test` has built, so that only this project's own code is compiled, and not optimised. What
# decides whether a point is compiled in is the same as in a release build: whether debug assertions are on.
set -euo pipefail

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

program=${1:+$(realpath -- "$1")}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# The text between quotes of the variable, and of names that are two words: `send` alone may be anybody's.
readonly points=src/crash/armed.rs
readarray -t words < <(sed -nE 's/^const VARIABLE: &str = "(.*)";$/\1/p; s/^ *Self::\w+ => "(\w+-\w+)",$/\1/p' "$points")
[[ ${#words[@]} -ge 19 ]] || fail "only ${#words[@]} names were found in $points: this looks in the wrong place"

# Prints those of the words that are in the program.
known() {
    local word
    for word in "${words[@]}"; do
        ! grep -qaF -e "$word" -- "$1" || echo "$word"
    done
}

# Ends this where the program knows of a point.
must_know_none() {
    local found
    found=$(known "$1" | paste -sd ' ')
    [[ -z $found ]] || fail "$1 knows of crash points: $found"
    echo "$1 knows of none of ${#words[@]} words of crash points"
}

if [[ -n $program ]]; then
    must_know_none "$program"
    exit
fi

readonly built=${CARGO_TARGET_DIR:-target}/debug/canary
# A test of the program brings the program, out of the dependencies that all tests share.
readonly build=(cargo test --locked --no-run --test house)
"${build[@]}" --config profile.dev.opt-level=0 --config profile.dev.debug-assertions=false \
    --config 'profile.dev.package."*".debug-assertions=true'
# Not where the next one would look for a program with crash points.
unarmed=$(dirname -- "$built")/canary-without-debug-assertions
mv -- "$built" "$unarmed"
must_know_none "$unarmed"

"${build[@]}"
readarray -t found < <(known "$built")
[[ ${#found[@]} -eq ${#words[@]} ]] ||
    fail "$built has debug assertions and knows of ${#found[@]} words of ${#words[@]} only: this cannot find them"
