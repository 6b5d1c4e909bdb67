#!/bin/sh
# undici 7.30.2 with `pipelining: 4` sends one GET after the other: the next request leaves when the answer before it has come.
# Each request holds its connection ("blocking") unless it says `blocking: false`, so the option alone pipelines nothing. Nothing
# is pipelined either before the first answer of a connection has come, nor are HEADs, after each of which it reconnects.
# What follows here: a test of pipelined calls says `blocking: false` (tests/clients/undici); callers who set `pipelining` alone get
# one call at a time on each connection, whatever the gate reads ahead (docs/calls.md).
#
# Usage: findings/undici-pipelining-get.sh    (needs node 20 or newer, npm and its registry; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund undici@7.30.2 >/dev/null
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { Client } from "undici";

// The most requests that lay unanswered at once (each is answered 50 ms after it came), and on how many connections all came.
async function most(options) {
  let waiting = 0;
  let most = 0;
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const heads = data.toString("latin1").split("\r\n\r\n").length - 1;
      waiting += heads;
      most = Math.max(most, waiting);
      for (let at = 1; at <= heads; at += 1) {
        setTimeout(() => {
          waiting -= 1;
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }, 50);
      }
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const client = new Client(`http://127.0.0.1:${server.address().port}`, { pipelining: 4 });
  const call = async () => {
    const answer = await client.request({ path: "/", ...options });
    await answer.body.dump();
    assert.equal(answer.statusCode, 200);
  };
  await call();
  await Promise.all(Array.from({ length: 8 }, call));
  await client.close();
  server.close();
  return [most, connections];
}

const plain = await most({ method: "GET" });
const open = await most({ method: "GET", blocking: false });
const head = await most({ method: "HEAD" });
console.log("9 GETs, pipelining 4: at most", plain[0], "at once, connections:", plain[1]);
console.log("the same with blocking: false: at most", open[0], "at once, connections:", open[1]);
console.log("9 HEADs: at most", head[0], "at once, connections:", head[1]);
assert.deepEqual(plain, [1, 1]);
assert.deepEqual(open, [4, 1]);
assert.deepEqual(head, [1, 9]);
console.log("as described");
NODE
node probe.mjs
