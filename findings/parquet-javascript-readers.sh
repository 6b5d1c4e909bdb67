#!/bin/sh
# What JavaScript makes of a Parquet file that pyarrow 26.0.1 wrote with a DECIMAL(38, 9) and a TIMESTAMP(MICROS, UTC), node 20:
#   - hyparquet 1.33.0 gives the decimal as a double, so the digits of large amounts are gone (it is not even the nearest double),
#     and the time as a Date, cut to its millisecond;
#   - apache-arrow 21.2.0 behind parquet-wasm 0.8.0 gives the decimal as an integer without its scale (1.5 prints as 1500000000),
#     and the time as a number of milliseconds with a fraction, whole to the microsecond;
#   - @dsnp/parquetjs 1.8.9 gives the decimal as its 16 bytes, a big-endian integer without its scale, and the time as a Date, cut
#     to its millisecond; a file compressed with zstd it does not open at all. Its newest version, 1.9.3, was published without
#     its code (no dist folder) and cannot be loaded.
# None of them shows a warning. pyarrow reads all as it was written.
# What follows for sealed files: docs/records.md, table of readers.
#
# Usage: findings/parquet-javascript-readers.sh    (needs python3, node 20 or newer, npm and both indexes; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet install pyarrow==26.0.1
npm install --silent --no-save --no-audit --no-fund hyparquet@1.33.0 hyparquet-compressors@1.1.2 apache-arrow@21.2.0 \
  parquet-wasm@0.8.0 @dsnp/parquetjs@1.8.9 >/dev/null
venv/bin/python - <<'PYTHON'
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

amounts = [Decimal("1.5"), Decimal("12345678901234567.123456789")]
times = [1_790_000_000_123_456, 1_790_000_000_123_999]
table = pa.table({"amount": pa.array(amounts, pa.decimal128(38, 9)), "at": pa.array(times, pa.timestamp("us", "UTC"))})
for name in ("zstd", "none"):
    pq.write_table(table, name + ".parquet", compression=name)
    again = pq.read_table(name + ".parquet")
    assert again.column("amount").to_pylist() == amounts
    assert again.column("at").cast(pa.int64()).to_pylist() == times
PYTHON
npm pack --silent @dsnp/parquetjs@1.9.3 >/dev/null
if tar tzf dsnp-parquetjs-1.9.3.tgz | grep -q 'dist/'; then echo "@dsnp/parquetjs 1.9.3 has code by now"; exit 1; fi
cat > probe.mjs <<'NODE'
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tableFromIPC } from "apache-arrow";
import parquetjs from "@dsnp/parquetjs";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";

const written = ["1.5 at .123456", "12345678901234567.123456789 at .123999"];
console.log("written:", ...written.map((row) => `[${row}]`));

const file = await asyncBufferFromFile("zstd.parquet");
const rows = await parquetReadObjects({ file, compressors });
for (const row of rows) console.log("hyparquet:", typeof row.amount, row.amount, row.at.toISOString());
assert.deepEqual(rows.map((row) => row.amount), [1.5, 12345678901234566]);
assert.deepEqual(rows.map((row) => row.at.getTime()), [1790000000123, 1790000000123]);

const wasm = createRequire(import.meta.url)("parquet-wasm");
const table = tableFromIPC(wasm.readParquet(readFileSync("zstd.parquet")).intoIPCStream());
const arrow = table.toArray().map((row) => [row.amount.toString(), row.at]);
for (const row of arrow) console.log("apache-arrow:", ...row);
assert.deepEqual(arrow.map(([amount]) => amount), ["1500000000", "12345678901234567123456789"]);
assert.deepEqual(arrow.map(([, at]) => at), [1790000000123.456, 1790000000123.999]);

const open = async (name) => {
  const reader = await parquetjs.ParquetReader.openFile(name);
  const cursor = reader.getCursor();
  const found = [await cursor.next(), await cursor.next()];
  await reader.close();
  return found;
};
const refused = await open("zstd.parquet").then(() => null, String);
console.log("@dsnp/parquetjs, zstd:", refused);
assert.match(refused ?? "it was read", /compression/i);
const plain = await open("none.parquet");
for (const row of plain) console.log("@dsnp/parquetjs:", row.amount, row.at);
const integer = (bytes) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
assert.deepEqual(plain.map((row) => integer(row.amount)), [1500000000n, 12345678901234567123456789n]);
assert.deepEqual(plain.map((row) => row.at.getTime()), [1790000000123, 1790000000123]);
console.log("as described");
NODE
node probe.mjs
