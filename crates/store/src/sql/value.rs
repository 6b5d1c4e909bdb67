//! Values of parameters and columns, the same for both engines.

use std::net::IpAddr;

use model::{
    AccountName, Alias, AppName, AuditId, CallId, CredentialId, EventId, InstanceId, KeyHash,
    LicenseId, ManagementKeyId, PlanName, PlanRevisionId, RequestTokenId, SessionId, Timestamp,
    UserId, WebhookId,
};
use serde::Serialize;

/// The largest number of a column; larger ones are stored as this.
pub(crate) const MAX_COUNT: u64 = i64::MAX as u64;

/// A value of a parameter or a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// No value.
    Null,
    /// A number, of whatever width the column has; a time is one in microseconds.
    Integer(i64),
    /// Yes or no; SQLite keeps it as 1 or 0.
    Bool(bool),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An id: a `uuid` in PostgreSQL, sixteen bytes with the big end first in SQLite.
    Id(u128),
    /// Sixty-four bits without a sign: a `bigint` in PostgreSQL, eight bytes with the big end first
    /// in SQLite.
    Bits(u64),
    /// A list of numbers, for `= ANY ($1)` in PostgreSQL; a JSON list in SQLite.
    Integers(Vec<i64>),
    /// A list of texts, as [`Value::Integers`].
    Texts(Vec<String>),
    /// A list of ids, for `= ANY ($1::uuid[])`.
    Ids(Vec<u128>),
}

/// Makes the values of a statement's parameters, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Value::from($value)),*] };
}

pub(crate) use values;

/// Returns a count as a column stores it.
pub(crate) fn count(number: u64) -> i64 {
    number.min(MAX_COUNT) as i64
}

/// Returns a limit on rows as a parameter; at least one, at most 100,000, so that an answer is
/// bounded whatever is asked for.
pub(crate) fn rows(limit: usize) -> i64 {
    limit.clamp(1, 100_000) as i64
}

/// Returns a list as JSON, the empty one as NULL.
pub(crate) fn list<T: Serialize>(values: &[T]) -> Option<String> {
    (!values.is_empty()).then(|| json(&values))
}

/// Returns plain data as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data always serialises")
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! from {
    ($($type:ty: $value:ident => $into:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $into
            }
        })*
    };
}

from! {
    i64: number => Self::Integer(number);
    u32: number => Self::Integer(number.into());
    u16: number => Self::Integer(number.into());
    i16: number => Self::Integer(number.into());
    bool: value => Self::Bool(value);
    &str: text => Self::Text(text.to_owned());
    &String: text => Self::Text(text.clone());
    String: text => Self::Text(text);
    Vec<u8>: bytes => Self::Bytes(bytes);
    &Vec<u8>: bytes => Self::Bytes(bytes.clone());
    &[u8]: bytes => Self::Bytes(bytes.to_vec());
    &[u8; 32]: bytes => Self::Bytes(bytes.to_vec());
    &KeyHash: hash => Self::Bytes(hash.as_bytes().to_vec());
    Timestamp: time => Self::Integer(time.micros());
    IpAddr: address => Self::Text(address.to_string());
    &AccountName: name => Self::Text(name.as_str().to_owned());
    &AppName: name => Self::Text(name.as_str().to_owned());
    &PlanName: name => Self::Text(name.as_str().to_owned());
    Alias: alias => Self::Bits(alias.as_u64());
    AuditId: id => Self::Id(id.as_u128());
    CallId: id => Self::Id(id.as_u128());
    CredentialId: id => Self::Id(id.as_u128());
    EventId: id => Self::Id(id.as_u128());
    InstanceId: id => Self::Id(id.as_u128());
    LicenseId: id => Self::Id(id.as_u128());
    ManagementKeyId: id => Self::Id(id.as_u128());
    PlanRevisionId: id => Self::Id(id.as_u128());
    RequestTokenId: id => Self::Id(id.as_u128());
    SessionId: id => Self::Id(id.as_u128());
    UserId: id => Self::Id(id.as_u128());
    WebhookId: id => Self::Id(id.as_u128());
}
