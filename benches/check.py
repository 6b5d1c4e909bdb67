#!/usr/bin/env python3
"""License checks, verifications and validations over HTTP: how many a second one core answers, from a warm cache, with a quota.

The gate has one core, the load (with `fleet` PostgreSQL and Redis, too) the other. A verification spends a unit, a validation of
AuthForge's a credit, and both are durable before their answer; afterwards the balance must say that every answer was counted once.
Build first: cargo build --release --bin tallygate
"""

import argparse
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from statistics import median

from bench import load, proc, servers

QUOTA = 10**12
ACCOUNT = "default"
# AuthForge's limits of requests are far below what is measured.
UNLIMITED = """[app.authforge]
validate_limit = ""
validate_limit_per_address = ""
heartbeat_limit = ""
"""


class Case:
    """A request that is sent again and again, and how to tell that its answer is right."""

    # The license that its records name, and what says how many units are left, as a command.
    license, shows_balance = None, None
    # Answers that somebody got, and those that nobody waited for any more.
    answered, abandoned = 0, 0

    def __init__(self, name, path, headers, body, is_right):
        self.name, self.path, self.headers, self.body, self.is_right = name, path, headers, body, is_right

    def is_answered(self, gate):
        """Whether one call is answered as it should be."""
        # A validation names each nonce once.
        body = json.loads(json.dumps(self.body).replace("@NONCE@", uuid.uuid4().hex))
        self.answered += 1
        return self.is_right(call(gate, self.path, self.headers, body))


def call(gate, path, headers, body):
    """One call of the control listener."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.control, timeout=10)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return answer


def cases(gate):
    """The requests under measurement, each with a license or key of its own."""
    management = gate.post("/api/v1/management-keys", {})["key"]
    bearer = {"Authorization": f"Bearer {management}"}
    license_key = gate.post("/api/v1/licenses", {"app": servers.APP, "remaining": QUOTA})["key"]
    for name, path in (("verify", "/api/auth/api-key/verify"), ("verify (native)", "/api/v1/keys/verify")):
        key = gate.post("/api/v1/keys", {"app": servers.APP, "remaining": QUOTA, "rate_limit_enabled": False})
        case = Case(name, path, bearer, {"key": key["key"]}, lambda answer: answer["valid"])
        case.license, case.shows_balance = key["id"], ("license", "show", key["id"])
        yield case
    check = Case("license check", "/v1/app/user/license/check", {"Apifew-Key": management},
                 {"LICENSE_KEY": license_key}, lambda answer: answer["data"]["license_ok"])
    yield check
    yield validation(gate)


def validation(gate):
    """A validation by software that is sold with the app, from one device, paid by the account."""
    app = gate.post(f"/api/v1/apps/{servers.APP}/credentials", {})
    sold = gate.post("/api/v1/licenses", {"app": servers.APP, "key_format": "authforge", "device_slots": 2})
    gate.post(f"/api/v1/accounts/{ACCOUNT}/credit", {"units": QUOTA, "reason": "benchmark"})
    body = {"appId": app["app_id"], "appSecret": app["app_secret"], "licenseKey": sold["key"], "hwid": "bench",
            "nonce": "@NONCE@"}
    case = Case("validate", "/auth/validate", {}, body, lambda answer: answer["status"] == "success")
    case.license, case.shows_balance = sold["id"], ("account", "show", ACCOUNT)
    return case


def remaining(gate, case):
    """Units left to pay with."""
    command = [str(part) for part in gate.command(*case.shows_balance, "--json")]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(shown.stdout)["balance"]["remaining"]


def wrk(gate, case, options, seconds):
    """Load with one request, from one core."""
    body = gate.lines(f"body-{case.path.replace('/', '-')}", [json.dumps(case.body)])
    command = [
        "taskset", "-c", str(options.load_core), "wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", "--latency",
        "-s", str(load.HERE / "post.lua"), f"http://127.0.0.1:{gate.control}{case.path}", "--", str(body),
        *(part for header in case.headers.items() for part in header),
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in result.stdout.splitlines():
        if line.startswith("JSON "):
            report = json.loads(line[5:])
            case.answered += report["requests"] - report["not_ok"]
            # When it ends, each connection may wait for one more.
            case.abandoned += options.connections
            return report
    raise RuntimeError(f"wrk reported nothing:\n{result.stdout}")


def measure(gate, case, options):
    """Medians of the rounds of one request."""
    assert case.is_answered(gate), case.name
    wrk(gate, case, options, options.warm_up)
    rounds = []
    for _ in range(options.rounds):
        load.rest(gate.pid)
        before = proc.cpu_seconds(gate.pid)
        report = wrk(gate, case, options, options.seconds)
        used = proc.cpu_seconds(gate.pid) - before
        report["cpu_us"] = used / max(report["requests"], 1) * 1e6
        report["busy"] = used / report["seconds"]
        rounds.append(report)
    assert case.is_answered(gate), case.name
    return {
        "per_second": median(one["requests"] / one["seconds"] for one in rounds),
        **{key: median(one[key] for one in rounds) for key in ("cpu_us", "p50", "p99", "busy")},
        "errors": sum(one["not_ok"] + one["broken"] for one in rounds),
    }


def spent_and_recorded(gate, case):
    """Units that the balance says were spent, and calls that the ledger has of them."""
    command = [str(part) for part in gate.command("ledger", "verify", "--json")]
    books = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    assert books["lost"] == books["duplicated"] == 0, books
    usage = gate.command("usage", "--license", case.license, "--json")
    rows = json.loads(subprocess.run([str(part) for part in usage], stdout=subprocess.PIPE, text=True, check=True).stdout)
    return QUOTA - remaining(gate, case), sum(row["units"] for row in rows)


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="another build of the gate")
    parser.add_argument("--durability", default="process,disk",
                        help="or `fleet`, which is `process` with PostgreSQL and Redis (%(default)s)")
    parser.add_argument("--request", help="only those with this in their name, for example `validate`")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="of load per request and round (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=2, help="seconds of load before (%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--server-core", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--load-core", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args()
    options.app_tables = UNLIMITED
    options.licenses, options.hot, options.routes, options.other, options.stores = 1, 1, 1, options.binary, None
    kinds = {kind.durability: kind for kind in (
        (servers.OtherProcess, servers.OtherDisk) if options.binary else (servers.TallygateProcess, servers.TallygateDisk))}
    kinds["fleet"] = servers.TallygateFleet
    output = servers.ROOT / "target" / "bench"
    output.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="check-", dir=output))
    backend = servers.Backend(options.load_core, run)
    failed = False
    print(f"{'durability':<11} {'request':<17} {'a second':>9} {'CPU µs':>7} {'p50 µs':>7} {'p99 µs':>7} {'busy':>5}")
    try:
        for durability in options.durability.split(","):
            gate = kinds[durability](options.server_core, run, backend, options)
            try:
                for case in cases(gate):
                    if options.request and options.request not in case.name:
                        continue
                    row = measure(gate, case, options)
                    print(f"{durability:<11} {case.name:<17} {row['per_second']:>9.0f} {row['cpu_us']:>7.1f} "
                          f"{row['p50']:>7.0f} {row['p99']:>7.0f} {row['busy']:>5.0%}", flush=True)
                    failed |= row["errors"] > 0
                    if case.license:
                        spent, recorded = spent_and_recorded(gate, case)
                        if spent != recorded:
                            print(f"  {spent} units spent, {recorded} recorded: they must be the same")
                            failed = True
                        if not case.answered <= spent <= case.answered + case.abandoned:
                            print(f"  {spent} units spent for {case.answered} answers")
                            failed = True
            finally:
                gate.stop()
    finally:
        backend.stop()
    shutil.rmtree(run)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
