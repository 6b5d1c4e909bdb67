//! The positions that the store acknowledged, written down beside the journal: a store that has
//! less by the next start is an older copy.

use std::fs;
use std::io;
use std::path::Path;

const NAME: &str = "rolled";

/// Writes down the position of each lane that the store acknowledged. The file is not synced: after
/// a power cut it may be an older one, which is not wrong.
pub(crate) fn write(journal: &Path, rolled: &[u64]) -> io::Result<()> {
    let words: Vec<_> = rolled.iter().map(u64::to_string).collect();
    let fresh = journal.join(format!("{NAME}.new"));
    fs::write(&fresh, words.join(" "))?;
    fs::rename(fresh, journal.join(NAME))
}

/// Returns the positions that a dead instance wrote down; an empty list where nothing can be read.
pub(super) fn read(journal: &Path) -> Vec<u64> {
    let text = fs::read_to_string(journal.join(NAME)).unwrap_or_default();
    let words = text.split_whitespace().map(str::parse);
    words.collect::<Result<_, _>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_were_written_and_nothing_is_no_evidence() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        assert!(read(folder.path()).is_empty());
        write(folder.path(), &[3, 0, 17]).expect("written");
        write(folder.path(), &[4, 0, 17]).expect("written");
        assert_eq!(read(folder.path()), [4, 0, 17]);
        fs::write(folder.path().join(NAME), "4 x").expect("written");
        assert!(read(folder.path()).is_empty());
    }
}
