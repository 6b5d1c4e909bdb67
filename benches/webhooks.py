#!/usr/bin/env python3
"""Webhooks: how many pending events a second one gate delivers, in how much memory, and what that costs its proxy threads.

As many licenses are made as events are wanted, while their webhook is paused; then it is resumed. The receiver is nginx, which
answers 200 from memory; it and the making of licenses have the other core. The gate takes no call meanwhile, so that the CPU time of
its proxy threads beside that of an idle gate shows what deliveries cost them. Build first: cargo build --release --bin tallygate
"""

import argparse
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import proc, servers

TABLES = """[control]
allow_private_webhook_targets = true
allow_plain_webhook_targets = true
"""
DELIVERED = 'tallygate_webhook_deliveries_total{result="delivered"}'
FAILED = 'tallygate_webhook_deliveries_total{result="failed"}'
PENDING = "tallygate_webhook_pending"
# The bars of the issue: deliveries a second, and proxy threads that nothing is seen of.
BAR_PER_SECOND = 1_000
BAR_PROXY_CORE = 0.01


def metric(gate, name):
    """A figure of the gate's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gate.metrics}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)]
    if not found:
        raise RuntimeError(f"there is no metric {name}")
    return found[0]


def cpu(gate):
    """CPU time of the proxy's threads, and of the whole gate."""
    return proc.cpu_seconds_of_threads(gate.pid, "proxy-"), proc.cpu_seconds(gate.pid)


def share(before, after, seconds):
    """The shares of a core between two readings."""
    return [(late - early) / seconds for early, late in zip(before, after)]


def fill(gate, backend, events):
    """A paused webhook, and so many events that wait for it. Returns the webhook's id."""
    url = f"http://127.0.0.1:{backend.port}/hook"
    webhook = gate.post("/api/v1/webhooks", {"url": url, "paused": True})["id"]
    gate.create_licenses(events)
    # The gate counts what waits every ten seconds.
    proc.wait_until(lambda: metric(gate, PENDING) >= events, seconds=60 + events / 500)
    return webhook


def deliver(gate, webhook, events, every):
    """Resumes the webhook and waits for the last delivery. Returns readings of (seconds, delivered, MiB)."""
    readings, begun = [], time.monotonic()
    gate.post(f"/api/v1/webhooks/{webhook}/resume", {})
    while not readings or readings[-1][1] < events:
        time.sleep(every)
        readings.append((time.monotonic() - begun, metric(gate, DELIVERED), proc.resident_mib(gate.pid)))
        if len(readings) > 60 / every and readings[-1][1] == readings[-int(60 / every)][1]:
            raise RuntimeError(f"nothing was delivered for a minute: {readings[-1]}, {metric(gate, FAILED):.0f} failed")
    return readings


def measure(gate, backend, options):
    """One gate: idle, with all that waits, and delivering. Returns whether it met the bars."""
    begun = time.monotonic()
    webhook = fill(gate, backend, options.events)
    filled = proc.resident_mib(gate.pid)
    print(f"{gate.name}: {options.events} events wait after {time.monotonic() - begun:.0f} s, {filled:.0f} MiB")
    idle = cpu(gate)
    time.sleep(options.idle)
    idle = share(idle, cpu(gate), options.idle)
    busy = cpu(gate)
    readings = deliver(gate, webhook, options.events, options.every)
    seconds, delivered, _ = readings[-1]
    busy = share(busy, cpu(gate), seconds)
    for at, count, mib in readings[:: max(1, len(readings) // 10)]:
        print(f"  {at:>7.1f} s {count:>9.0f} delivered {mib:>6.0f} MiB")
    memory = [mib for *_, mib in readings]
    rate = delivered / seconds
    print(f"  {rate:.0f} deliveries a second, {min(memory):.0f} to {max(memory):.0f} MiB, {metric(gate, FAILED):.0f} failed")
    print(f"  proxy threads: {idle[0]:.2%} of a core idle, {busy[0]:.2%} delivering; the gate {idle[1]:.0%} and {busy[1]:.0%}")
    return rate >= BAR_PER_SECOND and busy[0] <= idle[0] + BAR_PROXY_CORE


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="another build of the gate")
    parser.add_argument("--gates", default="process", help="of process, disk and fleet: PostgreSQL and Redis (%(default)s)")
    parser.add_argument("--events", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument("--idle", type=float, default=10, help="seconds of the idle gate (%(default)s)")
    parser.add_argument("--every", type=float, default=1, help="seconds between two readings (%(default)s)")
    parser.add_argument("--server-core", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--load-core", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args()
    options.app_tables = TABLES
    options.licenses, options.hot, options.routes, options.other, options.stores = 1, 1, 1, options.binary, None
    kinds = {"process": servers.TallygateProcess, "disk": servers.TallygateDisk, "fleet": servers.TallygateFleet}
    if options.binary:
        kinds |= {"process": servers.OtherProcess, "disk": servers.OtherDisk}
    output = servers.ROOT / "target" / "bench"
    output.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="webhooks-", dir=output))
    backend = servers.Backend(options.load_core, run)
    met = True
    try:
        for name in options.gates.split(","):
            gate = kinds[name](options.server_core, run, backend, options)
            try:
                met &= measure(gate, backend, options)
            finally:
                gate.stop()
    finally:
        backend.stop()
    shutil.rmtree(run)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
