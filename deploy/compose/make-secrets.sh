#!/bin/sh
# Makes the secrets of compose.yaml once, in ../secrets. The files are readable by every user of the containers, so the
# folder is closed to every other user of the host.
set -eu
folder="$(dirname "$0")/../secrets"
mkdir -p "$folder"
chmod 0700 "$folder"
random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep() {
  if [ ! -s "$folder/$1" ]; then
    printf '%s' "$2" > "$folder/$1.new"
    chmod 0444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
  fi
}
keep postgres_password "$(random)"
keep temporal_password "$(random)"
keep ledger_password "$(random)"
keep ledger_url "postgresql://workloadd:$(cat "$folder/ledger_password")@postgres:5432/workloadd"
echo "the secrets are in $folder"
