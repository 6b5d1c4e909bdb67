//! Rows, the same for both engines.

use std::str::FromStr;

use model::{
    Alias, AuditId, CallId, CredentialId, EventId, InstanceId, KeyHash, LicenseId, ManagementKeyId,
    PlanRevisionId, RequestTokenId, SessionId, Timestamp, UserId, WebhookId,
};
use serde::de::DeserializeOwned;

use super::statement::Names;
use super::value::Value;
use crate::error::Error;

/// A row that a statement returned.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    names: Names,
    values: Vec<Value>,
}

/// A type that a column is read as.
pub(crate) trait Column: Sized {
    /// Returns the value; `None`: the column holds what no version of this program wrote.
    fn of(value: &Value) -> Option<Self>;
}

impl Row {
    pub(crate) fn new(names: Names, values: Vec<Value>) -> Self {
        Self { names, values }
    }

    /// Reads a column.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it holds no `T`, as for all other methods.
    pub(crate) fn get<T: Column>(&self, column: usize) -> Result<T, Error> {
        self.value(column)
            .and_then(T::of)
            .ok_or_else(|| self.unreadable(column))
    }

    /// Reads a count, of which no column holds one below 0.
    pub(crate) fn count(&self, column: usize) -> Result<u64, Error> {
        Ok(u64::try_from(self.get::<i64>(column)?).unwrap_or(0))
    }

    /// Reads a value by its text form; NULL is `None`.
    pub(crate) fn optional_text<T: FromStr>(&self, column: usize) -> Result<Option<T>, Error> {
        match self.value(column) {
            Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => self.parse(column, text).map(Some),
            _ => Err(self.unreadable(column)),
        }
    }

    /// Reads a value by its text form.
    pub(crate) fn text<T: FromStr>(&self, column: usize) -> Result<T, Error> {
        let text = self.optional_text(column)?;
        text.ok_or_else(|| self.unreadable(column))
    }

    /// Reads a value by its text form; the empty text stands for none.
    pub(crate) fn nonempty<T: FromStr>(&self, column: usize) -> Result<Option<T>, Error> {
        match self.value(column) {
            Some(Value::Text(text)) if text.is_empty() => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    /// Reads plain data stored as JSON; NULL is `None`.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: usize) -> Result<Option<T>, Error> {
        let text: Option<String> = self.get(column)?;
        let value = text.map(|text| serde_json::from_str(&text)).transpose();
        value.map_err(|_| self.unreadable(column))
    }

    /// Reads a list stored as JSON; NULL is the empty list.
    pub(crate) fn list<T: DeserializeOwned>(&self, column: usize) -> Result<Vec<T>, Error> {
        Ok(self.json(column)?.unwrap_or_default())
    }

    /// Reads a word stored as a number.
    pub(crate) fn word<N: TryFrom<i64>, T>(
        &self,
        column: usize,
        word: impl FnOnce(N) -> Option<T>,
    ) -> Result<T, Error> {
        let number = N::try_from(self.get::<i64>(column)?).ok();
        number.and_then(word).ok_or_else(|| self.unreadable(column))
    }

    /// Returns the error of a column that does not hold what it should.
    pub(crate) fn unreadable(&self, column: usize) -> Error {
        let name = self.names.get(column).map_or("?", String::as_str);
        Error::Corrupt(format!("column {name} has an unknown value"))
    }

    fn value(&self, column: usize) -> Option<&Value> {
        self.values.get(column)
    }

    fn parse<T: FromStr>(&self, column: usize, text: &str) -> Result<T, Error> {
        text.parse().map_err(|_| self.unreadable(column))
    }
}

impl Column for i64 {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl Column for bool {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            Value::Integer(number) => Some(*number != 0),
            _ => None,
        }
    }
}

impl Column for String {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Column for Vec<u8> {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<const LENGTH: usize> Column for [u8; LENGTH] {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        }
    }
}

/// The bits of an id.
impl Column for u128 {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Id(bits) => Some(*bits),
            _ => <[u8; 16]>::of(value).map(Self::from_be_bytes),
        }
    }
}

impl Column for Alias {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(bits) => Some(Self::from_u64(*bits as u64)),
            _ => {
                let bytes = <[u8; 8]>::of(value);
                bytes.map(|bytes| Self::from_u64(u64::from_be_bytes(bytes)))
            }
        }
    }
}

impl<T: Column> Column for Option<T> {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            _ => T::of(value).map(Some),
        }
    }
}

macro_rules! columns {
    ($($type:ty: $stored:ty, $of:expr;)*) => {
        $(impl Column for $type {
            fn of(value: &Value) -> Option<Self> {
                <$stored>::of(value).and_then($of)
            }
        })*
    };
}

columns! {
    u32: i64, |number| number.try_into().ok();
    u16: i64, |number| number.try_into().ok();
    u8: i64, |number| number.try_into().ok();
    Timestamp: i64, |micros| Some(Self::from_micros(micros));
    KeyHash: [u8; 32], |bytes| Some(Self::from_bytes(bytes));
    AuditId: u128, |bits| Some(Self::from_u128(bits));
    CallId: u128, |bits| Some(Self::from_u128(bits));
    CredentialId: u128, |bits| Some(Self::from_u128(bits));
    EventId: u128, |bits| Some(Self::from_u128(bits));
    InstanceId: u128, |bits| Some(Self::from_u128(bits));
    LicenseId: u128, |bits| Some(Self::from_u128(bits));
    ManagementKeyId: u128, |bits| Some(Self::from_u128(bits));
    PlanRevisionId: u128, |bits| Some(Self::from_u128(bits));
    RequestTokenId: u128, |bits| Some(Self::from_u128(bits));
    SessionId: u128, |bits| Some(Self::from_u128(bits));
    UserId: u128, |bits| Some(Self::from_u128(bits));
    WebhookId: u128, |bits| Some(Self::from_u128(bits));
}
