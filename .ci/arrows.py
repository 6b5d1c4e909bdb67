#!/usr/bin/env python3
"""Fails when a crate of this workspace depends on one that it may not know, or the table below allows what no crate needs.

The arrows are those of the design: mechanisms know the words of the domain, products know mechanisms, and only the
binary knows all. `testkit` proves the product from outside, so it is a dev-dependency and nothing else.
"""

import json
import pathlib
import re
import subprocess
import sys

# Read as: crate, then what its own code may use. Dev-dependencies may go further: a test may build the real parts.
ALLOWED = {
    "agents": {"model"},
    "allocator": set(),
    "model": set(),
    "api-types": {"model"},
    "journal": set(),
    "telemetry": set(),
    "billing": {"model"},
    "config": {"model"},
    "outbound": {"model"},
    "store": {"model"},
    "licensing": {"model", "store"},
    "coordinator": {"licensing", "model", "store"},
    "ledger": {"billing", "journal", "model", "store"},
    "gate": {"agents", "journal", "licensing", "model", "telemetry"},
    "proxy": {"gate", "model"},
    "control": {"agents", "api-types", "gate", "ledger", "licensing", "model", "store", "webhooks"},
    "gateway": {
        "agents", "allocator", "api-types", "config", "control", "coordinator", "gate", "journal", "ledger", "licensing", "model",
        "outbound", "proxy", "store", "telemetry", "webhooks",
    },
    "webhooks": {"model", "outbound", "store"},
    "store-conformance": {"model", "store"},
    "testkit": set(),
    "bench-rig": {"allocator"},
}


def broken_arrows(metadata):
    """Yields one line of text per dependency that the table above does not allow, and per arrow of it that is not used."""
    ours = {package["name"]: package for package in metadata["packages"]}
    for name, package in sorted(ours.items()):
        if name not in ALLOWED:
            yield f"{name}: not in the table of .ci/arrows.py; say there what it may know"
            continue
        used = {dependency["name"] for dependency in package["dependencies"] if dependency["kind"] != "dev"} & ours.keys()
        for target in sorted(used - ALLOWED[name]):
            allowed = ", ".join(sorted(ALLOWED[name])) or "nothing of ours"
            yield f"{name} -> {target}: not allowed, {name} may know {allowed}"
        for target in sorted(ALLOWED[name] - used):
            yield f"{name} -> {target}: allowed and not used; cut it from the table of .ci/arrows.py"
    for name in sorted(ALLOWED.keys() - ours.keys()):
        yield f"{name}: no crate of this workspace; cut it from the table of .ci/arrows.py"


# The commands that ask a gate over the native API know its requests and answers, which stand in `api-types`, and not how they
# are served: they could be a program of their own.
CLIENT = pathlib.Path("crates/gateway/src/cli")
SERVER = ("control", "ledger", "store")


def named_by_the_client(files):
    """Yields one line of text per crate of the server that a file of the command line names."""
    for path, text in files:
        # A module of the same name, such as that of `tallygate ledger`, stands for itself in the file that declares it.
        code = re.sub(r"//.*", "", text)
        modules = set(re.findall(r"^\s*mod (\w+);", code, re.MULTILINE))
        for crate in sorted(set(SERVER) - modules):
            if re.search(rf"(?<![\w:]){crate}::", code) or re.search(rf"(?<!\w)::{crate}::", code):
                yield f"{path}: names `{crate}`; the command line may only know what `api-types` and `model` say"


def main():
    output = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"],
        check=True, stdout=subprocess.PIPE,
    ).stdout
    client = [(path, path.read_text()) for path in sorted(CLIENT.rglob("*.rs"))]
    lines = [*broken_arrows(json.loads(output)), *named_by_the_client(client)]
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
