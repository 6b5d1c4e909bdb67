//! The forms of AuthForge's protocol that its SDKs hold to the byte: signed answers, files by which
//! software runs without a connection, and requests for such files. Pure: nothing here asks anybody.

mod armor;
mod license_file;
mod request_file;
mod signed;
#[cfg(test)]
mod vectors;

pub(super) use license_file::{LicenseDocument, file_id, license_file};
pub(super) use request_file::read_request_file;
pub(super) use signed::{Signed, sign};

use model::Timestamp;

/// Returns a time in the form of this protocol, with milliseconds: `2026-10-09T12:00:00.000Z`.
pub(super) fn iso(time: Timestamp) -> String {
    let second = Timestamp::from_micros(time.seconds() * 1_000_000);
    let millis = time.micros().rem_euclid(1_000_000) / 1_000;
    let text = second.to_string();
    let text = text.trim_end_matches('Z');
    format!("{text}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_of_its_second() {
        for (time, text) in [
            ("2026-10-09T12:00:00Z", "2026-10-09T12:00:00.000Z"),
            ("2026-10-09T12:00:00.120999Z", "2026-10-09T12:00:00.120Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(iso(time.parse().expect("valid")), text);
        }
    }
}
