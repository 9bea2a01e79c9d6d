#!/bin/sh
# Makes what docker-compose.yml mounts as secrets, in the folder `secrets`; what is there already stays as it is.
#
#   deploy/make-secrets.sh https://rpc.example.com/?api-key=...
#
# The folder is closed to others (0700). The files in it are not (0444): containers run as other users than you, and read
# them through the mount. Keep a copy of `keyring` where the backups are not: a backup cannot be read without it.
set -eu
umask 077
cd "$(dirname "$0")/.."
mkdir -p secrets
chmod 700 secrets

make() { # name, command...: the output of the command, unless there is such a secret
    name=$1
    shift
    [ -e "secrets/$name" ] || { "$@" > "secrets/.$name.new" && mv "secrets/.$name.new" "secrets/$name"; }
    chmod 444 "secrets/$name"
}

url() { # role, database, name of its password
    printf 'postgresql://%s:%s@postgres:5432/%s\n' "$1" "$(cat "secrets/$3")" "$2"
}

keys() {
    printf '0:%s,1:%s\n' "$(openssl rand -base64 32)" "$(openssl rand -base64 32)"
}

node() {
    if [ -z "$1" ]; then
        echo "name the Solana node: deploy/make-secrets.sh https://..." >&2
        exit 2
    fi
    printf '%s\n' "$1"
}

for name in postgres ledger worker reader upkeep temporal grafana; do
    make "${name}_password" openssl rand -hex 32
done
make ledger_url url autopay_migrate autopay ledger_password
make tried_url url autopay_migrate autopay_tried ledger_password
make worker_url url autopay_work autopay worker_password
make reader_url url autopay_read autopay reader_password
make upkeep_url url autopay_upkeep autopay upkeep_password
make keyring keys
make gateway_token openssl rand -hex 32
make anchor_keypair printf ''
make solana_rpc_url node "${1:-}"
ls -l secrets
