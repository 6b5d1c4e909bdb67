#!/usr/bin/env python3
"""Fails when a built binary is larger than it may be, or would not name the place of a panic.

`binary.py PATH`: at most 35 MB, as it is shipped, and with the names of the source files that a panic is reported with.
"""

import pathlib
import sys

LIMIT = 35_000_000
# A panic says the file and the line that stand in the code as constants, not in the symbols that are stripped.
PLACES = [b"crates/proxy/src/", b"crates/store/src/", b"crates/gateway/src/"]


def main():
    path = pathlib.Path(sys.argv[1])
    content = path.read_bytes()
    problems = [f"no panic would name a file in {place.decode()}" for place in PLACES if place not in content]
    if len(content) > LIMIT:
        problems.append(f"{len(content):,} bytes, and {LIMIT:,} is what it may have")
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
