#!/bin/sh
# json-bigint 1.0.0 decides by the length of a number's text, 16 characters or more, not by its size: a fraction that was written with
# all its digits is no number then. 0.3 is a number, 0.30000000000000004 a BigNumber, or a text with `storeAsString`; so is
# 0.00000000000001, 1e-14, which fits a double well. Sums of such fields are texts: 0.1 + 0.30000000000000004 = "0.10.30000000000000004".
# One would expect that only integers beyond 2^53 are kept apart, which is what the package is for.
# Why it matters: servers in Python, Go and JavaScript write doubles with up to 17 digits, so the type of a field (a cost, a
# duration, a rate) changes from record to record: a total is right for weeks and one day a text. Amounts as text have one type always.
#
# Usage: findings/json-bigint-by-length.sh    (needs node 20 or newer, npm and its registry; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --no-audit --no-fund json-bigint@1.0.0 >/dev/null
cat > probe.cjs <<'NODE'
const assert = require("node:assert/strict");
const JSONbig = require("json-bigint");

const plain = JSONbig();
const texts = JSONbig({ storeAsString: true });
const kind = (value) => (typeof value === "object" ? value.constructor.name : typeof value);
const seen = {};
for (const written of ["0.3", "0.30000000000000004", "0.00000000000001", "1e-14", "1234567.123456789", "123456.123456789"]) {
  const line = `{"cost":${written}}`;
  seen[written] = [kind(plain.parse(line).cost), kind(texts.parse(line).cost)];
  console.log(`${written}: ${seen[written][0]}, with storeAsString ${seen[written][1]}`);
}
const number = ["number", "number"];
const other = ["BigNumber", "string"];
assert.deepEqual(seen, {
  "0.3": number,
  "0.30000000000000004": other,
  "0.00000000000001": other,
  "1e-14": number,
  "1234567.123456789": other,
  "123456.123456789": other,
});
const costs = plain.parse(JSON.stringify([0.1, 0.1 + 0.2]));
const total = costs[0] + costs[1];
console.log("0.1 + 0.30000000000000004:", JSON.stringify(total));
assert.equal(total, "0.10.30000000000000004");
console.log("as described");
NODE
node probe.cjs
