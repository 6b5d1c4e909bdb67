#!/usr/bin/env python3
"""Revocations: the time from the commit of a revocation at one of three gates until the last of them refuses the key.

Three gates share a PostgreSQL and a Redis and are under load with other licenses all the while. Licenses that every gate knows
are revoked one after the other; each gate is asked again and again until it refuses. Then the same with pushes cut off (Redis
refuses PUBLISH), when only the second's reading of changes is left. Build first: cargo build --release --bin tallygate
"""

import argparse
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import load, proc, servers
from bench.stores import Stores

NODES = ("north", "south", "west")
# A revocation that is not everywhere by then is a failure, whatever the percentiles say.
BOUND_SECONDS = 2.0


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revocations", type=int, default=1000, help="with pushes (%(default)s)")
    parser.add_argument("--without-push", type=int, default=100, help="without pushes (%(default)s)")
    parser.add_argument("--connections", type=int, default=4, help="of load on each gate (%(default)s)")
    parser.add_argument("--output", type=Path, default=servers.ROOT / "target" / "bench" / "revocations.json")
    options = parser.parse_args()
    options.licenses, options.hot, options.routes, options.other, options.load_core = 1, 1, 1, None, 1
    return options


def gate_of(node, core, run, backend, options):
    """One gate of the fleet, named after its node."""
    kind = type("Gate", (servers.TallygateFleet,), {"name": node})
    return kind(core, run, backend, options)


class Caller:
    """A connection to one gate that asks whether a key still passes."""

    def __init__(self, gate):
        self.connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=10)

    def status(self, key):
        """The status of one call."""
        self.connection.request("GET", "/v1/items", headers={servers.KEY_HEADER: key})
        response = self.connection.getresponse()
        response.read()
        return response.status

    def refused_at(self, key):
        """When the gate first refused."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.status(key) in (401, 403):
                return time.monotonic()
        raise RuntimeError("a revoked key passes for 30 s")


def revoke_all(gates, count):
    """Revokes so many licenses that all gates know; seconds until the last gate refused, one for each."""
    callers = [Caller(gate) for gate in gates]
    took = []
    with ThreadPoolExecutor(len(callers)) as pool:
        for _ in range(count):
            created = gates[0].post("/api/v1/licenses", {"app": servers.APP})
            key = created["key"]
            # Every gate knows the key and has it in its memory.
            for caller in callers:
                proc.wait_until(lambda caller=caller: caller.status(key) == 200)
            gates[0].post(f"/api/v1/licenses/{created['id']}/revoke", {})
            committed = time.monotonic()
            took.append(max(0.0, max(pool.map(lambda caller: caller.refused_at(key), callers)) - committed))
    return took


def summary(took):
    """Percentiles in milliseconds."""
    ordered = sorted(took)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
    return {"count": len(ordered), "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": ordered[-1] * 1000}


def under_load(gates, options, work):
    """Does the work while all gates are called with a license of their own."""
    seconds = 3600
    loads = [
        subprocess.Popen(
            ["wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", "-s", str(load.HERE / "wrk.lua"), gate.url, "--",
             gate.header, str(gate.keys), str(gate.paths)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for gate in gates
    ]
    try:
        return work()
    finally:
        for one in loads:
            one.terminate()
            one.wait()


def main():
    """Measures and prints."""
    options = arguments()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="revocations-", dir=options.output.parent))
    options.stores = Stores(1)
    backend = servers.Backend(1, run)
    gates = []
    try:
        gates += [gate_of(node, index % 2, run, backend, options) for index, node in enumerate(NODES)]
        results = {"with push": summary(under_load(gates, options, lambda: revoke_all(gates, options.revocations)))}
        subprocess.run(["redis-cli", "-p", str(options.stores.redis_port), "acl", "setuser", "default", "-publish"],
                       check=True, stdout=subprocess.DEVNULL)
        results["without push"] = summary(
            under_load(gates, options, lambda: revoke_all(gates, options.without_push)))
    finally:
        for gate in gates:
            gate.stop()
        backend.stop()
        options.stores.stop()
    shutil.rmtree(run)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    for name, row in results.items():
        print(f"{name:<13} {row['count']:>5} revocations: p50 {row['p50_ms']:.1f} ms, p90 {row['p90_ms']:.1f} ms, "
              f"p99 {row['p99_ms']:.1f} ms, last {row['max_ms']:.1f} ms")
    return 1 if any(row["max_ms"] > BOUND_SECONDS * 1000 for row in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
