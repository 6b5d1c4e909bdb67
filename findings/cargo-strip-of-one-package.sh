#!/bin/sh
# Cargo 1.95.0 drops `strip = true` of a profile for each package that has a line of its own in the same profile, whatever that line
# sets: `opt-level` for the package of the program, and the program keeps its symbols. Documentation says that such a line changes
# what it names; of other settings (`lto`, `panic`) it says that they cannot be named there, and they hold for all packages.
# Why it matters: who makes the rest of a program small by such lines gets a larger file than before, without a word. `strip = true`
# has to be said once more, in the line of the package that holds the program.
#
# Usage: findings/cargo-strip-of-one-package.sh    (needs cargo 1.95 and nm; nothing is left behind)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
echo 'fn main() {}' > src/main.rs

symbols() { # LINES-OF-THE-PACKAGE: how many symbols the program has
    printf '[package]\nname = "program"\nversion = "0.1.0"\nedition = "2024"\n\n[profile.release]\nstrip = true\n\n%b' "$1" > Cargo.toml
    cargo build --release --offline --quiet
    nm target/release/program 2>/dev/null | wc -l
}

alone=$(symbols '')
level=$(symbols '[profile.release.package.program]\nopt-level = 2\n')
again=$(symbols '[profile.release.package.program]\nopt-level = 2\nstrip = true\n')
echo "$(cargo --version | cut -d' ' -f1,2): symbols with strip = true: $alone, with a line for the package: $level, with strip there too: $again"
[ "$alone" = 0 ] && [ "$level" -gt 100 ] && [ "$again" = 0 ] || { echo "changed: expected 0, some hundred, 0" >&2; exit 1; }
echo "as described"
