#!/bin/sh
# Runs once, when the cluster is made: one account and its databases for the ledger, one for Temporal.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set=ledger="$(cat /run/secrets/ledger_password)" --set=temporal="$(cat /run/secrets/temporal_password)" <<'SQL'
CREATE ROLE workloadd LOGIN PASSWORD :'ledger';
CREATE DATABASE workloadd OWNER workloadd;
CREATE ROLE temporal LOGIN PASSWORD :'temporal';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
\connect temporal_visibility
CREATE EXTENSION IF NOT EXISTS btree_gin;
SQL
