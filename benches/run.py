#!/usr/bin/env python3
"""Side by side: CPU per call, calls per second and latency of the servers of bench/servers.py.

Every round goes through all servers, in turning order, so that what the machine does meanwhile falls on all alike;
ratios are taken within a round. The server under test has one core, load and backend the other. With --together all
are under load at once and share that core, so that what the machine does meanwhile falls on all in the same moment: ratios
of CPU per call are then as good as they get on a noisy host, while calls per second and latency mean nothing. Examples:

    benches/run.py                                          all servers, 9 rounds
    benches/run.py --servers bare,process,disk --rounds 5   a subset
    benches/run.py --servers bare,process --licenses 10000 --routes 1000
    benches/run.py --servers bare,disk,other-disk --other /tmp/tallygate-before
    benches/run.py --servers bare,process,disk --together   the ratios on a noisy host
    benches/run.py --servers process,fleet --unit process --together   what PostgreSQL and Redis add
    benches/run.py --servers process,process-agents --unit process --together --user-agent 'Mozilla/5.0 (X11; …) Firefox/145.0'
                                                            what [app.agents] adds to the calls of people
"""

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import load, report, servers

OUTPUT = servers.ROOT / "target" / "bench"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join(servers.USUAL), help="names, comma-separated (%(default)s)")
    parser.add_argument("--other", type=Path, metavar="BINARY",
                        help="of the servers other-process, other-disk and, beside it, other-bare")
    parser.add_argument("--unit", default="bare", help="the server that ratios are taken against (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="of load per server and round (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=2, help="seconds of load before the first round (%(default)s)")
    parser.add_argument("--together", action="store_true", help="all servers of a round at once")
    parser.add_argument("--connections", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--licenses", type=int, default=1, help="of the gates (%(default)s)")
    parser.add_argument("--hot", type=int, default=1000, help="of these licenses, so many are used (%(default)s)")
    parser.add_argument("--routes", type=int, default=1, help="of the gates; calls go through them (%(default)s)")
    parser.add_argument("--user-agent", metavar="TEXT", help="of the calls; without one they have none")
    parser.add_argument("--server-core", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--load-core", type=int, default=1, help="of load and backend (%(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT / "rounds.json", help="raw rounds (%(default)s)")
    options = parser.parse_args()
    # Each server of a fleet has its own.
    options.stores = None
    options.names = options.servers.split(",")
    unknown = [name for name in options.names if name not in servers.KINDS]
    if unknown:
        parser.error(f"unknown server {unknown[0]}: expected some of {', '.join(servers.KINDS)}")
    if not options.other and any(name.startswith("other-") for name in options.names):
        parser.error("other-bare, other-process and other-disk need --other BINARY")
    return options


def start_all(options, run):
    """The backend and every server, all resting but the one under load."""
    backend = servers.Backend(options.load_core, run)
    started = []
    try:
        for name in options.names:
            started.append(servers.KINDS[name](options.server_core, run, backend, options))
    except BaseException:
        stop_all(backend, started)
        raise
    return backend, started


def stop_all(backend, started):
    """Ends everything that was started."""
    for server in started:
        server.stop()
    backend.stop()


def one_round(started, number, options):
    """Each server once, in an order that turns from round to round, or all at once."""
    turned = started[number % len(started):] + started[:number % len(started)]
    with ThreadPoolExecutor(len(started) if options.together else 1) as pool:
        measured = pool.map(
            lambda server: load.measure(server, options.load_core, options.connections, options.seconds), turned)
    by_name = dict(zip((server.name for server in turned), measured))
    return {server.name: by_name[server.name] for server in started}


def main():
    """Measures and prints."""
    options = arguments()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="run-", dir=OUTPUT))
    rounds = []
    backend, started = start_all(options, run)
    try:
        for server in started:
            load.measure(server, options.load_core, options.connections, options.warm_up)
        for number in range(options.rounds):
            rounds.append(one_round(started, number, options))
            print(f"round {number + 1} of {options.rounds}: " + ", ".join(
                f"{name} {one['cpu_us']:.1f} µs" for name, one in rounds[-1].items()), flush=True)
    finally:
        stop_all(backend, started)
    shutil.rmtree(run)
    rows = report.summary(rounds, options.unit)
    settings = {key: str(value) for key, value in vars(options).items()} | {"when": time.strftime("%Y-%m-%dT%H:%M:%S")}
    report.save(options.output, settings, rounds, rows)
    print(f"\n{report.table(rows)}\n\nraw rounds: {options.output}")
    return 1 if any(row["not_ok"] or row["broken"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
