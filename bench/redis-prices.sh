#!/usr/bin/env bash
# What Redis pays for messages, channels and subscriptions, by its own counts of processor time and
# memory (INFO). docs/cluster.md "Sizing" has the figures.
#
#     bench/redis-prices.sh
#
# Needs redis-server, redis-cli and redis-benchmark. It starts a Redis of its own on a socket in a
# temporary folder, and ends it. It takes about a minute.
set -euo pipefail

folder=$(mktemp -d)
socket=$folder/redis.sock
redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no --dir "$folder" \
    --client-output-buffer-limit 'pubsub 0 0 0' >"$folder/log" &
server=$!
listeners=()
trap 'kill "${listeners[@]}" "$server" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

ask() { redis-cli -s "$socket" "$@"; }

for _ in {1..100}; do
    ask ping >"$folder/pong" 2>&1 && break
    sleep 0.1
done
grep -q PONG "$folder/pong" || { echo "redis-server does not answer:" >&2; cat "$folder/log" >&2; exit 1; }
ask info server | grep redis_version

# Microseconds of the processor since Redis has started.
spent() { ask info cpu | awk -F: '/^used_cpu_(user|sys):/ {sum += $2} END {printf "%.0f\n", sum * 1e6}'; }
held() { ask info memory | awk -F: '/^used_memory:/ {printf "%d\n", $2}'; }

# listen NUMBER: as many subscribers of one channel, once Redis has them all.
listen() {
    while ((${#listeners[@]} < $1)); do
        redis-cli -s "$socket" subscribe news >/dev/null &
        listeners+=($!)
    done
    for _ in {1..100}; do
        [[ $(ask pubsub numsub news | tail -n 1) == "$1" ]] && return
        sleep 0.1
    done
    echo "subscribers do not come" >&2
    exit 1
}

messages=200000
for bytes in 120 1200; do
    payload=$(printf 'x%.0s' $(seq "$bytes"))
    for count in 0 1 4 8; do
        if ((${#listeners[@]} > count)); then
            kill "${listeners[@]}"
            wait "${listeners[@]}" 2>/dev/null || true
            listeners=()
        fi
        listen "$count"
        before=$(spent)
        redis-benchmark -s "$socket" -c 1 -P 50 -n "$messages" publish news "$payload" >/dev/null 2>&1
        awk -v us=$(($(spent) - before)) -v n="$messages" -v b="$bytes" -v c="$count" \
            'BEGIN {printf "a message of %d bytes to %d subscribers: %.2f us\n", b, c, us / n}'
    done
done
kill "${listeners[@]}"
wait "${listeners[@]}" 2>/dev/null || true
listeners=()

# Two subscribers take the same channels: the first pays for each channel, and the second for its
# place in it. Then the second leaves them.
number=30000
mapfile -t names < <(for ((at = 0; at < number; at++)); do printf 'socket.io#/#%020d#\n' "$at"; done)

# await NUMBER: waits until the last channel has as many.
await() {
    for _ in {1..300}; do
        [[ $(ask pubsub numsub "${names[-1]}" | tail -n 1) == "$1" ]] && return
        sleep 0.1
    done
    echo "the channels do not come or go" >&2
    exit 1
}

price() {
    awk -v n="$number" -v us=$(($(spent) - before)) -v b=$(($(held) - memory)) -v w="$1" \
        'BEGIN {printf "%s: %.0f bytes, %.2f us\n", w, b / n, us / n}'
}

for wanted in 1 2; do
    memory=$(held)
    before=$(spent)
    redis-cli -s "$socket" subscribe "${names[@]}" >/dev/null &
    listeners+=($!)
    await "$wanted"
    price "subscriber $wanted of a channel with a name of 33 bytes"
done
memory=$(held)
before=$(spent)
kill "${listeners[1]}"
await 1
price "to leave a channel"
kill "${listeners[0]}"
await 0

before=$(spent)
redis-benchmark -s "$socket" -c 1 -P 50 -r 1000000000 -n "$messages" \
    subscribe 'socket.io#/#12345678__rand_int__#' >/dev/null 2>&1
ask ping >/dev/null
awk -v us=$(($(spent) - before)) -v n="$messages" \
    'BEGIN {printf "to subscribe with a command for each channel, and to leave with the connection: %.2f us\n", us / n}'
