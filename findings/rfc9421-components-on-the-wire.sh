#!/bin/sh
# Requests, each signed (Ed25519, RFC 9421) over one component besides `@authority`, sent by fetch or urllib, and verified from what
# came over the wire by PyPI http-message-signatures 3.0.0. What it signs itself holds, always. Of what npm's libraries sign
#   - `@target-uri` of /page#part does not hold: web-bot-auth 0.1.3 and http-message-signatures 1.0.6 sign the URL with its fragment,
#     which no client sends, so that no receiver can have it. The URL of a `Request` keeps its fragment;
#   - `@query` of /page does not hold: web-bot-auth signs nothing where section 2.2.7 says "?". With a query it holds;
#   - `"@query-param";name="q"` of ?q=what's+new does not hold: http-message-signatures 1.0.6 leaves the apostrophe as it is, where
#     section 2.2.8 says %27. With letters alone it holds. web-bot-auth does not know the component, and says so;
#   - `"signature-agent";key="sig1"` does not hold: web-bot-auth signs the whole field, not its member (section 2.1.2).
# One would expect that a component holds for every URL or for none. `@authority` and `@path` hold with all three.
# Why it matters: agents follow links with fragments, ask for pages without a query, and search for what people write. Such a call
# fails among many that hold, though key, directory and clock are right, and looks as if somebody had changed it on its way.
#
# Usage: findings/rfc9421-components-on-the-wire.sh    (needs python3, node 20 or newer, npm and both indexes; nothing is left behind)
set -eu
folder=$(mktemp -d)
receiver=
trap 'test -z "$receiver" || kill "$receiver"; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund web-bot-auth@0.1.3 http-message-signatures@1.0.6 >/dev/null
python3 -m venv venv
venv/bin/pip --quiet install http-message-signatures==3.0.0 http-sf==1.5.0
node -e '
  const { privateKey, publicKey } = require("node:crypto").generateKeyPairSync("ed25519");
  const { writeFileSync } = require("node:fs");
  writeFileSync("private.pem", privateKey.export({ type: "pkcs8", format: "pem" }));
  writeFileSync("public.pem", publicKey.export({ type: "spki", format: "pem" }));'
cat > cases.json <<'JSON'
[
  ["/page", ["@path"]],
  ["/page", ["@target-uri"]],
  ["/page#part", ["@target-uri"]],
  ["/page?x=1", ["@query"]],
  ["/page", ["@query"]],
  ["/page?q=news", ["@query-param", "name", "q"]],
  ["/page?q=what's+new", ["@query-param", "name", "q"]],
  ["/page", ["signature-agent", "key", "sig1"]]
]
JSON
# The receiver answers with what it found; it writes its address into a file once it listens.
cat > receiver.py <<'PYTHON'
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

from http_message_signatures import HTTPMessageVerifier, InvalidSignature, MappingKeyResolver, algorithms

keys = MappingKeyResolver(public_keys={"agent": Path("public.pem").read_bytes()}, private_keys={})
verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=keys)


class Receiver(BaseHTTPRequestHandler):
    def do_GET(self):
        url = f"http://{self.headers['Host']}{self.path}"
        try:
            verifier.verify(SimpleNamespace(method="GET", url=url, headers=self.headers))
            found = b"holds"
        except InvalidSignature:
            found = b"does not hold"
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
Path("address.new").write_text(f"http://127.0.0.1:{server.server_port}")
Path("address.new").rename("address")
server.serve_forever()
PYTHON
venv/bin/python receiver.py &
receiver=$!
until [ -e address ]; do kill -0 "$receiver" && sleep 0.1; done
cat > npm.mjs <<'NODE'
import assert from "node:assert/strict";
import { createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { httpbis } from "http-message-signatures";
import { signatureHeaders } from "web-bot-auth";

const address = readFileSync("address", "utf8");
const secret = createPrivateKey(readFileSync("private.pem"));
const agent = { "Signature-Agent": 'sig1="https://agent.example"' };
const libraries = {
  "web-bot-auth": async (url, [name, parameter, value]) => {
    const created = new Date();
    const components = ["@authority", parameter ? { name, parameters: new Map([[parameter, value]]) } : name];
    const signer = { keyid: "agent", alg: "ed25519", sign: async (text) => sign(null, Buffer.from(text), secret) };
    const headers = name === "signature-agent" ? agent : {};
    const request = new Request(url, { headers });
    const expires = new Date(created.getTime() + 60_000);
    return { ...headers, ...(await signatureHeaders(request, signer, { components, created, expires })) };
  },
  "http-message-signatures": async (url, [name, parameter, value]) => {
    const key = { id: "agent", alg: "ed25519", sign: async (text) => sign(null, text, secret) };
    const fields = ["@authority", parameter ? `"${name}";${parameter}="${value}"` : name];
    return (await httpbis.signMessage({ key, fields }, { method: "GET", url, headers: agent })).headers;
  },
};

const seen = {};
for (const [library, signed] of Object.entries(libraries)) {
  seen[library] = [];
  for (const [path, component] of JSON.parse(readFileSync("cases.json"))) {
    const url = address + path;
    let found;
    try {
      found = await (await fetch(url, { headers: await signed(url, component) })).text();
    } catch (error) {
      found = error.message;
    }
    console.log(`npm ${library}, ${path}, ${component.join(" ")}: ${found}`);
    seen[library].push(found);
  }
}
const [holds, not] = ["holds", "does not hold"];
const unknown = "Unknown specialty component @query-param";
assert.deepEqual(seen, {
  "web-bot-auth": [holds, holds, not, holds, not, unknown, unknown, not],
  "http-message-signatures": [holds, holds, not, holds, holds, holds, not, holds],
});
NODE
node npm.mjs
cat > pypi.py <<'PYTHON'
import json
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

keys = MappingKeyResolver(public_keys={}, private_keys={"agent": Path("private.pem").read_bytes()})
signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=keys)
for path, (name, *parameter) in json.loads(Path("cases.json").read_text()):
    url = Path("address").read_text() + path
    headers = {"Signature-Agent": 'sig1="https://agent.example"'}
    component = f'"{name}";{parameter[0]}="{parameter[1]}"' if parameter else name
    message = SimpleNamespace(method="GET", url=url, headers=headers)
    signer.sign(message, key_id="agent", covered_component_ids=("@authority", component))
    with urlopen(Request(url, headers=message.headers)) as answer:
        found = answer.read().decode()
    print(f"PyPI http-message-signatures, {path}, {component}: {found}")
    assert found == "holds", found
print("as described")
PYTHON
venv/bin/python pypi.py
