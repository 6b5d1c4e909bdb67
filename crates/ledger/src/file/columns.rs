//! The columns of a sealed file, and how each is packed.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// The number of rows in a row group: the least that a reader has to look at for one license.
pub(crate) const GROUP_ROWS: usize = 65_536;
/// The number of rows in a page: the least that has to be unpacked.
const PAGE_ROWS: usize = 8_192;

/// The schema of format 1. Reader and writer go through the columns in this order; `amount` is 10⁻⁹
/// of the major unit, as its decimal type says.
const FIRST_SCHEMA: &str = "message call {
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) call_id (UUID);
    OPTIONAL BYTE_ARRAY license_id (STRING);
    REQUIRED INT64 started_at (TIMESTAMP(MICROS,true));
    REQUIRED BYTE_ARRAY account (STRING);
    REQUIRED BYTE_ARRAY app (STRING);
    REQUIRED BYTE_ARRAY route (STRING);
    REQUIRED BYTE_ARRAY method (STRING);
    REQUIRED INT32 status;
    REQUIRED BYTE_ARRAY outcome (STRING);
    REQUIRED BYTE_ARRAY mode (STRING);
    REQUIRED BOOLEAN test;
    REQUIRED BOOLEAN billable;
    REQUIRED INT64 units;
    REQUIRED INT64 spent;
    REQUIRED INT64 amount (DECIMAL(18,9));
    OPTIONAL BYTE_ARRAY currency (STRING);
    OPTIONAL BYTE_ARRAY plan (STRING);
    OPTIONAL BYTE_ARRAY plan_revision (STRING);
    REQUIRED INT32 attempts;
    OPTIONAL BYTE_ARRAY refusal (STRING);
    REQUIRED INT64 calls;
    REQUIRED INT64 request_bytes;
    REQUIRED INT64 response_bytes;
    REQUIRED INT64 duration_us;
    REQUIRED INT64 upstream_us;
    REQUIRED BOOLEAN limited;
    REQUIRED BOOLEAN windowed;
    REQUIRED INT32 epoch;
    REQUIRED INT64 idempotency;
    REQUIRED BYTE_ARRAY node (STRING);
    REQUIRED BYTE_ARRAY instance (STRING);
    REQUIRED INT32 lane;
    REQUIRED INT64 close_number;
}";

/// The type of `amount` in format 1 and in format 2, which no call and no sum of calls outgrows.
const AMOUNT: [&str; 2] = [
    "REQUIRED INT64 amount (DECIMAL(18,9));",
    "REQUIRED FIXED_LEN_BYTE_ARRAY (16) amount (DECIMAL(38,9));",
];
/// The columns that format 2 has behind those of format 1.
const SECOND_COLUMNS: &str = "
    OPTIONAL BYTE_ARRAY credential_id (STRING);
    OPTIONAL BYTE_ARRAY caller_network (STRING);
    OPTIONAL BYTE_ARRAY caller_hash (STRING);
    OPTIONAL FIXED_LEN_BYTE_ARRAY (16) correction_of (UUID);
    OPTIONAL BYTE_ARRAY unit (STRING);
    OPTIONAL BYTE_ARRAY payer (STRING);
    OPTIONAL BYTE_ARRAY settlement_id (STRING);
    OPTIONAL INT32 grpc_status;
    OPTIONAL BYTE_ARRAY units_unreadable (STRING);
}";

/// The format before this one, whose files stay readable.
pub(crate) const FIRST_FORMAT: u32 = 1;

/// The place of `license_id` in the schema.
pub(crate) const LICENSE: usize = 1;
/// The place of `started_at` in the schema.
pub(crate) const STARTED: usize = 2;

/// The places of the columns of each kind, in the order in which rows are put together from them
/// (`parse`).
///
/// Columns of texts: account, app, route, method, outcome, mode.
pub(crate) const REQUIRED_TEXTS: [usize; 6] = [3, 4, 5, 6, 8, 9];
/// Columns of texts that may be absent: `license_id`, currency, plan, `plan_revision`, refusal.
pub(crate) const OPTIONAL_TEXTS: [usize; 5] = [1, 15, 16, 17, 19];
/// Columns of 64 bits: `started_at`, units, spent, calls, bytes of request and response, duration,
/// upstream, idempotency, `close_number`.
pub(crate) const LONG: [usize; 10] = [2, 12, 13, 20, 21, 22, 23, 24, 28, 32];
/// The place of `amount`.
pub(crate) const AMOUNT_PLACE: usize = 14;
/// Columns of small numbers: status, attempts, epoch.
pub(crate) const SMALL: [usize; 3] = [7, 18, 27];
/// Columns of flags: test, billable, limited, windowed.
pub(crate) const FLAGS: [usize; 4] = [10, 11, 25, 26];
/// Columns of texts of format 2 alone: `credential_id`, `caller_network`, `caller_hash`, unit,
/// payer, `settlement_id`, `units_unreadable`.
pub(crate) const SECOND_TEXTS: [usize; 7] = [33, 34, 35, 37, 38, 39, 41];
/// The place of `correction_of`, which only format 2 has.
pub(crate) const CORRECTION: usize = 36;
/// The place of `grpc_status`, which only format 2 has.
pub(crate) const GRPC_STATUS: usize = 40;

/// The columns whose values seldom repeat: packed as differences, without a dictionary.
const PLAIN_NUMBERS: [&str; 6] = [
    "started_at",
    "close_number",
    "request_bytes",
    "response_bytes",
    "duration_us",
    "upstream_us",
];

/// Returns the schema of files that are written.
pub(crate) fn schema() -> TypePtr {
    static PARSED: LazyLock<TypePtr> = LazyLock::new(|| {
        let [first, second] = AMOUNT;
        let common = FIRST_SCHEMA.trim_end_matches('}');
        parsed(&(common.replace(first, second) + SECOND_COLUMNS))
    });
    Arc::clone(&PARSED)
}

/// Returns the schema of files of a format that can be read.
pub(crate) fn schema_of(format: u32) -> TypePtr {
    static FIRST: LazyLock<TypePtr> = LazyLock::new(|| parsed(FIRST_SCHEMA));
    match format {
        FIRST_FORMAT => Arc::clone(&FIRST),
        _ => schema(),
    }
}

fn parsed(schema: &str) -> TypePtr {
    Arc::new(parse_message_type(schema).expect("the schema is a constant that parses"))
}

/// Returns the settings of the writer. Values of `license_id` and `started_at` have their bounds in
/// each group's footer.
pub(crate) fn properties(metadata: Vec<KeyValue>, sorted: bool) -> WriterPropertiesPtr {
    let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
    let by = |column: usize| SortingColumn {
        column_idx: i32::try_from(column).expect("a small constant"),
        descending: false,
        nulls_first: true,
    };
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by("tallygate".to_owned())
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(metadata));
    if sorted {
        builder = builder.set_sorting_columns(Some(vec![by(LICENSE), by(STARTED)]));
    }
    for column in ["license_id", "started_at", "app", "status", "close_number"] {
        builder = builder.set_column_statistics_enabled(path(column), EnabledStatistics::Chunk);
    }
    for column in PLAIN_NUMBERS {
        builder = builder
            .set_column_dictionary_enabled(path(column), false)
            .set_column_encoding(path(column), Encoding::DELTA_BINARY_PACKED);
    }
    for column in ["call_id", "idempotency", "correction_of", "settlement_id"] {
        builder = builder.set_column_dictionary_enabled(path(column), false);
    }
    Arc::new(builder.build())
}

fn path(column: &str) -> ColumnPath {
    ColumnPath::new(vec![column.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_schema() {
        let schema = schema();
        let name = |place: &usize| schema.get_fields()[*place].name().to_owned();
        let names = |places: &[usize]| places.iter().map(name).collect::<Vec<_>>().join(" ");
        assert_eq!(
            names(&[0, LICENSE, STARTED]),
            "call_id license_id started_at"
        );
        assert_eq!(
            names(&REQUIRED_TEXTS),
            "account app route method outcome mode"
        );
        assert_eq!(
            names(&OPTIONAL_TEXTS),
            "license_id currency plan plan_revision refusal"
        );
        assert_eq!(
            names(&LONG),
            "started_at units spent calls request_bytes response_bytes duration_us upstream_us idempotency close_number"
        );
        assert_eq!(names(&SMALL), "status attempts epoch");
        assert_eq!(names(&FLAGS), "test billable limited windowed");
        assert_eq!(
            names(&SECOND_TEXTS),
            "credential_id caller_network caller_hash unit payer settlement_id units_unreadable"
        );
        assert_eq!(
            names(&[AMOUNT_PLACE, CORRECTION, GRPC_STATUS]),
            "amount correction_of grpc_status"
        );
        // What both formats have stands in the same places.
        let first = schema_of(FIRST_FORMAT);
        for (place, column) in first.get_fields().iter().enumerate() {
            assert_eq!(column.name(), schema.get_fields()[place].name());
        }
        assert_eq!(
            (first.get_fields().len(), schema.get_fields().len()),
            (33, 42)
        );
    }
}
