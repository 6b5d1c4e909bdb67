//! Usage from rollups and, where a bound lies within a rollup's span, from the records themselves.

use model::Timestamp;
use model::usage::{UsageQuery, UsageRow};

use crate::calls::CallsQuery;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::rollup::Sums;

/// A span of time; `None`: no bound on that side.
type Span = (Option<Timestamp>, Option<Timestamp>);

/// The answer to a usage question: calls summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The sums, in order of their groups.
    pub rows: Vec<UsageRow>,
    /// The number of records that were there when the question was asked and are not in the sums,
    /// of all licenses: those of earlier starts that are still being read, and those that the disk
    /// of the journal has not taken in time. It is never too small.
    pub behind: u64,
}

/// The parts of a question, by what answers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts {
    /// The span that whole rollups answer.
    whole: Option<Span>,
    /// The spans that records answer: shorter than a rollup, one at each end at most.
    edges: Vec<(Timestamp, Timestamp)>,
}

impl Parts {
    /// Splits a span at the bounds of rollups: quarters of an hour, and whole hours before
    /// `hours_until`.
    fn of((from, to): Span, hours_until: Option<Timestamp>) -> Self {
        let is_by_hour = |time: Timestamp| hours_until.is_some_and(|until| time < until);
        let before = |time: Timestamp| match is_by_hour(time) {
            true => time.hour(),
            false => time.quarter(),
        };
        let after = |time: Timestamp| match (before(time) == time, is_by_hour(time)) {
            (true, _) => time,
            (false, true) => time.hour().plus_micros(Timestamp::HOUR),
            (false, false) => time.quarter().plus_micros(Timestamp::QUARTER),
        };
        let (first, last) = (from.map(after), to.map(before));
        if let (Some(first), Some(last), Some(from), Some(to)) = (first, last, from, to)
            && first > last
        {
            // The span lies within one rollup, or is empty.
            let edges = (from < to).then_some((from, to)).into_iter().collect();
            return Self { whole: None, edges };
        }
        let edge = |from: Option<Timestamp>, to: Option<Timestamp>| {
            from.zip(to).filter(|(from, to)| from < to)
        };
        let is_empty = first.is_some() && first == last;
        Self {
            whole: (!is_empty).then_some((first, last)),
            edges: edge(from, first)
                .into_iter()
                .chain(edge(last, to))
                .collect(),
        }
    }
}

impl Ledger {
    /// Returns usage from rollups and records, after everything that was closed before has been
    /// rolled up: exact for any bounds. Groups are in order of their fields as the query lists
    /// them, then by currency, none first.
    ///
    /// A bound within a quarter of an hour (an hour, in what version 1 rolled up) is answered from
    /// the records, at the cost of reading those of that quarter; the other gates of a fleet seal
    /// theirs first.
    ///
    /// # Errors
    /// Returns an error when the store does not answer or the journal cannot be read;
    /// [`Error::Removed`] where retention has removed records that a bound asks for.
    pub async fn usage(&self, query: UsageQuery) -> Result<Usage, Error> {
        // Read before the sums, so that every record that they lack is counted here.
        let earlier = self.counts().behind;
        let closed = self.shared.closed();
        match self.ship().await {
            Ok(()) | Err(Error::Behind) => {}
            Err(error) => return Err(error),
        }
        let behind = earlier + self.shared.not_rolled(&closed);
        // Whole hours are whole in rollups of either version.
        let is_whole = |bound: Option<Timestamp>| bound.is_none_or(|time| time == time.hour());
        let hours_until = match is_whole(query.from) && is_whole(query.to) {
            true => None,
            false => {
                self.ask(|store| async move { store.hours_until().await })
                    .await?
            }
        };
        let Parts { whole, edges } = Parts::of((query.from, query.to), hours_until);
        let is_exact = edges.is_empty();
        let by = query.by.clone();
        let mut rows = Vec::new();
        for (from, to) in edges {
            rows.extend(self.usage_by_records(&query, from, to).await?);
        }
        if let Some((from, to)) = whole {
            let whole = UsageQuery { from, to, ..query };
            rows.extend(
                self.ask(|store| async move { store.usage(whole).await })
                    .await?,
            );
        }
        let rows = match is_exact {
            true => rows,
            false => UsageRow::merge(rows, &by),
        };
        Ok(Usage { rows, behind })
    }

    async fn usage_by_records(
        &self,
        query: &UsageQuery,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageRow>, Error> {
        const GROUP: usize = 8_192;
        let files = self
            .ask(move |store| async move { store.manifest(Some(from), Some(to)).await })
            .await?;
        if files.iter().any(|file| file.removed_at.is_some()) {
            return Err(Error::Removed { from, to });
        }
        let mut calls = self
            .calls_of_all_gates(CallsQuery {
                license_id: query.license_id,
                account: query.account.clone(),
                app: query.app.clone(),
                from: Some(from),
                to: Some(to),
                ..CallsQuery::default()
            })
            .await?;
        let names = calls.names();
        let mut sums = Sums::default();
        while let Some((rows, _)) = calls.next_group(GROUP).await? {
            rows.iter().for_each(|row| sums.add(row));
        }
        let rows = sums.rows(&names).into_iter().map(|(key, sums)| UsageRow {
            sums,
            ..UsageRow::group(&key, &query.by)
        });
        Ok(UsageRow::merge(rows.collect(), &query.by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("2026-11-29T{text}Z").parse().unwrap()
    }

    fn parts(from: &str, to: &str, hours_until: Option<&str>) -> Parts {
        let span = (Some(time(from)), Some(time(to)));
        Parts::of(span, hours_until.map(time))
    }

    fn expect(whole: Option<(&str, &str)>, edges: &[(&str, &str)]) -> Parts {
        Parts {
            whole: whole.map(|(from, to)| (Some(time(from)), Some(time(to)))),
            edges: edges
                .iter()
                .map(|(from, to)| (time(from), time(to)))
                .collect(),
        }
    }

    #[test]
    fn bounds_of_quarters_are_answered_by_rollups_alone() {
        let expected = expect(Some(("00:30:00", "02:15:00")), &[]);
        assert_eq!(parts("00:30:00", "02:15:00", None), expected);
        assert_eq!(Parts::of((None, None), None).whole, Some((None, None)));
    }

    #[test]
    fn bounds_between_quarters_come_from_records() {
        let expected = expect(
            Some(("00:45:00", "02:15:00")),
            &[("00:30:01", "00:45:00"), ("02:15:00", "02:20:00")],
        );
        assert_eq!(parts("00:30:01", "02:20:00", None), expected);
        let within = expect(None, &[("00:01:00", "00:02:00")]);
        assert_eq!(parts("00:01:00", "00:02:00", None), within);
        let around = expect(None, &[("00:14:00", "00:15:00"), ("00:15:00", "00:16:00")]);
        assert_eq!(parts("00:14:00", "00:16:00", None), around);
        assert_eq!(parts("00:02:00", "00:01:00", None), Parts::default());
    }

    #[test]
    fn before_the_quarters_began_bounds_within_an_hour_come_from_records() {
        let expected = expect(Some(("01:00:00", "04:15:00")), &[("00:30:00", "01:00:00")]);
        assert_eq!(parts("00:30:00", "04:15:00", Some("03:00:00")), expected);
        let expected = expect(Some(("01:00:00", "02:00:00")), &[("02:00:00", "02:15:00")]);
        assert_eq!(parts("01:00:00", "02:15:00", Some("03:00:00")), expected);
    }

    #[test]
    fn an_open_end_has_no_edge() {
        let parts = Parts::of((Some(time("00:01:00")), None), None);
        assert_eq!(parts.whole, Some((Some(time("00:15:00")), None)));
        assert_eq!(parts.edges, [(time("00:01:00"), time("00:15:00"))]);
    }
}
