//! The description of a sealed file: its name and its key-value metadata.

use std::path::Path;

use model::{InstanceId, Timestamp};
use parquet::file::metadata::KeyValue;
use store::SealIntent;

use crate::error::Error;

/// The format of sealed files that this program writes, and the newest that it reads. It reads
/// every format before as well.
pub const FORMAT: u32 = 2;

/// The suffix of files that are being written; they are garbage after a crash.
pub(crate) const PART_SUFFIX: &str = ".part";
const SUFFIX: &str = ".parquet";
const PREFIX: &str = "tallygate.";

/// The description of a sealed file, kept in its footer so that the manifest can be rebuilt from
/// the files alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// The range of records that it holds.
    pub range: SealIntent,
    /// The label of the gate whose calls it holds.
    pub node: String,
    /// The SHA-256 of the file before it in its lane; zeros for the first.
    pub previous: [u8; 32],
    /// The number of calls that its records stand for.
    pub calls: u64,
    /// The start of its earliest call.
    pub first_started_at: Timestamp,
    /// The start of its latest call.
    pub last_started_at: Timestamp,
}

/// Returns the name of the file that covers a range: names sort by instance, lane and range.
#[must_use]
pub(crate) fn file_name(range: &SealIntent) -> String {
    format!(
        "{:032x}-{:04}-{:012}-{:012}{SUFFIX}",
        range.instance.as_u128(),
        range.lane,
        range.from + 1,
        range.through
    )
}

/// Returns the range in a file's name; `None` for files that are not sealed files.
pub(crate) fn parse_file_name(name: &str) -> Option<SealIntent> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let instance = parts.next().filter(|digits| digits.len() == 32)?;
    let range = SealIntent {
        instance: InstanceId::from_u128(u128::from_str_radix(instance, 16).ok()?),
        lane: parts.next()?.parse().ok()?,
        from: parts.next()?.parse::<u64>().ok()?.checked_sub(1)?,
        through: parts.next()?.parse().ok()?,
    };
    // One spelling only: a number with a sign or fewer digits is somebody else's file.
    (range.from < range.through && file_name(&range) == name).then_some(range)
}

impl FileMeta {
    /// Returns the number of records in the file.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.range.through - self.range.from
    }

    pub(crate) fn encode(&self) -> Vec<KeyValue> {
        let pair = |key: &str, value: String| KeyValue::new(format!("{PREFIX}{key}"), value);
        vec![
            pair("format", FORMAT.to_string()),
            pair("instance", self.range.instance.to_string()),
            pair("node", self.node.clone()),
            pair("lane", self.range.lane.to_string()),
            pair("from", (self.range.from + 1).to_string()),
            pair("through", self.range.through.to_string()),
            pair("calls", self.calls.to_string()),
            pair("previous_sha256", hex::encode(self.previous)),
            pair("first_started_at", self.first_started_at.to_string()),
            pair("last_started_at", self.last_started_at.to_string()),
        ]
    }

    /// Reads the metadata of a footer, and the format of the file.
    ///
    /// # Errors
    /// Returns [`Error::NewerFile`], and [`Error::Damaged`] for metadata that is missing or does
    /// not parse.
    pub(crate) fn decode(path: &Path, pairs: Option<&Vec<KeyValue>>) -> Result<(Self, u32), Error> {
        let find = |key: &str| {
            let mut pairs = pairs.into_iter().flatten();
            pairs
                .find(|pair| pair.key.strip_prefix(PREFIX) == Some(key))
                .and_then(|pair| pair.value.as_deref())
                .ok_or_else(|| bad(path, key))
        };
        let found: u32 = parse(path, "format", find("format")?)?;
        if found > FORMAT {
            return Err(Error::NewerFile {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        let first: u64 = parse(path, "from", find("from")?)?;
        let range = SealIntent {
            instance: parse(path, "instance", find("instance")?)?,
            lane: parse(path, "lane", find("lane")?)?,
            from: first.checked_sub(1).ok_or_else(|| bad(path, "from"))?,
            through: parse(path, "through", find("through")?)?,
        };
        if range.from >= range.through {
            return Err(bad(path, "through"));
        }
        let mut previous = [0; 32];
        hex::decode_to_slice(find("previous_sha256")?, &mut previous)
            .map_err(|_| bad(path, "previous_sha256"))?;
        let meta = Self {
            range,
            node: find("node")?.to_owned(),
            previous,
            calls: parse(path, "calls", find("calls")?)?,
            first_started_at: parse(path, "first_started_at", find("first_started_at")?)?,
            last_started_at: parse(path, "last_started_at", find("last_started_at")?)?,
        };
        Ok((meta, found))
    }
}

fn bad(path: &Path, key: &str) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        what: format!("its metadata has no valid `{PREFIX}{key}`"),
    }
}

fn parse<T: std::str::FromStr>(path: &Path, key: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| bad(path, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> FileMeta {
        FileMeta {
            range: SealIntent {
                instance: InstanceId::from_u128(7),
                lane: 3,
                from: 10,
                through: 20,
            },
            node: "here".to_owned(),
            previous: [9; 32],
            calls: 12,
            first_started_at: Timestamp::from_micros(1_000_000),
            last_started_at: Timestamp::from_micros(2_000_001),
        }
    }

    #[test]
    fn names_and_metadata_read_back() {
        let meta = meta();
        assert_eq!(parse_file_name(&file_name(&meta.range)), Some(meta.range));
        let path = Path::new("x");
        let read = FileMeta::decode(path, Some(&meta.encode())).unwrap();
        assert_eq!(read, (meta, FORMAT));
        for bad in [
            "",
            "x.parquet",
            "a-b-c-d.parquet",
            "00000000000000000000000000000007-0003-000000000011-000000000020.parquet.part",
            "00000000000000000000000000000007-0003-000000000000-000000000020.parquet",
            "00000000000000000000000000000007-3-11-20.parquet",
        ] {
            assert_eq!(parse_file_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut pairs = meta().encode();
        pairs[0].value = Some("3".to_owned());
        let error = FileMeta::decode(Path::new("a.parquet"), Some(&pairs)).unwrap_err();
        assert!(
            matches!(error, Error::NewerFile { found: 3, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("a.parquet"));
        for missing in 1..pairs.len() {
            let mut pairs = meta().encode();
            pairs.remove(missing);
            let error = FileMeta::decode(Path::new("x"), Some(&pairs)).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
    }
}
