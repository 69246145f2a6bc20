#!/usr/bin/env bash
# Starts one node of the mesh in the foreground: ./deploy.sh coordinator|participant_b|participant_c …
# It checks what a person forgets first, finds or builds `canary`, and becomes `canary node`, so that signals and exit
# codes are the node's own. What is wrong with the values themselves, `canary node` says.
set -euo pipefail

readonly EXIT_FAILED=1 EXIT_USAGE=2 EXIT_CONFIGURATION=78
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here

usage() {
    cat <<'TEXT'
Usage: ./deploy.sh ROLE [ARGUMENTS OF canary node]

Starts one node in the foreground. Ctrl-C or SIGTERM stops it cleanly.

  ROLE   coordinator (node-a), participant_b (node-b), participant_c (node-c) … participant_z

It reads ./cluster.env if it is there: lines NAME=value with PEERS_NODE_A, PEERS_NODE_B …, CANARY_… or RUST_…;
what is set in the environment already goes first. Certificates are in ./certs, or where CANARY_CERTS or --certs says.
The program is CANARY_BIN, else target/release/canary, else `canary` in PATH, else it is built with cargo.

Examples:
  PEERS_NODE_A=192.168.1.10 PEERS_NODE_B=192.168.1.20 PEERS_NODE_C=192.168.1.30 ./deploy.sh coordinator
  ./deploy.sh participant_b --data /var/lib/canary
TEXT
}

say() { printf 'deploy.sh: %s\n' "$*" >&2; }

# fail CODE MESSAGE HINT…
fail() {
    local code=$1
    printf 'error: %s\n' "$2" >&2
    shift 2
    [[ $# -eq 0 ]] || printf 'hint: %s\n' "$@" >&2
    exit "$code"
}

# The letter of a role word, in lower case.
letter_of() {
    case $1 in
        coordinator) printf 'a' ;;
        participant_[b-z]) printf '%s' "${1#participant_}" ;;
        *) return 1 ;;
    esac
}

# Reads NAME=value lines and runs nothing: no expansion, no commands.
read_cluster_env() {
    local file=$1 line name value number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        line=${line%$'\r'}
        line=${line#"${line%%[![:space:]]*}"}
        [[ -n $line && $line != '#'* ]] || continue
        line=${line#export }
        name=${line%%=*}
        if [[ $line != *=* || ! $name =~ ^[A-Z][A-Z0-9_]*$ ]]; then
            fail $EXIT_CONFIGURATION "$file line $number is not NAME=value" "write it as PEERS_NODE_A=192.168.1.10"
        fi
        if [[ ! $name =~ ^(PEERS_NODE|CANARY|RUST)_[A-Z0-9_]+$ ]]; then
            fail $EXIT_CONFIGURATION "$file line $number sets $name, which no node reads" \
                "only PEERS_NODE_…, CANARY_… and RUST_… belong there"
        fi
        value=${line#*=}
        value=${value%"${value##*[![:space:]]}"}
        case $value in
            \"*\") value=${value#\"} value=${value%\"} ;;
            \'*\') value=${value#\'} value=${value%\'} ;;
            *[[:space:]]'#'*) value=${value%%[[:space:]]#*} value=${value%"${value##*[![:space:]]}"} ;;
        esac
        case $value in
            *'$'* | *'`'*)
                fail $EXIT_CONFIGURATION "$file line $number: $name has a \$ or \`, and nothing is expanded there" \
                    "write the value itself"
                ;;
        esac
        # What the caller set goes first.
        [[ -n ${!name+set} ]] || export "$name=$value"
    done <"$file"
}

# Gaps and missing members; what an address may look like, `canary node` knows.
check_peers() {
    local own=$1 letter variable last='' missing='' count=0
    for letter in A B C D E F G H I J K L M N O P Q R S T U V W X Y Z; do
        variable=PEERS_NODE_$letter
        if [[ -z ${!variable+set} ]]; then
            [[ -n $missing ]] || missing=$variable
            continue
        fi
        [[ -n ${!variable} ]] || fail $EXIT_CONFIGURATION "$variable is empty" "set it to that machine's address"
        [[ -z $missing ]] || fail $EXIT_CONFIGURATION "$variable is set but $missing is not" \
            "set all of them on every machine, without gaps: PEERS_NODE_A, PEERS_NODE_B, PEERS_NODE_C …"
        last=$letter
        count=$((count + 1))
    done
    [[ $count -gt 0 ]] || return 0
    [[ $count -ge 3 ]] || fail $EXIT_CONFIGURATION "only $count of at least 3 members are set" \
        "set PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C, in the environment or in ./cluster.env"
    variable=PEERS_NODE_$(printf '%s' "$own" | tr '[:lower:]' '[:upper:]')
    [[ -n ${!variable+set} ]] || fail $EXIT_CONFIGURATION \
        "this node's own address, $variable, is not set; the last one is PEERS_NODE_$last" \
        "set $variable on every machine, or start this one in another role"
}

# The certificate directory: --certs among the arguments, else CANARY_CERTS, else ./certs.
certs_dir() {
    local dir=${CANARY_CERTS:-./certs}
    while [[ $# -gt 0 ]]; do
        case $1 in
            --certs=*) dir=${1#--certs=} ;;
            --certs) dir=${2:-$dir} ;;
        esac
        shift
    done
    printf '%s' "$dir"
}

check_certificates() {
    local certs=$1 node=$2 file
    if [[ ! -d $certs/$node ]]; then
        fail $EXIT_CONFIGURATION "there are no certificates for $node: $certs/$node is missing" \
            "once per cluster, on one machine: set PEERS_NODE_A, PEERS_NODE_B, PEERS_NODE_C and run \`canary pki init\`" \
            "then copy them here: scp -r THAT_MACHINE:…/certs/ca.pem THAT_MACHINE:…/certs/$node $certs/"
    fi
    for file in node.pem node.key bundle.json; do
        [[ -e $certs/$node/$file ]] || fail $EXIT_CONFIGURATION "$certs/$node/$file is missing" \
            "copy the whole folder again from where \`canary pki init\` ran: scp -r THAT_MACHINE:…/certs/$node $certs/"
    done
    for file in ca.pem crl.pem; do
        [[ -e $certs/$node/$file || -e $certs/$file ]] || fail $EXIT_CONFIGURATION "$certs/$file is missing" \
            "copy it from where \`canary pki init\` ran: scp THAT_MACHINE:…/certs/$file $certs/"
    done
}

# Says who holds the node's ports. The node itself waits for them, and gives up with an error.
note_held_ports() {
    local port held
    command -v ss >/dev/null || return 0
    for port in "$@"; do
        held=$(ss -Htanp "sport = :$port" 2>/dev/null | grep -v '^TIME-WAIT' | head -n 3) || true
        [[ -z $held ]] || say "port $port is in use on this machine, perhaps by another node's address:"$'\n'"$held"
    done
}

built_is_fresh() {
    local built=$1
    [[ -x $built ]] || return 1
    [[ -f $here/Cargo.toml ]] || return 0
    [[ -z $(find "$here/src" "$here/Cargo.toml" "$here/Cargo.lock" -newer "$built" -print -quit 2>/dev/null) ]]
}

# Sets `canary` to the program to run.
find_program() {
    local built=${CARGO_TARGET_DIR:-$here/target}/release/canary
    if [[ -n ${CANARY_BIN:-} ]]; then
        [[ -f $CANARY_BIN && -x $CANARY_BIN ]] ||
            fail $EXIT_CONFIGURATION "CANARY_BIN is $CANARY_BIN, which is no program" "unset it, or name the canary binary"
        canary=$CANARY_BIN
    elif built_is_fresh "$built"; then
        canary=$built
    elif [[ ! -e $built ]] && command -v canary >/dev/null; then
        canary=$(command -v canary)
    elif [[ -f $here/Cargo.toml ]] && command -v cargo >/dev/null; then
        say "building canary; the first time this takes some minutes"
        cargo build --release --locked --manifest-path "$here/Cargo.toml" >&2 ||
            fail $EXIT_FAILED "canary cannot be built" "the compiler's message is above"
        canary=$built
    elif [[ -x $built ]]; then
        say "$built is older than its sources, and there is no cargo to build it anew; it is used as it is"
        canary=$built
    else
        fail $EXIT_CONFIGURATION "there is no canary program, and no cargo to build it" \
            "install Rust (https://rustup.rs) or put the program into PATH, or name it with CANARY_BIN"
    fi
}

main() {
    case ${1:-} in
        -h | --help)
            usage
            exit 0
            ;;
    esac
    local role=${1:-} letter index certs
    if ! letter=$(letter_of "$role"); then
        usage >&2
        fail $EXIT_USAGE "${role:-no word} is not a role" "use coordinator, participant_b, participant_c …"
    fi
    shift
    [[ ! -e ./cluster.env ]] || read_cluster_env ./cluster.env
    check_peers "$letter"
    certs=$(certs_dir "$@")
    check_certificates "$certs" "node-$letter"
    find_program
    index=$(printf '%d' "'$letter")
    note_held_ports $((60001 + index - 97)) $((50051 + index - 97))
    say "starting node-$letter: $canary node $role"
    exec "$canary" node "$role" "$@"
}

main "$@"
