#!/bin/sh
# One JSON value, parsed from text, by libraries that write canonical JSON, the form that is signed or hashed so that the order of
# members does not matter. node 20 and Python 3.11:
#   - canonical-json 0.4.0 (npm) says that it follows RFC 8785 and fails the example of that RFC (section 3.2.3): members whose names
#     are whole numbers come first, in order of the numbers. {"10":…,"9":…} has "9" before "10", the RFC "10" before "9". It puts the
#     sorted members into an object once more, and an object of JavaScript has an order of its own for such names;
#   - another-json 0.2.0 (npm) writes U+001B as \U001B, with a capital U, and so the other control characters that have no short
#     escape. No parser takes that for JSON. canonicaljson 2.0.0 (PyPI), for the same protocol (Matrix), writes \u001b;
#   - canonicaljson sorts by code points, the RFC by UTF-16 units: names with U+1F600 and U+FB33 change places;
#   - json-canonicalize 3.0.1 (npm) sorts every object but the one that comes out of a `toJSON`: a model or a Buffer keeps its order.
#     canonical-json does not ask the `toJSON` of a class at all: it writes {} for an object whose members are not its own;
#   - canonicalize 4.0.0, json-canon 1.0.1, safe-stable-stringify 3.0.0, json-stable-stringify 1.3.0, fast-json-stable-stringify 2.1.0
#     (npm), rfc8785 0.1.4 and jcs 0.2.1 (PyPI) agree on all of it.
# One would expect that a library of this kind is tried with the RFC's example, and writes JSON.
# Why it matters: license files and event bodies that are signed in canonical form verify with names like "label" and "plan", and fail
# for the one customer whose variables are named by seats, ports or years ("9", "10"), or whose label came with a vertical tab out
# of a slide. It looks like a wrong key. A signature over the bytes that are sent, as in Standard Webhooks and JWS, has no such customer.
#
# Usage: findings/canonical-json-libraries.sh    (needs python3, node 20 or newer, npm and both indexes; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet install rfc8785==0.1.4 jcs==0.2.1 canonicaljson==2.0.0
npm install --silent --no-save --no-audit --no-fund canonical-json@0.4.0 another-json@0.2.0 json-canonicalize@3.0.1 canonicalize@4.0.0 \
  json-canon@1.0.1 safe-stable-stringify@3.0.0 json-stable-stringify@1.3.0 fast-json-stable-stringify@2.1.0 >/dev/null
cat > values.json <<'JSON'
{
  "example of the RFC": {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7},
  "numbers as names": {"plan": "pro", "10": "b", "9": "a"},
  "control character": {"label": "acme\u001b"},
  "plain": {"label": "acme", "data": [{"seats": 3, "plan": null}], "active": true}
}
JSON
cat > expected.json <<'JSON'
{
  "example of the RFC": "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"\u00f6\":7,\"\u20ac\":1,\"\ud83d\ude00\":5,\"\ufb33\":3}",
  "numbers as names": "{\"10\":\"b\",\"9\":\"a\",\"plan\":\"pro\"}",
  "control character": "{\"label\":\"acme\\u001b\"}",
  "plain": "{\"active\":true,\"data\":[{\"plan\":null,\"seats\":3}],\"label\":\"acme\"}"
}
JSON
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import anotherJson from "another-json";
import canonicalJson from "canonical-json";
import canonicalize from "canonicalize";
import fast from "fast-json-stable-stringify";
import jsonCanon from "json-canon";
import { canonicalize as jsonCanonicalize } from "json-canonicalize";
import stable from "json-stable-stringify";
import { stringify as safe } from "safe-stable-stringify";

const read = (file) => JSON.parse(readFileSync(file, "utf8"));
const expected = read("expected.json");
const libraries = {
  "canonical-json": canonicalJson,
  "another-json": anotherJson.stringify,
  "json-canonicalize": jsonCanonicalize,
  canonicalize,
  "json-canon": jsonCanon,
  "safe-stable-stringify": safe,
  "json-stable-stringify": stable,
  "fast-json-stable-stringify": fast,
};
const other = {};
for (const [name, value] of Object.entries(read("values.json"))) {
  for (const [library, write] of Object.entries(libraries)) {
    const text = write(value);
    if (text !== expected[name]) other[`${library}, ${name}`] = text;
  }
}
class License {
  toJSON() {
    return { plan: "pro", label: "acme" };
  }
}
for (const [library, write] of Object.entries(libraries)) {
  if (library === "another-json") continue; // it knows no toJSON
  const text = write({ data: new License() });
  if (text !== '{"data":{"label":"acme","plan":"pro"}}') other[`${library}, toJSON`] = text;
}
for (const [what, text] of Object.entries(other)) console.log(`${what}: ${JSON.stringify(text)}`);
assert.deepEqual(other, {
  "canonical-json, example of the RFC": '{"1":4,"\\r":2,"\u0080":6,"ö":7,"€":1,"\u{1f600}":5,"\ufb33":3}',
  "canonical-json, numbers as names": '{"9":"a","10":"b","plan":"pro"}',
  "another-json, control character": '{"label":"acme\\U001B"}',
  "canonical-json, toJSON": '{"data":{}}',
  "json-canonicalize, toJSON": '{"data":{"plan":"pro","label":"acme"}}',
});
assert.throws(() => JSON.parse(other["another-json, control character"]), SyntaxError);
NODE
cat > probe.py <<'PYTHON'
import json

import canonicaljson
import jcs
import rfc8785

values, expected = (json.load(open(file)) for file in ("values.json", "expected.json"))
other = {}
for name, value in values.items():
    for library, write in (("rfc8785", rfc8785.dumps), ("jcs", jcs.canonicalize), ("canonicaljson", canonicaljson.encode_canonical_json)):
        text = write(value).decode()
        if text != expected[name]:
            other[f"{library}, {name}"] = text
for what, text in other.items():
    print(f"{what}: {json.dumps(text)}")
assert other == {
    "canonicaljson, example of the RFC": '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\ufb33":3,"\U0001f600":5}',
}
print("as described")
PYTHON
node probe.mjs
venv/bin/python probe.py
