# For scripts that run nodes of their own; sourced from the repository's root.
#
# Sets `kad` (the release binary, built when stale) and `home` (a folder that goes with the script),
# and ends what it started.

cargo build --release --quiet
kad=$PWD/target/release/kad-actor
home=$(mktemp -d)
pids=()
# Settings of whoever runs the script stay out of it.
for setting in "${!KAD_ACTOR_@}"; do unset "$setting"; done
export KAD_ACTOR_CONFIG=/dev/null

finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$home"
}
trap finish EXIT

# start_node NAME [FLAGS…]: a node on free ports of loopback with its data in $home/NAME.
start_node() {
  local name=$1
  shift
  "$kad" node --json --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --data-dir "$home/$name" "$@" \
    >"$home/$name.ready" 2>"$home/$name.log" &
  pids+=($!)
  local try
  for ((try = 0; try < 100; try++)); do
    [[ -s $home/$name.ready ]] && return
    sleep 0.1
  done
  cat "$home/$name.log" >&2
  echo "node $name never got ready" >&2
  exit 1
}

# dht_of NAME: IP:PORT of its UDP socket.
dht_of() {
  sed -n 's/.*"dht":"\([^"]*\)".*/\1/p' "$home/$1.ready"
}
