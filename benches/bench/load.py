"""One round: load on a server for some seconds, and what that cost."""

import json
import subprocess
import time
from pathlib import Path

from . import proc

HERE = Path(__file__).resolve().parent.parent

# Nothing is over until the server rests: what it does later for the calls of a round belongs to that round.
REST_POLL_SECONDS = 0.2
REST_LIMIT_SECONDS = 15
# Less CPU time than this per poll is rest: a timer or two.
REST_CPU_SECONDS = 0.011


def wrk(core, connections, seconds, url, header, keys, paths, rate=None, user_agent=None):
    """Runs wrk on its core, as fast as the server answers or at a rate, and gives what it reports."""
    script, more = ("paced.lua", [str(rate)]) if rate else ("wrk.lua", [user_agent] if user_agent else [])
    command = [
        "taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
        "-s", str(HERE / script), url, "--", header, str(keys), str(paths), *more,
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in result.stdout.splitlines():
        if line.startswith("JSON "):
            return json.loads(line[5:])
    raise RuntimeError(f"wrk reported nothing:\n{result.stdout}")


def rest(pid):
    """Waits until a process uses no CPU to speak of."""
    last = proc.cpu_seconds(pid)
    deadline = time.monotonic() + REST_LIMIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(REST_POLL_SECONDS)
        now = proc.cpu_seconds(pid)
        if now - last <= REST_CPU_SECONDS:
            return
        last = now


def measure(server, core, connections, seconds):
    """Load on a running server: calls per second, latency, and CPU per call of all its processes."""
    rest(server.pid)
    before = proc.cpu_seconds(server.pid)
    ledger_before = proc.cpu_seconds_of_threads(server.pid, "ledger-")
    helpers_before = {name: proc.cpu_seconds(pid) for name, pid in server.helper_pids.items()}
    asked_before = server.statements()
    report = wrk(core, connections, seconds, server.url, server.header, server.keys, server.paths,
                 user_agent=server.options.user_agent)
    under_load = proc.cpu_seconds(server.pid) - before
    rest(server.pid)
    calls = max(report["requests"], 1)
    ledger = proc.cpu_seconds_of_threads(server.pid, "ledger-") - ledger_before
    total = proc.cpu_seconds(server.pid) - before
    helpers = {
        name: (proc.cpu_seconds(pid) - helpers_before[name]) / calls * 1e6 for name, pid in server.helper_pids.items()
    }
    asked = {name: count - asked_before[name] for name, count in server.statements().items()}
    return {
        "server": server.name,
        "calls": report["requests"],
        "calls_per_second": report["requests"] / report["seconds"],
        # Without the threads that work beside the calls, which have a bar of their own.
        "cpu_us": (total - ledger) / calls * 1e6,
        "ledger_us": ledger / calls * 1e6,
        # Processes that the server cannot do without, such as its Redis.
        "helper_us": sum(helpers.values()),
        "helpers_us": helpers,
        "statements": sum(asked.values()) / calls,
        "asked": asked,
        "busy": under_load / report["seconds"],
        "p50_us": report["p50"],
        "p99_us": report["p99"],
        "not_ok": report["not_ok"],
        "broken": report["broken"],
        "resident_mib": proc.resident_mib(server.pid),
    }
