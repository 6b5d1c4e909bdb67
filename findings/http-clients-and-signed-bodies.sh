#!/bin/sh
# A signed event, `{"type":"license.created"}` and a line feed, posted as application/json by clients of node 20, once as text and once
# as the Buffer of the same bytes. What came to the receiver, and what standardwebhooks 1.1.1 says of it there:
#   - axios 1.21.1: the text has lost its line feed, so the signature is wrong. It parses a text that is sent as JSON and, where that
#     succeeds, trims it; where it does not (JSON lines), it sends the text once more as JSON, in quotes. The Buffer comes as it is;
#   - superagent 10.4.2, supertest 7.3.2 and redaxios 0.5.1: the text comes as it is, and for the Buffer comes
#     `{"type":"Buffer","data":[123,34,…]}`;
#   - got 14.6.6, ky 1.14.3, undici 7.30.2, node-fetch 3.3.2 and the built-in fetch send both as they are.
# One would expect that a body which is text or bytes already is sent, not read. To sign and send bytes is the usual advice for
# webhooks: it is right with axios and wrong with superagent, and to sign and send text is the other way round.
# Why it matters: bodies end in a line feed where they come from a file, from jq or from a template; compact ones pass, so it shows
# late and looks like a wrong secret. supertest is what receivers of webhooks are tested with: a recorded delivery that is read
# with `readFileSync` is a Buffer. With `transformRequest: [(data) => data]` (axios) and `.serialize((data) => data)` (superagent)
# both send what they are given.
#
# Usage: findings/http-clients-and-signed-bodies.sh    (needs node 20 or newer, npm and its registry; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund standardwebhooks@1.1.1 axios@1.21.1 superagent@10.4.2 supertest@7.3.2 \
  redaxios@0.5.1 got@14.6.6 ky@1.14.3 undici@7.30.2 node-fetch@3.3.2 >/dev/null
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import axios from "axios";
import got from "got";
import ky from "ky";
import nodeFetch from "node-fetch";
import redaxios from "redaxios";
import { Webhook } from "standardwebhooks";
import superagent from "superagent";
import supertest from "supertest";
import { request } from "undici";

const hook = new Webhook("whsec_" + Buffer.alloc(32, 7).toString("base64"));
let came;
const server = createServer(async (incoming, answer) => {
  const parts = [];
  for await (const part of incoming) parts.push(part);
  const body = Buffer.concat(parts);
  let verified = true;
  try {
    hook.verify(body, incoming.headers);
  } catch (error) {
    assert.equal(error.message, "No matching signature found");
    verified = false;
  }
  came = { body, verified };
  answer.setHeader("Content-Type", "application/json");
  answer.end("{}");
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const url = `http://127.0.0.1:${server.address().port}/`;

const identity = (data) => data;
const clients = {
  axios: (body, headers) => axios.post(url, body, { headers }),
  "axios, transformRequest": (body, headers) => axios.post(url, body, { headers, transformRequest: [identity] }),
  superagent: (body, headers) => superagent.post(url).set(headers).send(body),
  "superagent, serialize": (body, headers) => superagent.post(url).set(headers).serialize(identity).send(body),
  supertest: (body, headers) => supertest(url).post("").set(headers).send(body),
  redaxios: (body, headers) => redaxios.post(url, body, { headers }),
  got: (body, headers) => got.post(url, { body, headers }),
  ky: (body, headers) => ky.post(url, { body, headers }),
  undici: async (body, headers) => (await request(url, { method: "POST", body, headers })).body.dump(),
  "node-fetch": (body, headers) => nodeFetch(url, { method: "POST", body, headers }),
  fetch: (body, headers) => fetch(url, { method: "POST", body, headers }),
};

async function sent(client, body) {
  const now = new Date();
  await client(body, {
    "Content-Type": "application/json",
    "webhook-id": "msg_1",
    "webhook-timestamp": String(Math.floor(now / 1000)),
    "webhook-signature": hook.sign("msg_1", now, String(body)),
  });
  assert.equal(came.verified, came.body.equals(Buffer.from(body)));
  return came;
}

const text = '{"type":"license.created"}\n';
const refused = [];
for (const [name, client] of Object.entries(clients)) {
  for (const [form, body] of [["text", text], ["Buffer", Buffer.from(text)]]) {
    const { body: bytes, verified } = await sent(client, body);
    console.log(`${name}, ${form}: ${JSON.stringify(bytes.toString().slice(0, 40))} ${verified ? "verified" : "refused"}`);
    if (!verified) refused.push(`${name}, ${form}: ${bytes}`);
  }
}
const asJson = JSON.stringify(Buffer.from(text));
assert.deepEqual(refused, [
  `axios, text: ${text.trim()}`,
  `superagent, Buffer: ${asJson}`,
  `supertest, Buffer: ${asJson}`,
  `redaxios, Buffer: ${asJson}`,
]);
const lines = '{"call":1}\n{"call":2}\n';
const { body } = await sent(clients.axios, lines);
console.log("axios, JSON lines as text:", String(body));
assert.equal(String(body), JSON.stringify(lines));
server.close();
server.closeAllConnections();
console.log("as described");
NODE
node probe.mjs
