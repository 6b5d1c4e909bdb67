//! The cursor of a follower: its position as a text that it keeps and gives back.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use model::{InstanceId, Timestamp};

/// The position of a follower in each lane of each instance.
///
/// Close numbers of a lane follow each other without a gap and never change, whether its records
/// are in a journal or in sealed files, on this gate or another: so a cursor goes on anywhere in
/// the fleet, after any restart, and after `ledger rebuild`. It is as long as the number of
/// instances that live or are still to be recovered, however many ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowCursor {
    /// The time at which following began. Records that retention had removed by then were never
    /// promised.
    pub(super) begun_at: Timestamp,
    /// The last instance that was read, by number and id. Those with smaller numbers are read to
    /// their end, but for `open`; those with larger ones are unread.
    pub(super) last: Option<(u64, InstanceId)>,
    /// The close number of the last record read, by instance and lane, of instances that are not
    /// read to their end.
    pub(super) open: BTreeMap<u64, BTreeMap<u32, u64>>,
    /// The lane that the page before ended with: the next page begins behind it, so that a busy
    /// lane starves no other.
    pub(super) turn: Turn,
}

/// The number of an instance, and a lane.
pub(super) type Turn = (u64, u32);

/// The largest length of a cursor's text: a fleet of a hundred gates takes some 20,000 bytes.
const TEXT_MAX: usize = 60_000;
/// The version of the text's form.
const FORM: &str = "1";

/// The error of parsing a text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor: give what `next` of the page before said, to the letter")]
pub struct ParseCursorError;

impl FollowCursor {
    /// Returns the cursor of a follower that has read nothing yet.
    pub(super) const fn begin(now: Timestamp) -> Self {
        Self {
            begun_at: now,
            last: None,
            open: BTreeMap::new(),
            turn: (0, 0),
        }
    }

    pub(super) fn position(&self, (number, lane): Turn) -> u64 {
        let lanes = self.open.get(&number);
        let position = lanes.and_then(|lanes| lanes.get(&lane));
        position.copied().unwrap_or(0)
    }

    pub(super) fn move_to(&mut self, (number, lane): Turn, position: u64) {
        if position > 0 {
            self.open.entry(number).or_default().insert(lane, position);
        }
    }
}

/// Writes `FORM.begun.last.id.turn-lane.open`, where `open` is `number~lane-position~…_number~…`:
/// nothing that a URL has to escape.
impl fmt::Display for FollowCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, id) = self
            .last
            .map_or((0, 0), |(number, id)| (number, id.as_u128()));
        let (turn, lane) = self.turn;
        let begun = self.begun_at.micros();
        write!(f, "{FORM}.{begun}.{last}.{id:x}.{turn}-{lane}.")?;
        for (index, (number, lanes)) in self.open.iter().enumerate() {
            if index > 0 {
                f.write_str("_")?;
            }
            write!(f, "{number}")?;
            for (lane, position) in lanes {
                write!(f, "~{lane}-{position}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for FollowCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        parse(text).ok_or(ParseCursorError)
    }
}

fn parse(text: &str) -> Option<FollowCursor> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let mut parts = text.split('.');
    if parts.next()? != FORM {
        return None;
    }
    let begun_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
    let last: u64 = parts.next()?.parse().ok()?;
    let id = u128::from_str_radix(parts.next()?, 16).ok()?;
    let (turn, lane) = parts.next()?.split_once('-')?;
    let open = parse_open(parts.next()?)?;
    if parts.next().is_some() {
        return None;
    }
    let cursor = FollowCursor {
        begun_at,
        last: (last > 0).then(|| (last, InstanceId::from_u128(id))),
        open,
        turn: (turn.parse().ok()?, lane.parse().ok()?),
    };
    // Each cursor has one form; other spellings are refused. No instance is open that was not read.
    let known = cursor
        .open
        .last_key_value()
        .is_none_or(|(number, _)| *number <= last);
    (known && cursor.to_string() == text).then_some(cursor)
}

fn parse_open(text: &str) -> Option<BTreeMap<u64, BTreeMap<u32, u64>>> {
    let mut open = BTreeMap::new();
    for instance in text.split('_').filter(|text| !text.is_empty()) {
        let mut parts = instance.split('~');
        let number: u64 = parts.next()?.parse().ok()?;
        let mut lanes = BTreeMap::new();
        for lane in parts {
            let (lane, position) = lane.split_once('-')?;
            lanes.insert(lane.parse().ok()?, position.parse().ok()?);
        }
        open.insert(number, lanes);
    }
    Some(open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> impl Strategy<Value = FollowCursor> {
        let lanes = prop::collection::btree_map(any::<u32>(), 1..u64::MAX, 0..4);
        let open = prop::collection::btree_map(1..u64::MAX, lanes, 0..5);
        let bits = any::<(i64, u128, (u64, u32))>();
        (bits, open).prop_map(|((begun, id, turn), open)| {
            let last = open.last_key_value().map(|(number, _)| *number);
            FollowCursor {
                begun_at: Timestamp::from_micros(begun),
                last: last.map(|number| (number, InstanceId::from_u128(id))),
                open,
                turn,
            }
        })
    }

    proptest! {
        #[test]
        fn a_cursor_survives_its_text_which_needs_no_escape(cursor in cursors()) {
            let text = cursor.to_string();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            prop_assert!(text.bytes().all(plain), "{}", text);
            prop_assert_eq!(text.parse(), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_refused_and_never_a_panic(text in "[0-9a-f.~_+ -]{0,40}|1\\.[0-9]{1,4}\\.[0-9]{1,3}\\.[0-9a-f]{1,4}\\.[0-9]-[0-9]\\.[0-9~_-]{0,20}") {
            if let Ok(cursor) = text.parse::<FollowCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn texts_that_nobody_was_given_are_refused() {
        let long = format!("1.0.1.0.0-0.1{}", "~1-1".repeat(20_000));
        for bad in [
            "",
            "1",
            "2.0.0.0.0-0.",
            "1.0.0.0.0-0",
            "1.0.0.0.0-0..",
            "1.0.0.0.0-0.5~1-1",
            "1.0.9.0.0-0.05~1-1",
            "1.0.9.0.0-0.5~1",
            "1.+0.0.0.0-0.",
            "1.0.9.0.0-0.7~1-1_5~1-1",
            &long,
        ] {
            assert_eq!(bad.parse::<FollowCursor>(), Err(ParseCursorError), "{bad}");
        }
        assert!("1.0.9.2a.0-0.5~1-1_7".parse::<FollowCursor>().is_ok());
    }
}
