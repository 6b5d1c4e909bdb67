#!/usr/bin/env python3
"""Fails when a tracked file holds a conflict marker, or lies at the root without having a place there.

Both have happened: a merge that was committed half-way, and a file `20` that a shell made of `x > 20`.
"""

import re
import subprocess
import sys

# Everything that may lie at the top of the repository. A new name is added here on purpose.
AT_THE_ROOT = {
    ".ci", ".config", ".dockerignore", ".gitignore", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "Cargo.lock", "Cargo.toml",
    "LICENSE", "Makefile", "README.md", "SECURITY.md", "benches", "clippy.toml", "crates", "deny.toml", "deploy", "docs",
    "findings", "fuzz", "gateway.toml", "rustfmt.toml", "tests",
}

# The middle line of a conflict, `=======`, also underlines titles: the outer two are enough.
MARKER = re.compile(rb"^(<{7}|>{7})( |\r?$)", re.MULTILINE)


def tracked():
    output = subprocess.run(["git", "ls-files", "-z"], check=True, stdout=subprocess.PIPE).stdout
    return [name.decode() for name in output.split(b"\0") if name]


def strays(names):
    """Yields one line of text per file that is not as it should be."""
    for root in sorted({name.split("/")[0] for name in names} - AT_THE_ROOT):
        yield f"{root}: has no place at the root; remove it, or name it in .ci/strays.py"
    for name in names:
        try:
            with open(name, "rb") as file:
                found = MARKER.search(text := file.read())
        except (FileNotFoundError, IsADirectoryError):
            continue
        if found:
            line = text.count(b"\n", 0, found.start()) + 1
            yield f"{name}:{line}: a conflict marker; settle the conflict"


def main():
    lines = list(strays(tracked()))
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
