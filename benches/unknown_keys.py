#!/usr/bin/env python3
"""Unknown keys: what good keys and the store feel of a flood of well-formed keys that nobody has, and whether a fresh key is ever unknown.

Three gates share a PostgreSQL, once with a Redis beside it and once without. Each is called at a fixed rate with licenses of its own.
A round is a turn without a flood, one with the flood on a single gate, and one with the same flood spread over all three, in an order that
turns from round to round; ratios are taken within a round. Then keys are made and rotated on one gate and called at once on the
two others, while those are flooded and all are called. Build first: cargo build --release --bin tallygate
"""

import argparse
import hashlib
import http.client
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from bench import load, servers
from bench.stores import Stores

NODES = ("north", "south", "west")
CALM, ONE, ALL = "calm", "one gate", "all gates"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# A flooding call waits for a reading of the changes, so that many are under way at once.
FLOOD_CONNECTIONS = 256
# Time for a flood to build up and to end.
MARGIN_SECONDS = 2
# Who makes and rotates keys at once.
MAKERS = 8


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=10, help="of each turn (%(default)s)")
    parser.add_argument("--rate", type=int, default=300, help="good calls a second on each gate (%(default)s)")
    parser.add_argument("--flood", type=int, default=100_000, help="unknown keys a minute (%(default)s)")
    parser.add_argument("--fresh", type=int, default=1000, help="keys made and called at once (%(default)s)")
    parser.add_argument("--rotated", type=int, default=200, help="of them rotated (%(default)s)")
    parser.add_argument("--binary", type=Path, default=servers.ROOT / "target" / "release" / "tallygate",
                        help="of the gates (%(default)s)")
    parser.add_argument("--output", type=Path, default=servers.ROOT / "target" / "bench" / "unknown_keys.json")
    options = parser.parse_args()
    options.licenses, options.hot, options.routes, options.other, options.load_core = 100, 100, 1, None, 1
    return options


def base62(number, length):
    """A number in digits, letters and letters, padded with zeroes."""
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text = DIGITS[digit] + text
    return text


def unknown_key():
    """A key whose shape and checksum are right, and that nobody has."""
    body = "tg_" + base62(secrets.randbits(256), 43)
    digest = hashlib.sha256(body.encode()).digest()
    return body + base62(int.from_bytes(digest[:4], "little"), 6)


class Fleet:
    """Three gates on one core, and on the other one their store, the API and the load."""

    def __init__(self, with_redis, options):
        self.options = options
        self.run = Path(tempfile.mkdtemp(prefix="unknown-keys-", dir=options.output.parent))
        self.stores = options.stores = Stores(1)
        self.backend, self.gates = servers.Backend(1, self.run), []
        self.pool = ThreadPoolExecutor(2 * len(NODES))
        try:
            for node in NODES:
                described = {"name": node, "program": options.binary, "with_redis": with_redis}
                kind = type("Gate", (servers.TallygateFleet,), described)
                self.gates.append(kind(0, self.run, self.backend, options))
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """Ends all and removes what they wrote."""
        for gate in self.gates:
            gate.stop()
        self.backend.stop()
        self.stores.stop()
        shutil.rmtree(self.run)

    def asked(self):
        """Statements that PostgreSQL was asked so far, and how many of them read the changes."""
        text = self.stores.ask("SELECT coalesce(sum(calls), 0), coalesce(sum(calls) FILTER (WHERE query LIKE '%change_counter c LEFT%'), 0)"
                               " FROM pg_stat_statements WHERE toplevel")
        return [int(part) for part in text.split("|")]

    def good(self, gate, seconds):
        """Calls with known keys, for some seconds."""
        return load.wrk(1, 8, seconds, gate.url, gate.header, gate.keys, gate.paths, self.options.rate)

    def flood(self, gates, seconds):
        """Starts calls with unknown keys, each with another one, spread over gates."""
        rate = self.options.flood / 60 / max(1, len(gates))
        # Made beforehand: that takes a core for a while.
        keys = [gate.lines("unknown", [unknown_key() for _ in range(int(rate * seconds))]) for gate in gates]
        return [
            self.pool.submit(load.wrk, 1, FLOOD_CONNECTIONS // len(gates), seconds, gate.url, gate.header, some, gate.paths, rate)
            for gate, some in zip(gates, keys)
        ]

    def turn(self, flooded):
        """All gates under load, some of them flooded: what the calls met and what PostgreSQL was asked."""
        seconds = self.options.seconds
        # The flood begins before what is measured, and ends after it.
        floods = self.flood(flooded, seconds + 2 * MARGIN_SECONDS)
        time.sleep(MARGIN_SECONDS)
        before, begun = self.asked(), time.monotonic()
        goods = [one.result() for one in [self.pool.submit(self.good, gate, seconds) for gate in self.gates]]
        after, took = self.asked(), time.monotonic() - begun
        statements, readings = ((then - now) / took for now, then in zip(before, after))
        return {"good": goods, "flood": [one.result() for one in floods], "statements": statements, "readings": readings}

    def round(self, number):
        """Each kind of turn once, in an order that turns."""
        kinds = [(CALM, []), (ONE, self.gates[:1]), (ALL, self.gates)]
        return {name: self.turn(flooded) for name, flooded in kinds[number % 3:] + kinds[:number % 3]}


def total(reports):
    """Answers by status."""
    found = Counter()
    for one in reports:
        found.update(one["statuses"])
        found["broken"] += one["broken"]
    return {status: count for status, count in sorted(found.items()) if count}


def summary(rounds, name, gates):
    """What a kind of turn cost, beside the calm ones of the same rounds; latency of the flooded gates."""
    pairs = [(one[name]["good"][gate]["p99"], one[CALM]["good"][gate]["p99"]) for one in rounds for gate in range(gates)]
    ratios = [with_flood / without for with_flood, without in pairs]
    floods = [report for one in rounds for report in one[name]["flood"]]
    return {
        "p99_us": median(pair[0] for pair in pairs), "p99_calm_us": median(pair[1] for pair in pairs),
        "ratio": median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios),
        "readings_more": median(one[name]["readings"] - one[CALM]["readings"] for one in rounds),
        "statements_more": median(one[name]["statements"] - one[CALM]["statements"] for one in rounds),
        "good": total(report for one in rounds for report in one[name]["good"]),
        "flood": total(floods),
        "flood_a_second": median(sum(report["requests"] / report["seconds"] for report in one[name]["flood"]) for one in rounds),
        "flood_p50_us": median(report["p50"] for report in floods), "flood_p99_us": median(report["p99"] for report in floods),
    }


class Caller:
    """A connection to one gate."""

    def __init__(self, gate):
        self.connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=10)

    def status(self, key):
        """The status of one call."""
        self.connection.request("GET", "/v1/items", headers={servers.KEY_HEADER: key})
        response = self.connection.getresponse()
        response.read()
        return str(response.status)


def make_and_rotate(gates, fresh, rotated):
    """Makes keys on the first gate and calls the others with each at once; the answers by status."""
    callers, found = [Caller(gate) for gate in gates[1:]], Counter()
    for number in range(fresh):
        created = gates[0].post("/api/v1/licenses", {"app": servers.APP})
        callers.reverse()
        found.update(f"fresh {caller.status(created['key'])}" for caller in callers)
        if number >= rotated:
            continue
        # With an overlap both keys are good, without one the new key is from the moment that the former one is not.
        overlap = {"overlap": "1h"} if number % 2 else {}
        key = gates[0].post(f"/api/v1/licenses/{created['id']}/rotate", overlap)["key"]
        found.update(f"rotated {caller.status(key)}" for caller in callers)
        if overlap:
            found.update(f"former {caller.status(created['key'])}" for caller in callers)
    return found


def fresh_keys(fleet, options):
    """[`make_and_rotate`] under load and a flood on the gates that are called."""
    answers, found, others = {"good": [], "flood": []}, Counter(), fleet.gates[1:]
    with ThreadPoolExecutor(MAKERS) as pool:
        makers = [pool.submit(make_and_rotate, fleet.gates, options.fresh // MAKERS, options.rotated // MAKERS) for _ in range(MAKERS)]
        while not all(maker.done() for maker in makers):
            seconds = 5
            loads = {"flood": fleet.flood(others, seconds),
                     "good": [fleet.pool.submit(fleet.good, gate, seconds) for gate in fleet.gates]}
            for name, some in loads.items():
                answers[name] += [one.result() for one in some]
        for maker in makers:
            found.update(maker.result())
    return {"called": dict(sorted(found.items())), **{name: total(reports) for name, reports in answers.items()}}


def measure(with_redis, options):
    """All of it with one kind of fleet."""
    fleet = Fleet(with_redis, options)
    try:
        fleet.turn([])
        rounds = []
        for number in range(options.rounds):
            rounds.append(fleet.round(number))
            print(f"round {number + 1} of {options.rounds}: " + ", ".join(
                f"{name} p99 {turn['good'][0]['p99']:,} µs, {turn['readings']:.1f} readings/s" for name, turn in rounds[-1].items()),
                flush=True)
        return {ONE: summary(rounds, ONE, 1), ALL: summary(rounds, ALL, len(NODES)), "fresh": fresh_keys(fleet, options)}
    finally:
        fleet.stop()


def show(name, found):
    """Prints what was found."""
    print(f"\n{name}:")
    for kind in (ONE, ALL):
        row = found[kind]
        print(f"  flood on {kind}: p99 of good keys {row['p99_calm_us']:,.0f} -> {row['p99_us']:,.0f} µs, {row['ratio']:.2f} "
              f"({row['ratio_low']:.2f}-{row['ratio_high']:.2f}); {row['readings_more']:.1f} readings and {row['statements_more']:.1f} "
              f"statements/s more; good keys {row['good']}; {row['flood_a_second']:,.0f} unknown keys/s {row['flood']}, "
              f"p50 {row['flood_p50_us'] / 1000:.0f} ms, p99 {row['flood_p99_us'] / 1000:.0f} ms")
    print(f"  fresh and rotated keys: {found['fresh']['called']}; beside them {found['fresh']['good']}, flood {found['fresh']['flood']}")


def refused(found):
    """Whether a good key was told to be none."""
    answers = [found[ONE]["good"], found[ALL]["good"], found["fresh"]["good"]]
    return any(status[-3:] in ("401", "403") for row in [*answers, found["fresh"]["called"]] for status in row)


def main():
    """Measures and prints."""
    options = arguments()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, with_redis in (("with Redis", True), ("without Redis", False)):
        results[name] = measure(with_redis, options)
        show(name, results[name])
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any(refused(found) for found in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
