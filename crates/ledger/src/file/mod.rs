//! Sealed files: Parquet, one row per call, named by their range, each with the hash of the one
//! before.

mod amount;
mod columns;
mod meta;
mod parse;
mod read;
mod text;
mod write;

pub use meta::{FORMAT, FileMeta};
pub(crate) use meta::{PART_SUFFIX, file_name, parse_file_name};
pub use read::{Filter, SealedReader};
pub(crate) use write::{Place, Writing, hash_file, write_sealed};

#[cfg(test)]
mod tests;
