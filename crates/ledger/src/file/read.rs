//! The reader of sealed files, which unpacks only the row groups, pages and rows that a question
//! needs.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use model::{LicenseId, Timestamp};
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType,
    Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::statistics::Statistics;

use super::amount;
use super::columns::{self, FIRST_FORMAT, LICENSE, STARTED};
use super::meta::FileMeta;
use super::parse::Parser;
use crate::error::Error;
use crate::names::Names;
use crate::row::Row;

/// The number of rows that are unpacked at one time.
const CHUNK: usize = 4_096;

/// A selection of a file's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The license; `None`: any.
    pub license_id: Option<LicenseId>,
    /// The earliest start, included; `None`: no bound.
    pub from: Option<Timestamp>,
    /// The latest start, excluded; `None`: no bound.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Returns whether a row is selected.
    #[must_use]
    pub fn takes(&self, row: &Row) -> bool {
        let head = &row.record.head;
        (self.license_id.is_none() || head.license_id == self.license_id)
            && self.takes_time(head.started_at)
    }

    fn takes_time(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }

    /// Returns whether something between these two times may be selected.
    pub(crate) fn meets(&self, first: Timestamp, last: Timestamp) -> bool {
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first < to)
    }
}

/// An open sealed file.
pub struct SealedReader {
    path: PathBuf,
    meta: FileMeta,
    format: u32,
    reader: Box<dyn FileReader>,
}

impl std::fmt::Debug for SealedReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedReader")
            .field("path", &self.path)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl SealedReader {
    /// Opens a sealed file and reads its footer.
    ///
    /// # Errors
    /// Returns [`Error::NewerFile`] for files of a newer version, [`Error::Damaged`] for a file
    /// that is no sealed file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        guarded(path, || Self::open_unguarded(path))
    }

    fn open_unguarded(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader =
            SerializedFileReader::new_with_options(file, options).map_err(Error::damaged(path))?;
        let footer = reader.metadata().file_metadata();
        let (meta, format) = FileMeta::decode(path, footer.key_value_metadata())?;
        let damaged = |what: &str| Error::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        if footer.schema() != &*columns::schema_of(format) {
            return Err(damaged("its columns are not those of its format"));
        }
        if u64::try_from(footer.num_rows()) != Ok(meta.records()) {
            return Err(damaged("it has not as many rows as its range"));
        }
        Ok(Self {
            path: path.to_owned(),
            meta,
            format,
            reader: Box::new(reader),
        })
    }

    /// Returns the description in the file's footer.
    #[must_use]
    pub const fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// Gives every row that the filter takes to `sink`, in the order of the file: by license, then
    /// time.
    ///
    /// # Errors
    /// Returns [`Error::Damaged`], and what `sink` returns.
    pub fn scan(
        &self,
        names: &Names,
        filter: &Filter,
        sink: &mut dyn FnMut(&Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for index in 0..self.groups() {
            self.scan_group(index, names, filter, sink)?;
        }
        Ok(())
    }

    /// Returns the number of row groups of the file.
    pub(crate) fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// Scans one row group as [`SealedReader::scan`] does, so that a reader may ask for less as it
    /// goes.
    pub(crate) fn scan_group(
        &self,
        index: usize,
        names: &Names,
        filter: &Filter,
        sink: &mut dyn FnMut(&Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        guarded(&self.path, || {
            self.scan_group_unguarded(index, names, filter, sink)
        })
    }

    fn scan_group_unguarded(
        &self,
        index: usize,
        names: &Names,
        filter: &Filter,
        sink: &mut dyn FnMut(&Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let damaged = Error::damaged(&self.path);
        let group = self.reader.get_row_group(index).map_err(&damaged)?;
        if !may_hold(&*group, filter) {
            return Ok(());
        }
        let ranges = narrow(&*group, filter).map_err(&damaged)?;
        if ranges.is_empty() {
            return Ok(());
        }
        let mut parser = Parser::new(names);
        let mut rows = GroupRows::new(&*group, self.format).map_err(&damaged)?;
        let mut at = 0;
        for range in ranges {
            rows.skip(range.start - at).map_err(&damaged)?;
            at = range.start;
            while at < range.end {
                let count = (range.end - at).min(CHUNK);
                let chunk = rows.read(count, &mut parser).map_err(&damaged)?;
                for row in chunk.iter().filter(|row| filter.takes(row)) {
                    sink(row)?;
                }
                at += count;
            }
        }
        Ok(())
    }

    /// Gives every call id to `sink`, in the order of the file.
    ///
    /// # Errors
    /// Returns [`Error::Damaged`]
    pub fn call_ids(&self, sink: &mut dyn FnMut(u128)) -> Result<(), Error> {
        guarded(&self.path, || self.call_ids_unguarded(sink))
    }

    fn call_ids_unguarded(&self, sink: &mut dyn FnMut(u128)) -> Result<(), Error> {
        let damaged = Error::damaged(&self.path);
        for index in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(index).map_err(&damaged)?;
            let mut left = row_count(&*group);
            let mut column = column::<FixedLenByteArrayType>(&*group, 0).map_err(&damaged)?;
            let mut ids = Vec::new();
            while left > 0 {
                let count = left.min(CHUNK);
                read_exactly(&mut column, count, None, &mut ids).map_err(&damaged)?;
                ids.iter()
                    .filter_map(|id: &FixedLenByteArray| id.data().try_into().ok())
                    .for_each(|id| sink(u128::from_be_bytes(id)));
                left -= count;
            }
        }
        Ok(())
    }
}

/// Runs `work` and turns a panic into [`Error::Damaged`]: the Parquet reader panics on some damaged
/// files.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::Damaged {
            path: path.to_owned(),
            what: "its bytes make no sense to the reader".to_owned(),
        })
    })
}

fn row_count(group: &dyn RowGroupReader) -> usize {
    usize::try_from(group.metadata().num_rows()).unwrap_or(0)
}

/// Returns whether the bounds in the footer leave a chance for wanted rows.
fn may_hold(group: &dyn RowGroupReader, filter: &Filter) -> bool {
    let statistics = |column: usize| group.metadata().column(column).statistics();
    let license = match (filter.license_id, statistics(LICENSE)) {
        (Some(id), Some(Statistics::ByteArray(bounds))) => {
            let id = id.to_string();
            match (bounds.min_opt(), bounds.max_opt()) {
                (Some(min), Some(max)) => {
                    min.data() <= id.as_bytes() && id.as_bytes() <= max.data()
                }
                // The filter wants only calls without a license.
                _ => bounds.null_count_opt() != u64::try_from(row_count(group)).ok(),
            }
        }
        _ => true,
    };
    let time = match statistics(STARTED) {
        Some(Statistics::Int64(bounds)) => match (bounds.min_opt(), bounds.max_opt()) {
            (Some(min), Some(max)) => {
                filter.meets(Timestamp::from_micros(*min), Timestamp::from_micros(*max))
            }
            _ => true,
        },
        _ => true,
    };
    license && time
}

/// Returns ranges of rows, in order, that hold every wanted row and few others.
fn narrow(group: &dyn RowGroupReader, filter: &Filter) -> Result<Vec<Range<usize>>, ParquetError> {
    let mut range = 0..row_count(group);
    if let Some(id) = filter.license_id {
        range = license_range(group, id)?;
    }
    if range.is_empty() {
        return Ok(Vec::new());
    }
    if filter.from.is_none() && filter.to.is_none() {
        return Ok(vec![range]);
    }
    let mut column = column::<Int64Type>(group, STARTED)?;
    column.skip_records(range.start)?;
    let mut times = Vec::new();
    read_exactly(&mut column, range.len(), None, &mut times)?;
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (offset, time) in times.into_iter().enumerate() {
        if !filter.takes_time(Timestamp::from_micros(time)) {
            continue;
        }
        let row = range.start + offset;
        match ranges.last_mut() {
            // Reading on is cheaper than skipping a little.
            Some(last) if row < last.end + CHUNK => last.end = row + 1,
            _ => ranges.push(row..row + 1),
        }
    }
    Ok(ranges)
}

fn license_range(group: &dyn RowGroupReader, id: LicenseId) -> Result<Range<usize>, ParquetError> {
    let wanted = id.to_string();
    let mut column = column::<ByteArrayType>(group, LICENSE)?;
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (mut row, rows) = (0, row_count(group));
    let mut range = 0..0;
    while row < rows {
        let count = (rows - row).min(CHUNK);
        read_exactly(&mut column, count, Some(&mut levels), &mut values)?;
        let mut values = values.iter();
        for (offset, level) in levels.iter().enumerate() {
            let value = (*level > 0).then(|| values.next()).flatten();
            if value.is_some_and(|value: &ByteArray| value.data() == wanted.as_bytes()) {
                if range.is_empty() {
                    range.start = row + offset;
                }
                range.end = row + offset + 1;
            }
        }
        row += count;
    }
    Ok(range)
}

pub(super) fn column<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
) -> Result<ColumnReaderImpl<T>, ParquetError> {
    Ok(get_typed_column_reader(group.get_column_reader(index)?))
}

/// Replaces the buffers by exactly `count` rows.
pub(super) fn read_exactly<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    count: usize,
    mut levels: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
) -> Result<(), ParquetError> {
    values.clear();
    if let Some(levels) = &mut levels {
        levels.clear();
    }
    let (read, ..) = column.read_records(count, levels, None, values)?;
    if read == count {
        Ok(())
    } else {
        Err(ParquetError::EOF(format!(
            "a column ends after {read} of {count} rows"
        )))
    }
}

/// The columns of one row group, read in step.
struct GroupRows {
    call_ids: ColumnReaderImpl<FixedLenByteArrayType>,
    required: Vec<ColumnReaderImpl<ByteArrayType>>,
    optional: Vec<ColumnReaderImpl<ByteArrayType>>,
    long: Vec<ColumnReaderImpl<Int64Type>>,
    small: Vec<ColumnReaderImpl<Int32Type>>,
    flags: Vec<ColumnReaderImpl<BoolType>>,
    amounts: Amounts,
    second: Option<SecondColumns>,
    chunk: Chunk,
    rows: Vec<Row>,
}

/// The column of amounts, by format.
enum Amounts {
    First(ColumnReaderImpl<Int64Type>),
    Second(ColumnReaderImpl<FixedLenByteArrayType>),
}

/// The columns that format 1 has not, beside those of texts.
struct SecondColumns {
    corrections: ColumnReaderImpl<FixedLenByteArrayType>,
    grpc_statuses: ColumnReaderImpl<Int32Type>,
}

/// The unpacked values of a chunk, column by column in the order of the lists in [`GroupRows`].
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) call_ids: Vec<FixedLenByteArray>,
    pub(super) required: Vec<Vec<ByteArray>>,
    pub(super) optional: Vec<Vec<Option<ByteArray>>>,
    pub(super) long: Vec<Vec<i64>>,
    pub(super) small: Vec<Vec<i32>>,
    pub(super) flags: Vec<Vec<bool>>,
    /// Amounts in 10⁻⁹ of the major unit.
    pub(super) amounts: Vec<i128>,
    /// Call ids of corrected calls; empty where the format has no such column.
    pub(super) corrections: Vec<Option<FixedLenByteArray>>,
    /// gRPC statuses; empty where the format has no such column.
    pub(super) grpc_statuses: Vec<Option<i32>>,
}

impl GroupRows {
    fn new(group: &dyn RowGroupReader, format: u32) -> Result<Self, ParquetError> {
        fn open<T: DataType>(
            group: &dyn RowGroupReader,
            places: &[usize],
        ) -> Result<Vec<ColumnReaderImpl<T>>, ParquetError> {
            places.iter().map(|place| column(group, *place)).collect()
        }
        let mut optional = open(group, &columns::OPTIONAL_TEXTS)?;
        let (amounts, second) = if format == FIRST_FORMAT {
            (Amounts::First(column(group, columns::AMOUNT_PLACE)?), None)
        } else {
            optional.extend(open(group, &columns::SECOND_TEXTS)?);
            let second = SecondColumns {
                corrections: column(group, columns::CORRECTION)?,
                grpc_statuses: column(group, columns::GRPC_STATUS)?,
            };
            let amounts = column(group, columns::AMOUNT_PLACE)?;
            (Amounts::Second(amounts), Some(second))
        };
        Ok(Self {
            call_ids: column(group, 0)?,
            required: open(group, &columns::REQUIRED_TEXTS)?,
            optional,
            amounts,
            second,
            long: open(group, &columns::LONG)?,
            small: open(group, &columns::SMALL)?,
            flags: open(group, &columns::FLAGS)?,
            chunk: Chunk::default(),
            rows: Vec::new(),
        })
    }

    /// Passes over `count` rows; whole pages of them are not unpacked.
    fn skip(&mut self, count: usize) -> Result<(), ParquetError> {
        fn skip_all<T: DataType>(
            columns: &mut [ColumnReaderImpl<T>],
            count: usize,
        ) -> Result<(), ParquetError> {
            for column in columns {
                column.skip_records(count)?;
            }
            Ok(())
        }
        if count == 0 {
            return Ok(());
        }
        self.call_ids.skip_records(count)?;
        match &mut self.amounts {
            Amounts::First(column) => column.skip_records(count)?,
            Amounts::Second(column) => column.skip_records(count)?,
        };
        if let Some(second) = &mut self.second {
            second.corrections.skip_records(count)?;
            second.grpc_statuses.skip_records(count)?;
        }
        skip_all(&mut self.required, count)?;
        skip_all(&mut self.optional, count)?;
        skip_all(&mut self.long, count)?;
        skip_all(&mut self.small, count)?;
        skip_all(&mut self.flags, count)
    }

    /// Reads the next `count` rows.
    fn read(&mut self, count: usize, parser: &mut Parser<'_>) -> Result<&[Row], ParquetError> {
        fn read_all<T: DataType>(
            columns: &mut [ColumnReaderImpl<T>],
            count: usize,
            chunks: &mut Vec<Vec<T::T>>,
        ) -> Result<(), ParquetError> {
            chunks.resize_with(columns.len(), Vec::new);
            let pairs = columns.iter_mut().zip(chunks);
            for (column, chunk) in pairs {
                read_exactly(column, count, None, chunk)?;
            }
            Ok(())
        }
        let chunk = &mut self.chunk;
        read_exactly(&mut self.call_ids, count, None, &mut chunk.call_ids)?;
        read_all(&mut self.required, count, &mut chunk.required)?;
        read_all(&mut self.long, count, &mut chunk.long)?;
        read_all(&mut self.small, count, &mut chunk.small)?;
        read_all(&mut self.flags, count, &mut chunk.flags)?;
        self.amounts.read(count, &mut chunk.amounts)?;
        chunk.optional.clear();
        for column in &mut self.optional {
            chunk.optional.push(read_optional(column, count)?);
        }
        if let Some(second) = &mut self.second {
            chunk.corrections = read_optional(&mut second.corrections, count)?;
            chunk.grpc_statuses = read_optional(&mut second.grpc_statuses, count)?;
        }
        self.rows.clear();
        for row in 0..count {
            let parsed = parser.row(chunk, row);
            self.rows.push(parsed.map_err(ParquetError::General)?);
        }
        Ok(&self.rows)
    }
}

impl Amounts {
    fn read(&mut self, count: usize, amounts: &mut Vec<i128>) -> Result<(), ParquetError> {
        amounts.clear();
        match self {
            Self::First(column) => {
                let mut nanos = Vec::new();
                read_exactly(column, count, None, &mut nanos)?;
                amounts.extend(nanos.into_iter().map(i128::from));
            }
            Self::Second(column) => {
                let mut bytes = Vec::new();
                read_exactly(column, count, None, &mut bytes)?;
                for bytes in &bytes {
                    let nanos = amount::nanos_of(bytes.data());
                    amounts.push(nanos.ok_or_else(|| {
                        ParquetError::General("an amount is not sixteen bytes long".to_owned())
                    })?);
                }
            }
        }
        Ok(())
    }
}

/// Reads the next `count` values of a column that may lack some.
fn read_optional<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    count: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    read_exactly(column, count, Some(&mut levels), &mut values)?;
    let mut values = values.into_iter();
    let spread = levels
        .iter()
        .map(|level| (*level > 0).then(|| values.next()));
    Ok(spread.map(Option::flatten).collect())
}
