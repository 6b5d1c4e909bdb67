#!/usr/bin/env python3
"""Fails when a crate of this workspace depends on one that it may not know.

The arrows are those of the design: mechanisms know the words of the domain, products know mechanisms, and only the
binary knows all. `testkit` proves the product from outside, so it is a dev-dependency and nothing else.
"""

import json
import subprocess
import sys

# Read as: crate, then what its own code may use. Dev-dependencies may go further: a test may build the real parts.
ALLOWED = {
    "allocator": set(),
    "model": set(),
    "journal": set(),
    "telemetry": set(),
    "billing": {"model"},
    "config": {"model"},
    "store": {"model"},
    "licensing": {"model", "store"},
    "coordinator": {"licensing", "model", "store"},
    "ledger": {"billing", "journal", "model", "store"},
    "gate": {"config", "journal", "licensing", "model", "telemetry"},
    "proxy": {"config", "gate", "model", "telemetry"},
    "control": {"billing", "config", "gate", "ledger", "licensing", "model", "store", "telemetry"},
    "gateway": {
        "allocator", "billing", "config", "control", "coordinator", "gate", "journal", "ledger", "licensing", "model", "proxy", "store",
        "telemetry",
    },
    "testkit": {"model"},
    "bench-rig": {"allocator"},
}


def broken_arrows(metadata):
    """Yields one line of text per dependency that the table above does not allow."""
    ours = {package["name"]: package for package in metadata["packages"]}
    for name, package in sorted(ours.items()):
        if name not in ALLOWED:
            yield f"{name}: not in the table of .ci/arrows.py; say there what it may know"
            continue
        for dependency in package["dependencies"]:
            target = dependency["name"]
            if target not in ours or dependency["kind"] == "dev":
                continue
            if target not in ALLOWED[name]:
                allowed = ", ".join(sorted(ALLOWED[name])) or "nothing of ours"
                yield f"{name} -> {target}: not allowed, {name} may know {allowed}"


def main():
    output = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"],
        check=True, stdout=subprocess.PIPE,
    ).stdout
    lines = list(broken_arrows(json.loads(output)))
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
