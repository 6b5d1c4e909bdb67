//! The comparison of rollups with the sums of the records.

use std::collections::HashMap;

use model::Timestamp;
use model::usage::{UsageKey, UsageSums};

use super::Check;
use crate::context::LedgerContext;
use crate::error::Error;
use crate::report::{Fault, Problem};

impl Check {
    pub(super) fn rollups(
        &mut self,
        context: &LedgerContext,
        rollups: HashMap<UsageKey, UsageSums>,
        hours_until: Option<Timestamp>,
    ) {
        let stored = &by_hour(rollups, hours_until);
        let stored_calls: u64 = stored.values().map(|sums| sums.calls).sum();
        let counted = self.sums.calls() + self.trusted + self.unsealed;
        let (short, over) = if self.trusted == 0 && !self.lives_elsewhere {
            self.by_key(context, stored, hours_until)
        } else {
            (
                counted.saturating_sub(stored_calls),
                stored_calls.saturating_sub(counted),
            )
        };
        // Rollups may rightly have more where a record is gone or cannot be trusted.
        let over = match self.lives_elsewhere {
            true => 0,
            false => over.saturating_sub(self.gone + self.changed),
        };
        if short > 0 || over > 0 {
            let what = format!("rollups lack {short} calls of the records and have {over} more");
            self.note(Problem::new(Fault::RollupsDiffer, what));
        }
        self.report.lost += short;
        self.report.duplicated += over;
        self.report.stored = stored_calls.saturating_sub(over);
        if self.lives_elsewhere {
            let balance = self.report.stored + self.report.pending + self.report.lost;
            self.report.accepted = self.report.accepted.max(balance);
        }
    }

    /// Returns the calls that rollups lack, and the calls that they have too many, summed up over
    /// all keys.
    fn by_key(
        &mut self,
        context: &LedgerContext,
        stored: &HashMap<UsageKey, UsageSums>,
        hours_until: Option<Timestamp>,
    ) -> (u64, u64) {
        let (mut short, mut over) = (0, 0);
        let mut seen = 0;
        for (key, counted) in by_hour(self.sums.rows(&context.names), hours_until) {
            let known = stored.get(&key).copied().unwrap_or_default();
            seen += known.calls;
            short += counted.calls.saturating_sub(known.calls);
            over += known.calls.saturating_sub(counted.calls);
            if known.calls == counted.calls && known != counted {
                let what = format!(
                    "the rollup of {} {} {} at {} has other sums than its {} calls",
                    key.app, key.route, key.status, key.start, counted.calls
                );
                self.note(Problem::new(Fault::RollupsDiffer, what));
            }
        }
        let all: u64 = stored.values().map(|sums| sums.calls).sum();
        (short, over + all.saturating_sub(seen))
    }
}

/// Returns the rows. Those of quarters are summed up by the hour as long as there may be rows of
/// version 1 beside them.
fn by_hour(
    rows: impl IntoIterator<Item = (UsageKey, UsageSums)>,
    hours_until: Option<Timestamp>,
) -> HashMap<UsageKey, UsageSums> {
    let mut all: HashMap<UsageKey, UsageSums> = HashMap::new();
    for (mut key, sums) in rows {
        if hours_until.is_some_and(|until| key.start < until) {
            key.start = key.start.hour();
        }
        all.entry(key).or_default().add(&sums);
    }
    all
}

/// Returns all rollup rows; rows of one key are added up.
pub(crate) fn stored_rollups(
    context: &LedgerContext,
) -> Result<HashMap<UsageKey, UsageSums>, Error> {
    const PAGE: usize = 10_000;
    let mut all: HashMap<UsageKey, UsageSums> = HashMap::new();
    let mut after = None;
    loop {
        let (rows, next) = context
            .store
            .ask(|store| async move { store.rollups(after, PAGE).await })?;
        for row in rows {
            all.entry(row.key).or_default().add(&row.sums);
        }
        after = next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
