#!/bin/sh
# DuckDB 2.0.1 reads a file of JSON lines in which a field is null 30,000 times and then a text: the text is read as null too. No error,
# no warning, `WHERE refusal IS NOT NULL` finds nothing. It looks at 20,480 lines for types; a column that it saw nothing but null in
# gets the type "NULL", which can hold nothing else. DuckDB 1.5.6 calls such a column JSON and keeps the text, so an upgrade
# alone empties it. Both read 1.5 and 2.5 units after 20,480 whole ones as 2 and 2; CSV they read right.
# One would expect what they do with a field that comes late: an error that names the line.
# Why it matters: in records of calls the telling fields (the reason of a refusal, of a correction, of unreadable units) are null in
# nearly every line, so a report of refusals or of disputed units is empty for a busy day and right for a quiet one.
# `read_json(…, sample_size = -1)` reads the whole file for types, and everything as it is.
# What follows for exports: docs/records.md, after the table of readers.
#
# Usage: findings/duckdb-json-late-text.sh    (needs python3 and the Python package index; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > probe.py <<'PYTHON'
import json
import sys

import duckdb

lines = [{"refusal": None, "units": 1}] * 30_000 + [{"refusal": "rate_limited", "units": 1.5}, {"refusal": None, "units": 2.5}]
with open("calls.jsonl", "w") as file:
    file.writelines(json.dumps(line) + "\n" for line in lines)
with open("late.jsonl", "w") as file:
    file.writelines(json.dumps(line) + "\n" for line in [{"units": 1}] * 30_000 + [{"units": 1, "refusal": "rate_limited"}])


def ask(source):
    sums = "count(*), count(refusal), sum(units), list(units) FILTER (units <> 1), any_value(typeof(refusal))"
    return duckdb.sql(f"SELECT {sums} FROM {source}").fetchall()[0]


by_default, whole = ask("'calls.jsonl'"), ask("read_json('calls.jsonl', sample_size = -1)")
print("DuckDB", duckdb.__version__, "[lines, refusals, units, units that are not 1, type of refusal]")
print("  by default:", *by_default)
print("  sample_size = -1:", *whole)
assert whole[:4] == (30_002, 1, 30_004.0, [1.5, 2.5]), whole
refusals = {"1.5.6": 1, "2.0.1": 0}[sys.argv[1]]
assert by_default[:4] == (30_002, refusals, 30_004, [2, 2]), by_default
try:
    duckdb.sql("SELECT * FROM 'late.jsonl'").fetchall()
    sys.exit("a field that comes late was taken")
except duckdb.InvalidInputException as error:
    print("  a field that comes late:", str(error).splitlines()[0])
PYTHON
for version in 1.5.6 2.0.1; do
  python3 -m venv "duckdb-$version"
  "duckdb-$version/bin/pip" --quiet install "duckdb==$version"
  "duckdb-$version/bin/python" probe.py "$version"
done
echo "as described"
