#!/usr/bin/env python3
"""Catching up: what calls feel of a gate that works off a long journal beside them.

Two gates of one build stand side by side. One is called while its store takes no sums, then killed: its journal holds all those
calls. Both are started again, so that neither has anything in memory, and called in turns until the one has caught up: p50 and
p99 with a catch-up beside the calls and without one, within the same minute. Who goes first changes from turn to turn, and while
the other is called the one that catches up stands still, so that it takes nothing of their core. In the end its books must hold
each call once.
Build first: cargo build --release --bin tallygate
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import load, proc, servers

BEHIND = "tallygate_records_behind"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000_000, help="left behind, at least (%(default)s)")
    parser.add_argument("--licenses", type=int, default=1_000, help="that are called in turn (%(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="of each turn (%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=servers.ROOT / "target" / "bench" / "catchup.json")
    options = parser.parse_args()
    options.hot, options.routes, options.other, options.stores, options.load_core = options.licenses, 1, None, None, 1
    return options


def gate_of(name, run, backend, options):
    """A gate of its own name."""
    kind = type("Gate", (servers.TallygateProcess,), {"name": name})
    return kind(0, run, backend, options)


def metric(gate, name):
    """The value of a metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.metrics}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return 0.0


def call(gate, options, seconds):
    """Load on a gate; what wrk reports."""
    return load.wrk(options.load_core, options.connections, seconds, gate.url, gate.header, gate.keys, gate.paths)


def leave_behind(gate, options):
    """Calls that no sum is made of, then death; how many records were left."""
    ledger = sqlite3.connect(gate.run / "data" / "ledger.db", timeout=60, isolation_level=None)
    ledger.execute("BEGIN IMMEDIATE")
    while metric(gate, "tallygate_records_pending") < options.records:
        call(gate, options, 5)
    left = metric(gate, "tallygate_records_pending")
    os.killpg(gate.process.pid, signal.SIGKILL)
    gate.process.wait()
    ledger.execute("ROLLBACK")
    ledger.close()
    return int(left)


def come_back(gate):
    """Starts it again; seconds until it was ready."""
    begun = time.monotonic()
    gate.process = proc.start(gate.core, gate.command("run"), gate.run / "log", cwd=gate.run)
    proc.wait_for_ok(f"http://127.0.0.1:{gate.metrics}/readyz", gate.process)
    return time.monotonic() - begun


def is_sealing(gate):
    """Whether an instance is still to be finished, all of whose sums are in the store."""
    ledger = sqlite3.connect(f"file:{gate.run}/data/ledger.db?mode=ro", uri=True, timeout=60)
    try:
        return ledger.execute("SELECT count(*) FROM instances WHERE finished_at IS NULL").fetchone()[0] > 1
    finally:
        ledger.close()


def call_alone(gate, other, options):
    """Calls a gate while the other one stands still."""
    os.kill(other.pid, signal.SIGSTOP)
    try:
        return call(gate, options, options.seconds)
    finally:
        os.kill(other.pid, signal.SIGCONT)


def take_turns(behind, calm, options):
    """Calls both in turns until one has caught up; the turns of which all of the one was beside its catch-up."""
    turns, begun = [], time.monotonic()
    while True:
        pair = {}
        for name in ("calm", "behind") if len(turns) % 2 else ("behind", "calm"):
            pair[name] = call_alone(calm, behind, options) if name == "calm" else call(behind, options, options.seconds)
        if not is_sealing(behind):
            return turns, time.monotonic() - begun
        turns.append(pair)
        print(f"  {metric(behind, BEHIND):>12,.0f} behind   p99 {pair['behind']['p99']:>8,.0f} µs beside it, "
              f"{pair['calm']['p99']:>8,.0f} µs without", flush=True)


def check(gate, left):
    """Everything is counted once."""
    result = subprocess.run([str(part) for part in gate.command("ledger", "verify", "--json")],
                            stdout=subprocess.PIPE, text=True, check=False)
    report = json.loads(result.stdout)
    if report["lost"] or report["duplicated"] or report["stored"] < left:
        raise RuntimeError(f"the books are not clean: {report}")
    return report


def main():
    """Measures and prints."""
    options = arguments()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="catchup-", dir=options.output.parent))
    backend = servers.Backend(1, run)
    gates = []
    try:
        gates += [gate_of(name, run, backend, options) for name in ("behind", "calm")]
        behind, calm = gates
        left = leave_behind(behind, options)
        print(f"{left:,} records are left behind, the gate is killed")
        proc.stop(calm.process, 30)
        come_back(calm)
        ready = come_back(behind)
        print(f"ready after {ready:.2f} s, {metric(behind, BEHIND):,.0f} records behind")
        turns, took = take_turns(behind, calm, options)
        if not turns:
            raise RuntimeError("it has caught up before the first turn was over: leave more --records behind")
        report = check(behind, left)
    finally:
        for gate in gates:
            gate.stop()
        backend.stop()
    shutil.rmtree(run)
    rows = {}
    for name in ("calm", "behind"):
        of = lambda field, name=name: statistics.median(turn[name][field] for turn in turns)
        rows[name] = {"p50_us": of("p50"), "p99_us": of("p99"),
                      "calls_per_second": statistics.median(t[name]["requests"] / t[name]["seconds"] for t in turns),
                      "not_ok": sum(turn[name]["not_ok"] for turn in turns)}
    results = {"left": left, "ready_seconds": ready, "caught_up_seconds": took, "turns": len(turns), "rows": rows,
               "verify": {field: report[field] for field in ("stored", "pending", "lost", "duplicated")}}
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{left:,} records, ready after {ready:.2f} s, caught up after {took:.0f} s and {len(turns)} turns")
    for name, row in rows.items():
        print(f"{name:<7} p50 {row['p50_us']:>7,.0f} µs  p99 {row['p99_us']:>8,.0f} µs  {row['calls_per_second']:>8,.0f} calls/s  "
              f"{row['not_ok']} not answered with 200")
    ratio = rows["behind"]["p99_us"] / rows["calm"]["p99_us"]
    print(f"p99 beside a catch-up is {ratio:.2f} × that without")
    return 1 if any(row["not_ok"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
