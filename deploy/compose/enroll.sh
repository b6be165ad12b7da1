#!/bin/sh
# Makes what is missing, so that it may run again at each start.
set -eu
cd /var/lib/workloadd
[ -s admin/admin.token ] || workloadd token create --name admin --scopes admin,operator --out admin/admin.token
[ -s credentials/worker.credential ] ||
  workloadd worker enroll --worker-id compose --pool default --out credentials/worker.credential
