#!/bin/sh
# Brings Temporal's own two databases up to date. It may run again at any time.
set -eu
SQL_PASSWORD="$(cat /run/secrets/temporal_password)"
export SQL_PASSWORD
for name in temporal visibility; do
  database=temporal
  [ "$name" = visibility ] && database=temporal_visibility
  tool() { temporal-sql-tool --plugin postgres12 --ep postgres --port 5432 --user temporal --db "$database" "$@"; }
  tool update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$name/versioned" && continue
  tool setup-schema --version 0.0
  tool update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$name/versioned"
done
