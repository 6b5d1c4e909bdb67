//! No file makes the reader panic, and none is refused without a reason and a place.

use config::{DEFAULT_FILE, exercise};
use proptest::prelude::*;

/// The file, with the examples turned on, so that more of it is read.
fn seed() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    DEFAULT_FILE.lines().map(on).collect()
}

fn spliced(text: &str, at: usize, length: usize, piece: &[u8]) -> Vec<u8> {
    let at = at % (text.len() + 1);
    let end = (at + length).min(text.len());
    [&text.as_bytes()[..at], piece, &text.as_bytes()[end..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_file_with_a_piece_replaced_is_read_or_refused(
        at in any::<usize>(),
        length in 0_usize..60,
        piece in prop::sample::select(vec![
            "", "\"", "\"\"\"", "'", "[", "]", "[[", "{", "}", "=", ".", "#", "\n", "\0", "\u{feff}", "é", "${", "${A}", "$${",
            "-1", "1e9", "9223372036854775808", "0x7f", "2026-01-01", "true", "nan", "\\u0000", "\\", "\r", "[[app]]\n", "[plan]\n",
            "[app.route]\n", "a.b.c = 1\n", "listen = 1\n",
        ]),
    ) {
        exercise(&spliced(DEFAULT_FILE, at, length, piece.as_bytes()));
        exercise(&spliced(&seed(), at, length, piece.as_bytes()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>()) {
        exercise(&bytes);
        exercise(&spliced(DEFAULT_FILE, at, 0, &bytes));
    }

    #[test]
    fn any_lines_of_the_file_in_any_order_are_read_or_refused(picked in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let text = seed();
        let lines: Vec<&str> = text.lines().collect();
        let picked: Vec<&str> = picked.iter().map(|index| lines[index.index(lines.len())]).collect();
        exercise(picked.join("\n").as_bytes());
    }
}

#[test]
fn deep_and_long_files_are_read_or_refused() {
    exercise("[".repeat(20_000).as_bytes());
    exercise(format!("a = {}", "[".repeat(20_000)).as_bytes());
    exercise(format!("a{} = 1", ".a".repeat(20_000)).as_bytes());
    exercise(format!("[[app]]\nname = \"{}\"", "x".repeat(200_000)).as_bytes());
    exercise("[[app]]\n".repeat(5_000).as_bytes());
}

/// The seeds of the fuzz target, which lie beside it.
#[test]
fn every_seed_is_read_or_refused() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/config");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        exercise(&std::fs::read(entry.expect("an entry").path()).expect("a seed"));
    }
}
