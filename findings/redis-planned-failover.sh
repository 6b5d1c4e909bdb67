#!/bin/sh
# Redis 7.0.15 with Sentinel: after a planned failover (SENTINEL FAILOVER) the Sentinel names the new master within a second or two,
# and the old master goes on as a master for some ten seconds more: it takes writes, answers OK, and throws them away when it
# becomes a replica at last. No connection is closed and no command is answered READONLY meanwhile, so that a client which asks the
# Sentinels only after an error writes into the void.
# What follows here: gates ask the Sentinels every second (docs/redis.md), and nothing that money depends on has its only home in Redis.
#
# Usage: findings/redis-planned-failover.sh    (needs redis-server, redis-sentinel and redis-cli 7.0; nothing is left behind)
set -eu
redis-server --version | grep -q 'v=7\.0\.15' || { echo "this is about Redis 7.0.15: $(redis-server --version)"; exit 2; }
folder=$(mktemp -d)
master=$((20000 + $$ % 10000)); replica=$((master + 1)); sentinel=$((master + 2))
trap 'for port in $master $replica $sentinel; do redis-cli -p $port shutdown nosave 2>/dev/null || true; done; rm -rf "$folder"' EXIT
start() { redis-server --port "$1" --dir "$folder" --save '' --daemonize yes --bind 127.0.0.1 ${2:-} >/dev/null; }
wait_for() { for _ in $(seq 600); do eval "$1" && return 0; sleep 0.05; done; echo "never: $1"; exit 1; }
start $master
start $replica "--replicaof 127.0.0.1 $master"
cat > "$folder/sentinel.conf" <<CONF
port $sentinel
bind 127.0.0.1
dir $folder
daemonize yes
sentinel monitor main 127.0.0.1 $master 1
CONF
redis-server "$folder/sentinel.conf" --sentinel >/dev/null
wait_for "redis-cli -p $replica info replication | grep -q master_link_status:up"
wait_for "redis-cli -p $sentinel sentinel replicas main | grep -q $replica"
wait_for "redis-cli -p $sentinel sentinel failover main | grep -q OK"
wait_for "redis-cli -p $sentinel sentinel get-master-addr-by-name main | grep -q $replica"
named=$(date +%s%N)
answer=$(redis-cli -p $master set late 1)
echo "a write to the old master, after the Sentinel named the new one: $answer"
test "$answer" = OK
wait_for "redis-cli -p $master role | grep -q slave"
seconds=$((($(date +%s%N) - named) / 1000000000))
echo "the old master became a replica $seconds s later"
test "$seconds" -ge 3
wait_for "redis-cli -p $master info replication | grep -q master_link_status:up"
echo "what was acknowledged: '$(redis-cli -p $replica get late)' on the new master, '$(redis-cli -p $master get late)' on the old one"
test -z "$(redis-cli -p $replica get late)" && test -z "$(redis-cli -p $master get late)"
echo "as described"
