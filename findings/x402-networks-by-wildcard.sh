#!/bin/sh
# An agent pays "exact" on every chain of EVM, and "upto" on Base alone: `register("eip155:*", exact)` and `register("eip155:8453",
# upto)`. Asked for an exact payment on Base, it cannot pay, with npm @x402/core 2.27.0 as with PyPI x402 2.25.0; with the first line
# alone it can. A name of a network hides the wildcard with all its schemes: the scheme is looked for only in what was registered for
# that name, in whichever order. The message of npm lists the network, the wildcard and both schemes as registered. A server that
# registers the same two cannot ask for exact on Base.
# One would expect what `register(network, scheme)` says: one more pair, and the wildcard for whatever has no pair of its own.
# Why it matters: an agent that learns a new scheme stops paying those who ask as before. A gate sees 402s that nobody pays, from the
# agents that know most. Register each scheme for the same names.
#
# Usage: findings/x402-networks-by-wildcard.sh    (needs python3, node 20 or newer, npm and both indexes; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund @x402/core@2.27.0 @x402/evm@2.27.0 >/dev/null
python3 -m venv venv
venv/bin/pip --quiet install 'x402[evm]==2.25.0'
cat > asked.json <<'JSON'
{
  "x402Version": 2,
  "resource": { "url": "https://api.example/page" },
  "accepts": [
    {
      "scheme": "exact",
      "network": "eip155:8453",
      "amount": "10000",
      "asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
      "payTo": "0x2222222222222222222222222222222222222222",
      "maxTimeoutSeconds": 60,
      "extra": { "name": "USD Coin", "version": "2" }
    }
  ]
}
JSON
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { x402Client } from "@x402/core/client";
import { x402ResourceServer } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { ExactEvmScheme as ExactAsked } from "@x402/evm/exact/server";
import { UptoEvmScheme } from "@x402/evm/upto/client";
import { UptoEvmScheme as UptoAsked } from "@x402/evm/upto/server";

const asked = JSON.parse(readFileSync("asked.json"));
const signer = { address: `0x${"3".repeat(40)}`, signTypedData: async () => `0x${"4".repeat(130)}` };
const exact = ["eip155:*", new ExactEvmScheme(signer)];
const upto = ["eip155:8453", new UptoEvmScheme(signer)];
const pay = (...pairs) =>
  pairs.reduce((client, pair) => client.register(...pair), new x402Client()).createPaymentPayload(asked);

const { accepted, payload } = await pay(exact);
console.log("npm, exact for all:", accepted.scheme, payload.authorization.value);
assert.equal(payload.authorization.value, "10000");
for (const pairs of [[exact, upto], [upto, exact]]) {
  await assert.rejects(pay(...pairs), ({ message }) => {
    console.log("npm, and upto for Base:", message);
    assert.match(message, /^No network\/scheme registered .*"schemes":\[("exact","upto"|"upto","exact")\]\}$/);
    return true;
  });
}

const kinds = ["exact", "upto"].map((scheme) => ({ x402Version: 2, scheme, network: "eip155:8453" }));
const facilitator = { getSupported: async () => ({ kinds, extensions: [], signers: {} }) };
const [{ scheme, network, payTo }] = asked.accepts;
const ask = async (server) => {
  await server.initialize();
  return server.buildPaymentRequirements({ scheme, network, payTo, price: "$0.01" });
};
const server = () => new x402ResourceServer(facilitator).register("eip155:*", new ExactAsked());
assert.equal((await ask(server()))[0].amount, "10000");
await assert.rejects(ask(server().register("eip155:8453", new UptoAsked())), ({ message }) => {
  console.log("npm, a server that registers both:", message);
  return message.startsWith("No server implementation registered for exact on eip155:8453.");
});
NODE
node probe.mjs
cat > probe.py <<'PYTHON'
import json

from eth_account import Account
from x402 import x402ClientSync
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.upto.client import UptoEvmScheme
from x402.schemas import PaymentRequired

with open("asked.json") as file:
    asked = PaymentRequired.model_validate(json.load(file))
signer = Account.create()
client = x402ClientSync().register("eip155:*", ExactEvmScheme(signer))
paid = client.create_payment_payload(asked).payload["authorization"]["value"]
print("PyPI, exact for all:", paid)
assert paid == "10000", paid
client.register("eip155:8453", UptoEvmScheme(signer))
try:
    client.create_payment_payload(asked)
except Exception as error:
    print("PyPI, and upto for Base:", type(error).__name__, error)
    assert type(error).__name__ == "NoMatchingRequirementsError", error
else:
    raise SystemExit("it was paid")
print("as described")
PYTHON
venv/bin/python probe.py
