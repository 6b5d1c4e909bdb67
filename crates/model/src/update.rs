//! Fields of changes, in which `null` differs from a field that is absent.

use serde::{Deserialize, Deserializer};

/// A new value, or `None` for `null`, which takes the value away. In an `Option`, whose `None`
/// says that the field is absent and the value stays.
pub type Nullable<T> = Option<T>;

/// Reads a field that is there as `Some`, of `None` for `null`. With `#[serde(default)]`, an
/// absent field is `None`.
///
/// # Errors
/// Returns the error of the value.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Nullable<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a field that is there as `Some`, of the default for `null`: for values whose default
/// stands for none. With `#[serde(default)]`, an absent field is `None`.
///
/// # Errors
/// Returns the error of the value.
pub fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::deserialize(deserializer)?;
    Ok(Some(value.unwrap_or_default()))
}
