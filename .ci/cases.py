#!/usr/bin/env python3
"""Fails when a case of the protocols that are served has no test.

The cases are those that the documents of the protocols are written from, by number. A test says which of them it is by its
name, `case_NN_what_holds`, so that `cargo nextest run --workspace -E 'test(case_38)'` runs all that is known of one.
"""

import pathlib
import re
import sys

CASES = {
    "apifew": range(1, 29),
    "APIMW": range(29, 50),
    "paywalls.net": [*range(50, 65), 66],
    "better-auth": range(68, 94),
    "AuthForge": range(94, 101),
}
# The name of a test behind the attributes that make it one.
TEST = re.compile(
    r"^#\[(?:tokio::)?test\b[^\n]*\]\n(?:#\[[^\n]*\]\n)*(?:async )?fn (case_(\d+)_\w+)", re.MULTILINE
)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    files = [*root.glob("tests/**/*.rs"), *root.glob("crates/*/tests/**/*.rs")]
    found = {}
    for path in files:
        for name, number in TEST.findall(path.read_text()):
            found.setdefault(int(number), []).append(name)
    missing = [
        f"case {number} ({protocol}) has no test named case_{number:02}_…"
        for protocol, numbers in CASES.items()
        for number in numbers
        if number not in found
    ]
    strange = [
        f"{name}: there is no case {number}"
        for number, names in found.items()
        for name in names
        if not any(number in numbers for numbers in CASES.values())
    ]
    for line in missing + strange:
        print(line, file=sys.stderr)
    return 1 if missing or strange else 0


if __name__ == "__main__":
    sys.exit(main())
