//! The ends of licenses: told once each, some days ahead and when they have come.
//!
//! Of each window it is written down up to which end it was told, in the order of ends. So each end
//! falls into a window once, whichever gate looks and however often, and a look costs what is new. A
//! license whose end is nearer than a window when it is set is not told of by that window.

use model::{EventType, LicenseId, LicenseStatus, Timestamp};

use super::outbox::{with_webhook, write};
use crate::rules::events::end_of;
use crate::rules::numbers;
use crate::sql::license_rows::get_all;
use crate::sql::{Outcome, Row, Sql, Value, rows, sql, values};

/// The time for which a look stays behind the clock, so that what is being written meanwhile, by a
/// gate whose clock may be a little behind, is seen by the next.
const BEHIND: i64 = 2_000_000;
/// The time after which a look that has found nothing is written down all the same, so that it is
/// not made anew for ever.
const NOTED_EVERY: i64 = 60_000_000;
const DAY: i64 = 24 * Timestamp::HOUR;

/// A time before the end of a license at which somebody is told of it.
struct Window {
    kind: EventType,
    days: i64,
    /// The days before the end at which it is too late to tell it: another window does.
    until: i64,
}

const WINDOWS: [Window; 3] = [
    Window {
        kind: EventType::LicenseExpiring,
        days: 7,
        until: 1,
    },
    Window {
        kind: EventType::LicenseExpiring,
        days: 1,
        until: 0,
    },
    Window {
        kind: EventType::LicenseExpired,
        days: 0,
        until: i64::MIN / DAY,
    },
];

/// A license with the end that a window has come to.
struct Ending {
    id: LicenseId,
    at: Timestamp,
    is_told: bool,
}

/// Writes down what every window has come to, up to `limit` licenses of each. Returns how many
/// licenses it has looked at.
pub(super) async fn note<S: Sql>(sql: &S, now: Timestamp, limit: usize) -> Outcome<usize, S> {
    let mut looked = 0;
    for window in &WINDOWS {
        looked += window.note(sql, now, limit).await?;
    }
    Ok(looked)
}

impl Window {
    async fn note<S: Sql>(&self, sql: &S, now: Timestamp, limit: usize) -> Outcome<usize, S> {
        let end = now.plus_micros(self.days * DAY - BEHIND);
        let Some((through, license)) = self.noted(sql, end).await? else {
            return Ok(0);
        };
        // The clock of the gate that looked before is ahead of this one's.
        if end < through {
            return Ok(0);
        }
        let ending = ending(sql, (through, license), end, limit).await?;
        let is_near = end < through.plus_micros(NOTED_EVERY);
        if ending.is_empty() && is_near {
            return Ok(0);
        }
        let last = ending.last().filter(|_| ending.len() as i64 >= rows(limit));
        let (through, license) = match last {
            Some(last) => (last.at, last.id.as_u128()),
            None => (end, u128::MAX),
        };
        let move_on =
            sql!("UPDATE ends_noted SET through = $3, license = $4 WHERE kind = $1 AND days = $2");
        let values = values![
            i64::from(self.kind as u8),
            self.days,
            through,
            Value::Id(license)
        ];
        sql.execute(move_on, &values).await?;
        self.tell(sql, &ending, now).await?;
        Ok(ending.len())
    }

    /// Returns up to which end this window was told, locked. `None`: it begins now, at this end.
    async fn noted<S: Sql>(
        &self,
        sql: &S,
        end: Timestamp,
    ) -> Outcome<Option<(Timestamp, u128)>, S> {
        let look = sql!(
            "SELECT through, license FROM ends_noted WHERE kind = $1 AND days = $2 FOR UPDATE"
        );
        let window = values![i64::from(self.kind as u8), self.days];
        if let Some(row) = sql.query_opt(look, &window).await? {
            return Ok(Some((row.get(0)?, row.get(1)?)));
        }
        let begin = sql!(
            "INSERT INTO ends_noted (kind, days, through, license) VALUES ($1, $2, $3, $4)
            ON CONFLICT (kind, days) DO NOTHING"
        );
        let [kind, days] = window;
        let values = [kind, days, end.into(), Value::Id(u128::MAX)];
        sql.execute(begin, &values).await?;
        Ok(None)
    }

    async fn tell<S: Sql>(&self, sql: &S, ending: &[Ending], now: Timestamp) -> Outcome<(), S> {
        let too_late = now.plus_micros(self.until.saturating_mul(DAY));
        let told = ending.iter();
        let told = told.filter(|ending| ending.is_told && ending.at > too_late);
        let told: Vec<_> = told.map(|ending| ending.id).collect();
        if told.is_empty() {
            return Ok(());
        }
        let events = get_all(sql, &told).await?;
        let events = events
            .iter()
            .filter_map(|stored| end_of(stored, self.kind, self.days));
        write(sql, &events.collect::<Vec<_>>()).await
    }
}

/// Returns the licenses whose ends come after a place in their order and not after `end`.
async fn ending<S: Sql>(
    sql: &S,
    (through, license): (Timestamp, u128),
    end: Timestamp,
    limit: usize,
) -> Outcome<Vec<Ending>, S> {
    let statement = sql!(
        "SELECT id, expires_at, status, account FROM licenses WHERE expires_at IS NOT NULL
        AND (expires_at, id) > ($1, $2) AND expires_at <= $3 ORDER BY expires_at, id LIMIT $4"
    );
    let values = values![through, Value::Id(license), end, rows(limit)];
    let found = sql.query(statement, &values).await?;
    let accounts = found.iter().map(|row| row.text(3));
    let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
    let told = with_webhook(sql, accounts.iter()).await?;
    let read = |(row, account): (&Row, _)| {
        let status = row.word(2, numbers::license_of)?;
        Ok(Ending {
            id: row.get(0)?,
            at: row.get(1)?,
            is_told: status == LicenseStatus::Active && told.contains(account),
        })
    };
    let ending = found.iter().zip(&accounts).map(read);
    Ok(ending.collect::<Result<_, crate::error::Error>>()?)
}
