#!/usr/bin/env bash
# Whether a program knows of the points at which tests end a node: none that ships may.
#
#   tools/hooks.sh target/release/canary   looks for their variable and their names in this program
#   tools/hooks.sh                         looks in the room that has them, built without debug assertions: it must know of none,
#                                          nor may another room; and in the program of the tests, which must know of all
#
# The room decides whether a point is compiled in, for itself and for all who call it, by whether debug assertions are on. The
# nightly command looks in the program that ships.
set -euo pipefail

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

program=${1:+$(realpath -- "$1")}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# The text between quotes of the variable, and of names that are two words: `send` alone may be anybody's.
readonly points=src/crash/armed.rs
readarray -t words < <(sed -nE 's/^pub\(super\) const VARIABLE: &str = "(.*)";$/\1/p; s/^ *Self::\w+ => "(\w+-\w+)",$/\1/p' "$points")
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

elsewhere=$(for word in "${words[@]}"; do grep -rlF --include='*.rs' -e "\"$word\"" src || true; done | sort -u | sed "\\|^$points\$|d")
[[ -z $elsewhere ]] || fail "names of crash points are in $elsewhere, too: they belong into $points"

readonly target=${CARGO_TARGET_DIR:-target}
CARGO_TARGET_DIR=$target/hooks cargo build --locked --quiet --package crash --config profile.dev.debug-assertions=false
must_know_none "$target/hooks/debug/libcrash.rlib"

# A test of the program brings the program.
readonly built=$target/debug/canary
cargo test --locked --quiet --no-run --test house
readarray -t found < <(known "$built")
[[ ${#found[@]} -eq ${#words[@]} ]] ||
    fail "$built has debug assertions and knows of ${#found[@]} words of ${#words[@]} only: this cannot find them"
