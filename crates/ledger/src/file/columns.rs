//! The columns of a sealed file, and how each is packed.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

/// Rows of a row group: the least that a reader has to look at for one license.
pub(crate) const GROUP_ROWS: usize = 65_536;
/// Rows of a page: the least that has to be unpacked.
const PAGE_ROWS: usize = 8_192;

/// The schema. Reader and writer go through the columns in this order; `amount` is 10⁻⁹ of the major unit, as its decimal
/// type says.
const SCHEMA: &str = "message call {
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

/// Place of `license_id` in the schema.
pub(crate) const LICENSE: usize = 1;
/// Place of `started_at` in the schema.
pub(crate) const STARTED: usize = 2;

/// Places of the columns of each kind, in the order in which rows are put together from them (`parse`).
///
/// account, app, route, method, outcome, mode.
pub(crate) const REQUIRED_TEXTS: [usize; 6] = [3, 4, 5, 6, 8, 9];
/// `license_id`, currency, plan, `plan_revision`, refusal.
pub(crate) const OPTIONAL_TEXTS: [usize; 5] = [1, 15, 16, 17, 19];
/// `started_at`, units, spent, amount, calls, bytes of request and response, duration, upstream, idempotency, `close_number`.
pub(crate) const LONG: [usize; 11] = [2, 12, 13, 14, 20, 21, 22, 23, 24, 28, 32];
/// status, attempts, epoch.
pub(crate) const SMALL: [usize; 3] = [7, 18, 27];
/// test, billable, limited, windowed.
pub(crate) const FLAGS: [usize; 4] = [10, 11, 25, 26];

/// Columns whose values seldom repeat: packed as differences, without a dictionary.
const PLAIN_NUMBERS: [&str; 6] = [
    "started_at",
    "close_number",
    "request_bytes",
    "response_bytes",
    "duration_us",
    "upstream_us",
];

pub(crate) fn schema() -> TypePtr {
    static PARSED: LazyLock<TypePtr> = LazyLock::new(|| {
        Arc::new(parse_message_type(SCHEMA).expect("the schema is a constant that parses"))
    });
    Arc::clone(&PARSED)
}

/// How files are written. Values of `license_id` and `started_at` have their bounds in each group's footer.
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
    for column in ["call_id", "idempotency"] {
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
            "started_at units spent amount calls request_bytes response_bytes duration_us upstream_us idempotency close_number"
        );
        assert_eq!(names(&SMALL), "status attempts epoch");
        assert_eq!(names(&FLAGS), "test billable limited windowed");
    }
}
