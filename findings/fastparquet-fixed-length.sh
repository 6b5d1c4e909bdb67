#!/bin/sh
# fastparquet 2026.9.0 reads a Parquet file that pyarrow 26.0.1 wrote, and
#   - cuts the zero bytes off the end of FIXED_LEN_BYTE_ARRAY(16) values: an id of 16 bytes comes back with 15 or 14,
#   - gives DECIMAL(38, 9) as 64-bit floats: the digits of large amounts are gone,
#   - gives TIMESTAMP(isAdjustedToUTC=true) without its zone.
# No error and no warning is shown. pyarrow and DuckDB read all three as they were written.
# What follows for sealed files: docs/records.md, table of readers; call ids never end in a zero byte.
#
# Usage: findings/fastparquet-fixed-length.sh    (needs python3 and the Python package index; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet install pyarrow==26.0.1 fastparquet==2026.9.0 pandas==3.1.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import decimal

import fastparquet
import pyarrow as pa
import pyarrow.parquet as pq

ids = [bytes(15) + b"\x01", b"\x01" * 15 + b"\x00", b"\x02" * 14 + b"\x00\x00"]
amount = decimal.Decimal("12345678901234567.123456789")
table = pa.table({
    "id": pa.array(ids, pa.binary(16)),
    "amount": pa.array([amount] * 3, pa.decimal128(38, 9)),
    "at": pa.array([1_790_000_000_000_000] * 3, pa.timestamp("us", "UTC")),
})
pq.write_table(table, "sample.parquet", compression="zstd")

again = pq.read_table("sample.parquet")
assert again.column("id").to_pylist() == ids
assert again.column("amount").to_pylist() == [amount] * 3

frame = fastparquet.ParquetFile("sample.parquet").to_pandas()
lengths = [len(value) for value in frame["id"]]
print("lengths of ids, written 16 16 16, read", *lengths)
print("amount, written", amount, "read", repr(float(frame["amount"][0])))
print("time, written with zone UTC, read as", frame["at"].dtype)
assert lengths == [16, 15, 14], lengths
assert str(frame["amount"].dtype) == "float64"
assert decimal.Decimal(float(frame["amount"][0])) != amount
assert str(frame["at"].dtype) == "datetime64[us]"
print("as described")
PYTHON
