#!/bin/sh
# An API behind @x402/express 2.27.0 (express 5.3.0) takes payments of one cent, "exact" and settled after the handler. A call that is
# answered 503 by `response.status(503).end()` is not charged, as one would expect of every answer from 400 on. But:
#   - the same 503 by `response.writeHead(503).end()` is charged. The middleware holds `writeHead` back until it has settled, and
#     judges by `response.statusCode`, which is 200 until then;
#   - so is the 404 of @modelcontextprotocol/sdk 1.32.2 for a session that is over, after which a client has to open a new one, and
#     pays again: the SDK's transport answers by `writeHead`;
#   - a 304 costs what the page costs, and a redirect too. @x402/fetch 2.27.0 follows a redirect with the payment in the header, which
#     is used up by then: from one paid page to another it ends with 402, from a paid page to a free one it has the page, and the
#     receipt is lost with the answer that redirected.
# Why it matters: calls that failed are on the bill of an agent, or not, by the function that the handler calls, and who moves such an
# API behind a gate that charges by the status sent sees fewer payments without a fault. Redirects have to be free for an agent to
# pay a page once, and an agent that asks whether a page has changed should not pay for "no".
#
# Usage: findings/x402-express-what-is-charged.sh    (needs node 20 or newer, npm and its registry; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund @x402/core@2.27.0 @x402/evm@2.27.0 @x402/express@2.27.0 @x402/fetch@2.27.0 \
  express@5.3.0 @modelcontextprotocol/sdk@1.32.2 >/dev/null
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { x402ResourceServer } from "@x402/core/server";
import { ExactEvmScheme as Payer } from "@x402/evm/exact/client";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware } from "@x402/express";
import { wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import express from "express";

// A facilitator that takes each payment once, as a chain does, without looking at its signature.
const network = "eip155:8453";
const used = new Set();
let charged = 0;
const facilitator = {
  getSupported: async () => ({ kinds: [{ x402Version: 2, scheme: "exact", network }], extensions: [], signers: {} }),
  verify: async ({ payload }) =>
    used.has(payload.authorization.nonce) ? { isValid: false, invalidReason: "used" } : { isValid: true },
  settle: async ({ payload }, { amount }) => {
    used.add(payload.authorization.nonce);
    charged += Number(amount);
    return { success: true, transaction: `0x${"1".repeat(64)}`, network };
  },
};

const app = express();
const accepts = { scheme: "exact", network, price: "$0.01", payTo: `0x${"2".repeat(40)}` };
app.use(paymentMiddleware({ "/paid/*": { accepts } }, new x402ResourceServer(facilitator).register(network, new ExactEvmScheme())));
app.get("/paid/page", (_, response) => response.send("page"));
app.get("/paid/status", (_, response) => response.status(503).end());
app.get("/paid/head", (_, response) => response.writeHead(503).end());
app.get("/paid/moved", (_, response) => response.redirect("/paid/page"));
app.get("/paid/freed", (_, response) => response.redirect("/free"));
app.get("/free", (_, response) => response.send("free"));
const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => "first", enableJsonResponse: true });
await new McpServer({ name: "tools", version: "1.0.0" }).connect(transport);
app.post("/paid/mcp", (request, response) => transport.handleRequest(request, response));
const listener = app.listen(0, "127.0.0.1");
await new Promise((listening) => listener.once("listening", listening));

const signer = { address: `0x${"3".repeat(40)}`, signTypedData: async () => `0x${"4".repeat(130)}` };
const pay = wrapFetchWithPaymentFromConfig(fetch, { schemes: [{ network, client: new Payer(signer) }] });
const seen = {};
async function call(name, path, init) {
  charged = 0;
  const answer = await pay(`http://127.0.0.1:${listener.address().port}/paid/${path}`, init);
  const text = await answer.text();
  const receipt = answer.headers.has("payment-response") ? "a receipt" : "no receipt";
  seen[name] = `${answer.status}, ${charged} atoms, ${receipt}`;
  console.log(`${name}: ${seen[name]}`, JSON.stringify(text.slice(0, 80)));
  return answer;
}
const message = (method, params, session) => ({
  method: "POST",
  headers: { Accept: "application/json, text/event-stream", "Content-Type": "application/json", ...session },
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
});

const etag = (await call("a page", "page")).headers.get("etag");
await call("503 by status", "status");
await call("503 by writeHead", "head");
// fetch adds `no-cache` to a conditional call that says nothing of caches, and express then sends the page.
await call("an unchanged page", "page", { headers: { "If-None-Match": etag, "Cache-Control": "max-age=0" } });
await call("a redirect to a paid page", "moved");
await call("a redirect to a free page", "freed");
const clientInfo = { name: "agent", version: "1.0.0" };
await call("MCP, a first session", "mcp", message("initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo }));
await call("MCP, a session that is over", "mcp", message("ping", {}, { "Mcp-Session-Id": "earlier" }));
assert.deepEqual(seen, {
  "a page": "200, 10000 atoms, a receipt",
  "503 by status": "503, 0 atoms, no receipt",
  "503 by writeHead": "503, 10000 atoms, a receipt",
  "an unchanged page": "304, 10000 atoms, a receipt",
  "a redirect to a paid page": "402, 10000 atoms, no receipt",
  "a redirect to a free page": "200, 10000 atoms, no receipt",
  "MCP, a first session": "200, 10000 atoms, a receipt",
  "MCP, a session that is over": "404, 10000 atoms, a receipt",
});
console.log("as described");
process.exit(0);
NODE
node probe.mjs
