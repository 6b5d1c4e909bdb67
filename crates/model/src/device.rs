//! Devices that licenses are bound to.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forms::text_form;
use crate::time::Timestamp;

/// The id of a device, as the software on it states it: 1 to 256 bytes without control characters,
/// to which the gate gives no meaning.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(String);

/// A device that a license is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// The id of the device.
    pub id: DeviceId,
    /// The time at which it was bound.
    pub bound_at: Timestamp,
}

/// The error for a text that is not a [`DeviceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a device id has 1 to {} bytes and no control characters",
    DeviceId::MAX_BYTES
)]
pub struct ParseDeviceIdError;

impl DeviceId {
    /// The length of the longest id, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Returns the text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns eight bytes of the SHA-256 of the id, by which records and sessions know the device.
    #[must_use]
    pub fn digest(&self) -> u64 {
        crate::key::digest_u64(self.0.as_bytes())
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for DeviceId {
    type Err = ParseDeviceIdError;

    fn from_str(text: &str) -> Result<Self, ParseDeviceIdError> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            return Err(ParseDeviceIdError);
        }
        Ok(Self(text.to_owned()))
    }
}

text_form! { DeviceId {
    "description": "A device, as the software on it names it.",
    "minLength": 1,
    "maxLength": DeviceId::MAX_BYTES,
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_any_text_of_one_to_256_bytes_without_control_characters() {
        for right in ["A", "küche 1", &"x".repeat(256)] {
            assert_eq!(right.parse::<DeviceId>().expect("valid").as_str(), right);
        }
        for wrong in ["", "a\nb", &"x".repeat(257)] {
            assert_eq!(
                wrong.parse::<DeviceId>(),
                Err(ParseDeviceIdError),
                "{wrong:?}"
            );
        }
    }
}
