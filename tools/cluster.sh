#!/usr/bin/env bash
# A local mesh to try things on: three nodes with throw-away certificates, in the foreground until Ctrl-C.
#
#   tools/cluster.sh                 in a new temporary directory, removed at the end
#   tools/cluster.sh DIR             certificates, data and logs in DIR, kept for the next time
#
# PEERS_NODE_A … may name other loopback addresses or more nodes; CANARY_BIN another program.
set -euo pipefail

readonly READY_SECONDS=20 STOP_SECONDS=5
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

canary=${CANARY_BIN:-}
if [[ -z $canary ]]; then
    cargo build --release --locked --manifest-path "$root/Cargo.toml" >&2
    canary=${CARGO_TARGET_DIR:-$root/target}/release/canary
fi
[[ -x $canary ]] || fail "$canary is no program: name the canary binary with CANARY_BIN"
canary=$(cd -- "$(dirname -- "$canary")" && pwd)/$(basename -- "$canary")

if [[ $# -gt 0 ]]; then
    dir=$1
    mkdir -p "$dir"
else
    dir=$(mktemp -d "${TMPDIR:-/tmp}/canary-cluster.XXXXXX")
    temporary=$dir
fi
dir=$(cd -- "$dir" && pwd)

if [[ -z ${PEERS_NODE_A+set} ]]; then
    export PEERS_NODE_A=127.0.0.11 PEERS_NODE_B=127.0.0.12 PEERS_NODE_C=127.0.0.13
fi
export CANARY_CERTS=$dir/certs CANARY_DATA=$dir/data

pids=()
stop() {
    trap - EXIT INT TERM
    [[ ${#pids[@]} -eq 0 ]] || kill "${pids[@]}" 2>/dev/null || true
    local deadline=$((SECONDS + STOP_SECONDS)) pid
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null && [[ $SECONDS -lt $deadline ]]; do sleep 0.1; done
        kill -9 "$pid" 2>/dev/null && echo "node with process id $pid had to be killed" >&2
        wait "$pid" 2>/dev/null || true
    done
    [[ -z ${temporary:-} ]] || rm -rf -- "$temporary"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[[ -e $CANARY_CERTS/ca.pem ]] || "$canary" pki init >"$dir/pki.txt" || fail 'canary pki init failed'

for letter in {a..z}; do
    variable=PEERS_NODE_${letter^^}
    [[ -n ${!variable+set} ]] || break
    role=participant_$letter
    [[ $letter != a ]] || role=coordinator
    "$canary" node "$role" >"$dir/node-$letter.log" 2>&1 &
    pids+=($!)
done

deadline=$((SECONDS + READY_SECONDS))
until "$canary" query >"$dir/query.txt" 2>&1; do
    for pid in "${pids[@]}"; do
        kill -0 "$pid" 2>/dev/null || fail "a node has ended: $(tail -qn 2 "$dir"/node-*.log)"
    done
    [[ $SECONDS -lt $deadline ]] || fail "not synchronized after $READY_SECONDS s: $(cat "$dir/query.txt")"
    sleep 0.2
done
cat "$dir/query.txt"
cat <<TEXT

Logs are in $dir/node-*.log. To try, in another terminal:

  export CANARY_CERTS=$CANARY_CERTS $(env | grep '^PEERS_NODE_' | sort | paste -sd ' ')
  $canary query --watch
  $canary rollout set-weight 20 --canary v2
  curl --cacert $CANARY_CERTS/ca.pem https://$PEERS_NODE_A:50051/routing/state
  kill ${pids[-1]}        # the last node; the others go on

Ctrl-C stops all nodes.
TEXT
wait
