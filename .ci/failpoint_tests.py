#!/usr/bin/env python3
"""Prints the arguments that choose exactly the tests which need the fail points.

Chosen from the whole workspace, not crate by crate: so every dependency has the features that it has in the ordinary
tests, and nothing of it is compiled twice.
"""

import json
import subprocess

FEATURE = "failpoints"


def main():
    output = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"],
        check=True, stdout=subprocess.PIPE,
    ).stdout
    names = sorted(
        target["name"]
        for package in json.loads(output)["packages"]
        for target in package["targets"]
        if FEATURE in target.get("required-features", [])
    )
    print(" ".join(["--workspace", "--features", FEATURE, *(f"--test={name}" for name in names)]))


if __name__ == "__main__":
    main()
