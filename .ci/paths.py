#!/usr/bin/env python3
"""Fails when a document names a file or folder of this repository that is not there.

Documents say where things are: `crates/gate/src/admit.rs` in backticks, or the target of a link. After a file has moved, nobody
reads them all again. History is left alone: a line of CHANGELOG.md may name what is gone.
"""

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

# A text in backticks is a path of ours when it begins with one of these. The placeholders NAME and N stand for any name.
FOLDERS = (".ci", ".config", "benches", "crates", "deploy", "docs", "findings", "fuzz", "tests")
IN_BACKTICKS = re.compile(r"`((?:" + "|".join(map(re.escape, FOLDERS)) + r")/[^`\s]*)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
PLACEHOLDER = re.compile(r"NAME|_N_|_N\.|…|\*|\{")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def tracked():
    output = subprocess.run(["git", "ls-files", "-z"], check=True, stdout=subprocess.PIPE).stdout
    return [name.decode() for name in output.split(b"\0") if name]


def named(text):
    """Yields (line, path, whether it is relative to the document) for each path that a document names."""
    # Examples are blanked, not cut, so that the numbers of lines stay.
    text = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for pattern, relative in ((IN_BACKTICKS, False), (LINK, True)):
        for match in pattern.finditer(text):
            path = match.group(1).rstrip("/.,:")
            if not PLACEHOLDER.search(path) and "://" not in path and not path.startswith("mailto:"):
                yield text.count("\n", 0, match.start()) + 1, path, relative


def missing(document, text, known):
    """Yields one line of text per path of the document that is not in `known`."""
    for line, path, relative in named(text):
        place = PurePosixPath(document).parent / path if relative else PurePosixPath(path)
        parts = []
        for part in place.parts:
            if part == ".." and parts:
                parts.pop()
            elif part != ".":
                parts.append(part)
        if "/".join(parts) not in known:
            yield f"{document}:{line}: {path} is not there; name the file that holds it now"


def main():
    files = tracked()
    known = set(files)
    for name in files:
        known.update(str(parent) for parent in PurePosixPath(name).parents)
    documents = [name for name in files if name.endswith(".md") and name != "CHANGELOG.md"]
    lines = [line for name in documents for line in missing(name, Path(name).read_text(), known)]
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
