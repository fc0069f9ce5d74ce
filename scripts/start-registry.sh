#!/usr/bin/env bash
# Starts Debian's docker-registry on loopback, for tests against a registry that is not the project's own.
# usage: start-registry.sh FOLDER [PORT]      its data, log and process id are in FOLDER; without a port it takes a free one
# Prints its address, and returns once it listens. Stop it with: kill "$(cat FOLDER/pid)"
set -euo pipefail

folder=${1:?a folder for its data}
port=${2:-0}
mkdir -p "$folder"

cat >"$folder/config.yml" <<YAML
version: 0.1
log:
  accesslog: { disabled: true }
storage:
  filesystem: { rootdirectory: $folder/storage }
  delete: { enabled: true }
http:
  addr: 127.0.0.1:$port
YAML

# In a session of its own: Ctrl-C in the terminal is for who started it, and who may want to clean up first.
setsid docker-registry serve "$folder/config.yml" >"$folder/log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$folder/pid"

# It logs the address once it listens there, with the port that it was given.
for _ in $(seq 150); do
  address=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$folder/log")
  if [ -n "$address" ]; then
    echo "http://$address"
    exit 0
  fi
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
echo 'docker-registry did not start:' >&2
cat "$folder/log" >&2
kill "$pid" 2>/dev/null || true
exit 1
