//! The writer of sealed files: rows are sorted, bytes are hashed on the way, and the file is put in
//! place by rename.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::net::Ipv6Addr;
use std::path::Path;

use bytes::Bytes;
use model::CallerPlace;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType,
    Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use sha2::{Digest, Sha256};

use super::amount;
use super::columns::{self, GROUP_ROWS};
use super::meta::{FileMeta, PART_SUFFIX, file_name};
use super::text::Texts;
use crate::error::Error;
use crate::names::Names;
use crate::row::Row;

/// A writer that passes bytes on and hashes them.
#[derive(Debug)]
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The length and hash of a file that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) hash: [u8; 32],
}

/// Sorts the rows of a range and writes them to the file of that range, which is there whole or not
/// at all. A file of that name is replaced.
pub(crate) fn write_sealed(
    directory: &Path,
    meta: &FileMeta,
    rows: &mut [Row],
    names: &Names,
) -> Result<Written, Error> {
    rows.sort_unstable_by_key(Row::file_order);
    let name = file_name(&meta.range);
    let part = directory.join(format!("{name}{PART_SUFFIX}"));
    let file = File::create(&part).map_err(Error::io("create", &part))?;
    let written = write_rows(file, &part, meta, rows, names)?;
    let path = directory.join(name);
    fs::rename(&part, &path).map_err(Error::io("rename", &part))?;
    sync_directory(directory)?;
    Ok(written)
}

fn write_rows(
    file: File,
    path: &Path,
    meta: &FileMeta,
    rows: &[Row],
    names: &Names,
) -> Result<Written, Error> {
    let output = Hashed {
        inner: file,
        hash: Sha256::new(),
        bytes: 0,
    };
    let mut writing = Writing::new(
        BufWriter::with_capacity(1 << 20, output),
        meta.encode(),
        true,
    )
    .map_err(Error::damaged(path))?;
    let places = [Place {
        node: meta.node.clone(),
        instance: meta.range.instance,
        lane: meta.range.lane,
    }];
    writing
        .rows(rows, &places, names)
        .map_err(Error::damaged(path))?;
    let output = writing.finish().map_err(Error::damaged(path))?;
    let output = output
        .into_inner()
        .map_err(|error| Error::io("write", path)(error.into_error()))?;
    output.inner.sync_all().map_err(Error::io("sync", path))?;
    Ok(Written {
        bytes: output.bytes,
        hash: output.hash.finalize().into(),
    })
}

/// Makes a rename durable.
fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", directory))
}

/// Returns length and SHA-256 of a file.
pub(crate) fn hash_file(path: &Path) -> Result<(u64, [u8; 32]), Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            return Ok((bytes, hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// The gate, instance and lane that rows belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) instance: model::InstanceId,
    pub(crate) lane: u32,
}

/// A Parquet file being written, row group by row group.
pub(crate) struct Writing<W: Write + Send> {
    writer: SerializedFileWriter<W>,
}

impl<W: Write + Send> Writing<W> {
    pub(crate) fn new(
        output: W,
        metadata: Vec<parquet::file::metadata::KeyValue>,
        sorted: bool,
    ) -> Result<Self, ParquetError> {
        let properties = columns::properties(metadata, sorted);
        let writer = SerializedFileWriter::new(output, columns::schema(), properties)?;
        Ok(Self { writer })
    }

    /// Adds rows, in row groups of at most 65,536. The source of each is an index into `places`.
    pub(crate) fn rows(
        &mut self,
        rows: &[Row],
        places: &[Place],
        names: &Names,
    ) -> Result<(), ParquetError> {
        let mut texts = Texts::new(names);
        for rows in rows.chunks(GROUP_ROWS) {
            let group = self.writer.next_row_group()?;
            write_group(group, rows, places, &mut texts)?;
        }
        Ok(())
    }

    /// Writes the footer and returns the output.
    pub(crate) fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}

/// Writes one row group: every column in the order of the schema.
fn write_group<W: Write + Send>(
    group: SerializedRowGroupWriter<'_, W>,
    rows: &[Row],
    places: &[Place],
    texts: &mut Texts<'_>,
) -> Result<(), ParquetError> {
    let mut columns = Columns { group, rows };
    columns.fixed(|row| row.record.head.call_id.as_u128().to_be_bytes())?;
    columns.optional_texts(repeated(|row| row.record.head.license_id))?;
    columns.numbers(|row| row.record.head.started_at.micros())?;
    columns.texts(|row| texts.account(row.record.head.app))?;
    columns.texts(|row| texts.app(row.record.head.app))?;
    columns.texts(|row| texts.route(row.record.head.route))?;
    columns.texts(|row| word(row.record.head.method.as_str()))?;
    columns.small(|row| i32::from(row.record.head.status))?;
    columns.texts(|row| word(row.record.tail.outcome.as_str()))?;
    columns.texts(|row| word(row.record.head.mode.as_str()))?;
    columns.flags(|row| row.record.head.test)?;
    columns.flags(|row| row.record.tail.billable)?;
    columns.numbers(|row| row.record.tail.units.cast_signed())?;
    columns.numbers(|row| row.record.tail.spent.cast_signed())?;
    columns.fixed(|row| amount::bytes_of(row.amount))?;
    columns.optional_texts(repeated(|row| row.currency))?;
    columns.optional_texts(|row| texts.plan(row.record.head.plan))?;
    columns.optional_texts(|row| texts.revision(row.record.head.plan))?;
    columns.small(|row| i32::from(row.record.tail.attempts))?;
    columns.optional_texts(|row| row.record.tail.refusal.map(|refusal| word(refusal.code())))?;
    columns.numbers(|row| i64::from(row.record.tail.calls))?;
    columns.numbers(|row| row.record.tail.request_bytes.cast_signed())?;
    columns.numbers(|row| row.record.tail.response_bytes.cast_signed())?;
    columns.numbers(|row| row.record.tail.duration_us.cast_signed())?;
    columns.numbers(|row| row.record.tail.upstream_us.cast_signed())?;
    columns.flags(|row| row.record.head.limited)?;
    columns.flags(|row| row.record.head.windowed)?;
    columns.small(|row| row.record.head.epoch.cast_signed())?;
    columns.numbers(|row| row.record.head.idempotency.cast_signed())?;
    let place = |row: &Row| row.source as usize;
    let nodes: Vec<_> = places
        .iter()
        .map(|place| ByteArray::from(&*place.node))
        .collect();
    columns.texts(|row| nodes[place(row)].clone())?;
    let instance = |place: &Place| ByteArray::from(place.instance.to_string().into_bytes());
    let instances: Vec<_> = places.iter().map(instance).collect();
    columns.texts(|row| instances[place(row)].clone())?;
    columns.small(|row| places[place(row)].lane.cast_signed())?;
    columns.numbers(|row| row.number.cast_signed())?;
    write_second(&mut columns, texts)?;
    columns.group.close().map(drop)
}

/// Writes the columns that format 2 has behind those of format 1.
fn write_second<W: Write + Send>(
    columns: &mut Columns<'_, '_, W>,
    texts: &mut Texts<'_>,
) -> Result<(), ParquetError> {
    columns.optional_texts(repeated(|row| row.record.head.credential_id))?;
    columns.optional_texts(|row| match row.record.head.caller? {
        CallerPlace::Network(bits) => {
            let address = Ipv6Addr::from_bits(bits).to_canonical();
            Some(ByteArray::from(address.to_string().into_bytes()))
        }
        CallerPlace::Hash(_) => None,
    })?;
    columns.optional_texts(|row| match row.record.head.caller? {
        CallerPlace::Hash(bits) => Some(digits(bits)),
        CallerPlace::Network(_) => None,
    })?;
    columns.corrections()?;
    columns.optional_texts(|row| texts.unit(row.record.head.unit))?;
    columns.optional_texts(|row| row.record.tail.payer.map(digits))?;
    columns.optional_texts(|row| row.record.tail.settlement_id.map(digits))?;
    columns.optional_small(|row| row.record.tail.grpc_status.map(i32::from))?;
    columns.optional_texts(|row| {
        let reason = row.record.tail.units_unreadable?;
        Some(word(reason.as_str()))
    })
}

fn digits(bits: u128) -> ByteArray {
    ByteArray::from(format!("{bits:032x}").into_bytes())
}

/// Returns a word of the domain as bytes. The words are constants: no copy is made.
fn word(text: &'static str) -> ByteArray {
    ByteArray::from(Bytes::from_static(text.as_bytes()))
}

/// Returns the text of a value that consecutive rows share, formatted once while it repeats: rows
/// of one license lie together, and a license has few credentials and one currency.
fn repeated<T: Copy + PartialEq + Display>(
    value: impl Fn(&Row) -> Option<T>,
) -> impl FnMut(&Row) -> Option<ByteArray> {
    let mut last: Option<(T, ByteArray)> = None;
    move |row| {
        let value = value(row)?;
        match &last {
            Some((known, text)) if *known == value => Some(text.clone()),
            _ => {
                let text = ByteArray::from(value.to_string().into_bytes());
                last = Some((value, text.clone()));
                Some(text)
            }
        }
    }
}

/// A writer of one column after the other.
struct Columns<'r, 'g, W: Write> {
    group: SerializedRowGroupWriter<'g, W>,
    rows: &'r [Row],
}

impl<W: Write + Send> Columns<'_, '_, W> {
    fn write<T: DataType>(
        &mut self,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) -> Result<(), ParquetError> {
        let mut column = self.group.next_column()?.ok_or_else(|| {
            ParquetError::General("more columns are written than the schema has".to_owned())
        })?;
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()
    }

    fn numbers(&mut self, value: impl FnMut(&Row) -> i64) -> Result<(), ParquetError> {
        let values: Vec<_> = self.rows.iter().map(value).collect();
        self.write::<Int64Type>(&values, None)
    }

    fn small(&mut self, value: impl FnMut(&Row) -> i32) -> Result<(), ParquetError> {
        let values: Vec<_> = self.rows.iter().map(value).collect();
        self.write::<Int32Type>(&values, None)
    }

    fn flags(&mut self, value: impl FnMut(&Row) -> bool) -> Result<(), ParquetError> {
        let values: Vec<_> = self.rows.iter().map(value).collect();
        self.write::<BoolType>(&values, None)
    }

    fn texts(&mut self, value: impl FnMut(&Row) -> ByteArray) -> Result<(), ParquetError> {
        let values: Vec<_> = self.rows.iter().map(value).collect();
        self.write::<ByteArrayType>(&values, None)
    }

    fn optional_texts(
        &mut self,
        mut value: impl FnMut(&Row) -> Option<ByteArray>,
    ) -> Result<(), ParquetError> {
        let mut values = Vec::with_capacity(self.rows.len());
        let mut levels = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let text = value(row);
            levels.push(i16::from(text.is_some()));
            values.extend(text);
        }
        self.write::<ByteArrayType>(&values, Some(&levels))
    }

    fn optional_small(
        &mut self,
        value: impl FnMut(&Row) -> Option<i32>,
    ) -> Result<(), ParquetError> {
        let found: Vec<_> = self.rows.iter().map(value).collect();
        let levels: Vec<_> = found.iter().map(|it| i16::from(it.is_some())).collect();
        let values: Vec<_> = found.into_iter().flatten().collect();
        self.write::<Int32Type>(&values, Some(&levels))
    }

    fn fixed(&mut self, value: impl Fn(&Row) -> [u8; FIXED]) -> Result<(), ParquetError> {
        let values = fixed_values(self.rows.iter().map(value));
        self.write::<FixedLenByteArrayType>(&values, None)
    }

    fn corrections(&mut self) -> Result<(), ParquetError> {
        let found = || self.rows.iter().map(|row| row.record.head.correction_of);
        let levels: Vec<_> = found().map(|id| i16::from(id.is_some())).collect();
        let values = fixed_values(found().flatten().map(|id| id.as_u128().to_be_bytes()));
        self.write::<FixedLenByteArrayType>(&values, Some(&levels))
    }
}

/// The length of values of fixed length.
const FIXED: usize = 16;

/// Returns values that share one piece of memory.
fn fixed_values(values: impl Iterator<Item = [u8; FIXED]>) -> Vec<FixedLenByteArray> {
    let mut all = Vec::new();
    values.for_each(|value| all.extend_from_slice(&value));
    let all = Bytes::from(all);
    (0..all.len() / FIXED)
        .map(|index| {
            let bytes = all.slice(index * FIXED..(index + 1) * FIXED);
            FixedLenByteArray::from(ByteArray::from(bytes))
        })
        .collect()
}
