//! The seeds of the fuzz targets hold, and no target is without seeds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");

/// The name of a target, and the function that it calls.
type Target = (&'static str, fn(&[u8]));

/// The targets of other crates, whose tests run their seeds.
const OF_OTHERS: [&str; 3] = ["config", "payment", "signature"];
/// The targets of this crate.
const TARGETS: [Target; 7] = [
    ("forwarded", model::forwarded::exercise),
    ("header", |bytes| {
        if let Ok(name) = std::str::from_utf8(bytes) {
            model::header::exercise(name);
        }
    }),
    ("length", model::length::exercise),
    ("origin", model::origin::exercise),
    ("path", model::path::exercise),
    ("target", model::target::exercise),
    ("units", model::units::exercise),
];

/// Returns the names of the files in a folder, without their endings.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(FUZZ).join(folder)).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    entries.map(name).collect()
}

#[test]
fn every_seed_holds() {
    for (target, exercise) in TARGETS {
        let folder = Path::new(FUZZ).join("seeds").join(target);
        let mut count = 0;
        for entry in fs::read_dir(folder).expect("a folder") {
            exercise(&fs::read(entry.expect("an entry").path()).expect("a seed"));
            count += 1;
        }
        assert!(count > 0, "{target} has seeds");
    }
}

#[test]
fn every_target_has_seeds_and_calls_what_the_tests_call() {
    let mut known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.extend(OF_OTHERS.map(str::to_owned));
    assert_eq!(names("seeds"), known);
    assert_eq!(names("fuzz_targets"), known);
    for (name, _) in TARGETS {
        let file = Path::new(FUZZ).join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(file).expect("a target");
        assert!(
            text.contains(&format!("model::{name}::exercise(")),
            "{name}"
        );
    }
}
