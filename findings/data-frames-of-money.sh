#!/bin/sh
# Exact on the way in, doubles in the data frame, without a warning:
#   - DuckDB 2.0.1, `.df()` with pandas 3.1.1: DECIMAL(38, 9) comes as float64, and so does sum() of BIGINT, though the column itself
#     comes as int64: 9007199254740993 units are 9007199254740993 as a row and 9007199254740992 as the sum of that one row.
#     `.fetchall()` and `.to_arrow_table()` give both as they are.
#   - pandas 3.1.1, `read_json(lines=True)`: JSON texts turn into numbers where every text of a column reads as one. An amount that was
#     written as text to be safe from doubles is a double, license "00123" is 123, call "1e5" is 100000.0, node "1.10" is 1.1.
#     `dtype=False` keeps them.
# One would expect sum() to be as exact as its column, and a text in quotes to stay one.
# Why it matters: bills and reconciliations are made in data frames; an id that has lost its zeros joins with nothing or, as "1.10"
# and "1.1", with another's; a sum differs from the bill in its last digits.
# What follows for exports: docs/records.md, after the table of readers.
#
# Usage: findings/data-frames-of-money.sh    (needs python3 and the Python package index; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet install duckdb==2.0.1 pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import json
from decimal import Decimal

import duckdb
import pandas as pd

amount, units = Decimal("12345678901234567.123456789"), 9007199254740993
duckdb.sql(f"CREATE TABLE calls AS SELECT {amount}::DECIMAL(38, 9) AS amount, {units}::BIGINT AS units")
row, total = "SELECT amount, units FROM calls", "SELECT sum(amount) AS amount, sum(units) AS units FROM calls"
for name, query in ("row", row), ("sum", total):
    frame = duckdb.sql(query).df()
    print(f"DuckDB, {name}: written {amount} {units}, in the frame", *(f"{frame[c][0]!r} ({frame[c].dtype})" for c in frame))
    assert duckdb.sql(query).fetchall() == [(amount, units)]
    assert duckdb.sql(query).to_arrow_table().to_pylist() == [{"amount": amount, "units": units}]
    assert frame["amount"].dtype == "float64" and Decimal(float(frame["amount"][0])) != amount
    assert str(frame["units"].dtype) == {"row": "int64", "sum": "float64"}[name]
    assert int(frame["units"][0]) == {"row": units, "sum": units - 1}[name]

lines = [
    {"license": "00123", "call": "1e5", "node": "1.10", "amount": str(amount)},
    {"license": "00456", "call": "2e5", "node": "1.1", "amount": "0.000000001"},
]
with open("calls.jsonl", "w") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)
read = pd.read_json("calls.jsonl", lines=True)
print("pandas: written", *lines[0].values(), "read", *(f"{read[c][0]!r}" for c in read))
assert read["license"].tolist() == [123, 456]
assert read["call"].tolist() == [100000.0, 200000.0]
assert read["node"].tolist() == [1.1, 1.1]
assert read["amount"].dtype == "float64" and Decimal(float(read["amount"][0])) != amount
assert pd.read_json("calls.jsonl", lines=True, dtype=False).to_dict("records") == lines
print("as described")
PYTHON
