//! The names and files of an instance's directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::map::{Map, MapWriter};

/// The name of the file whose lock says that the instance lives.
pub(crate) const LOCK: &str = "lock";
/// The beginning of the names of files that wait to become segments.
pub(crate) const SPARE: &str = "spare-";
/// The name of the table of calls in flight.
pub(crate) const MARKS: &str = "marks";

/// Returns the name of an instance's directory.
pub(crate) fn instance_name(instance: u128) -> String {
    format!("{instance:032x}")
}

/// Returns the instance that a directory is named after.
pub(crate) fn parse_instance(name: &str) -> Option<u128> {
    let hex = name.len() == 32
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex {
        u128::from_str_radix(name, 16).ok()
    } else {
        None
    }
}

/// Returns the path of segment `number` of `lane`.
pub(crate) fn segment_path(directory: &Path, lane: u32, number: u64) -> PathBuf {
    directory.join(format!("{lane:04}-{number:010}.seg"))
}

/// Returns the lane and the number in a segment's file name.
pub(crate) fn parse_segment(name: &str) -> Option<(u32, u64)> {
    let (lane, number) = name.strip_suffix(".seg")?.split_once('-')?;
    Some((lane.parse().ok()?, number.parse().ok()?))
}

/// An empty segment file of full length, mapped.
#[derive(Debug)]
pub(crate) struct Blank {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) map: MapWriter,
}

impl Blank {
    /// Writes a new file full of zeros, syncs and maps it. Nothing is left behind on failure.
    pub(crate) fn create(path: PathBuf, bytes: usize) -> io::Result<Self> {
        let made = prewrite(&path, bytes).and_then(|file| {
            let map = Map::writable(&file, bytes)?;
            Ok((file, map))
        });
        match made {
            Ok((file, map)) => Ok(Self { path, file, map }),
            Err(error) => {
                // The file may not even exist.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Takes a file that was a segment and has another name by now. Its old frames stay, for the
    /// salt of the new segment does not fit them. Only the header is wiped, so that the file counts
    /// as not begun.
    pub(crate) fn recycle(path: PathBuf, bytes: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        read_through(&file, bytes);
        let mut map = Map::writable(&file, bytes)?;
        map.store(0, &[0; crate::format::HEADER_BYTES + 8]);
        file.sync_data()?;
        Ok(Self { path, file, map })
    }

    /// Gives the file its name in a lane, durably.
    pub(crate) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        fs::rename(&self.path, &path)?;
        self.path = path;
        sync_parent(&self.path)
    }
}

/// Reads a file into the page cache, so that the first store to a page does not wait for the disk.
/// Errors are ignored: they cost time only. The map is not populated instead, because the first
/// store to a page that is mapped for reading costs four times what one to an unmapped page costs.
fn read_through(file: &File, bytes: usize) {
    let mut reader = BufReader::with_capacity(128 << 10, file).take(bytes as u64);
    let _ = io::copy(&mut reader, &mut io::sink());
}

/// Writes `bytes` zeros to a new file and syncs it. Blocks that exist and are written cost the
/// least to sync later, and a store into their map never meets a full disk.
pub(crate) fn prewrite(path: &Path, bytes: usize) -> io::Result<File> {
    fail::fail_point!("journal::prewrite", |_| Err(io::Error::from_raw_os_error(
        libc::ENOSPC
    )));
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let mut left = bytes;
    while left > 0 {
        let some = left.min(ZEROS.len());
        file.write_all(&ZEROS[..some])?;
        left -= some;
    }
    file.sync_all()?;
    Ok(file)
}

/// Makes a new file with blocks that are allocated but not written: as safe from a full disk as
/// [`prewrite`], and made at once. For files that are never synced on the way of a call.
pub(crate) fn allocate(path: &Path, bytes: usize) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64) {
        Ok(()) => Ok(file),
        // The file system cannot allocate; writing is slower and has the same effect.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            drop(file);
            fs::remove_file(path)?;
            prewrite(path, bytes)
        }
        Err(error) => Err(error.into()),
    }
}

/// Syncs the directory of `path`, so that a new name survives a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Syncs a directory.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs the data of a file: the one sync on the way of a commit.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    fail::fail_point!("journal::fsync", |_| Err(io::Error::from_raw_os_error(
        libc::EIO
    )));
    file.sync_data()
}

/// Returns the machine's boot id; 0 if the system does not tell.
pub(crate) fn boot_id() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = text
        .trim()
        .chars()
        .filter(|letter| *letter != '-')
        .collect();
    u128::from_str_radix(&hex, 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_strangers_are_ignored() {
        assert_eq!(parse_instance(&instance_name(0xABC)), Some(0xABC));
        assert_eq!(parse_instance(&"F".repeat(32)), None);
        assert_eq!(parse_instance("abc"), None);
        let path = segment_path(Path::new("/x"), 7, 12_345_678_901);
        assert_eq!(
            parse_segment(path.file_name().unwrap().to_str().unwrap()),
            Some((7, 12_345_678_901))
        );
        assert_eq!(parse_segment("0001-0000000001.new"), None);
        assert_eq!(parse_segment("marks"), None);
    }
}
