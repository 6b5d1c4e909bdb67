//! Writing and reading the audit log.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use model::{Actor, AuditEntry, Timestamp};
use parking_lot::Mutex;
use store::{AuditFilter, NumberedEntry};

use crate::error::Error;
use crate::licensing::Licensing;

/// Lines that are kept in memory while the store is away; further ones are logged and lost.
const WAITING: usize = 10_000;
/// Lines that are written together.
const TOGETHER: usize = 1_000;
/// Those whose denied log-ins are told apart within a minute.
const DENIED: usize = 1_000;
const MINUTE: i64 = 60_000_000;

/// What is still to be written.
#[derive(Default)]
pub(crate) struct AuditDesk {
    waiting: Mutex<VecDeque<AuditEntry>>,
    denied: Mutex<Denied>,
    /// One writer at a time, so that lines keep their order.
    writing: tokio::sync::Mutex<()>,
}

/// Denied log-ins of a minute: the first of somebody at an address is a line at once, their others become one line at the
/// minute's end.
#[derive(Default)]
struct Denied {
    minute: i64,
    counts: HashMap<Actor, u32>,
}

impl AuditDesk {
    fn push(&self, entries: impl IntoIterator<Item = AuditEntry>) {
        let mut waiting = self.waiting.lock();
        for entry in entries {
            if waiting.len() >= WAITING {
                tracing::error!(action = %entry.action, subject = %entry.subject, who = %entry.who, "a line of the audit log is lost, the store is away for too long");
                continue;
            }
            waiting.push_back(entry);
        }
    }
}

impl Denied {
    /// Whether it is their first in this minute, and what the minute before left to be told.
    fn note(&mut self, actor: Actor, now: Timestamp) -> (bool, Vec<AuditEntry>) {
        let past = self.turn(now);
        let full = self.counts.len() >= DENIED && !self.counts.contains_key(&actor);
        let actor = if full { Actor::unknown(None) } else { actor };
        match self.counts.get_mut(&actor) {
            Some(more) => {
                *more = more.saturating_add(1);
                (false, past)
            }
            None => {
                // The many that have no place of their own are never told one by one.
                self.counts.insert(actor, u32::from(full));
                (!full, past)
            }
        }
    }

    /// What a minute that is over left to be told.
    fn turn(&mut self, now: Timestamp) -> Vec<AuditEntry> {
        let minute = now.micros().div_euclid(MINUTE);
        if minute == self.minute {
            return Vec::new();
        }
        let at = Timestamp::from_micros(self.minute * MINUTE);
        self.minute = minute;
        let folded = |(actor, count): (Actor, u32)| AuditEntry {
            count,
            ..denied(&actor, at)
        };
        let past = self.counts.drain().filter(|(_, count)| *count > 0);
        past.map(folded).collect()
    }
}

fn denied(actor: &Actor, at: Timestamp) -> AuditEntry {
    AuditEntry::new(actor, at, "login.denied", "")
}

impl Licensing {
    /// Adds lines to the audit log. What the store does not take now is written when it is back.
    pub async fn audit(&self, entries: Vec<AuditEntry>) {
        self.audit_desk.push(entries);
        self.write_audit().await;
    }

    /// Adds a denied log-in, without waiting; floods are folded, to a line for who it was, where and in which minute. Of an
    /// [`Actor::unknown`] nobody knows more than the address.
    pub fn audit_denied(self: &Arc<Self>, actor: Actor) {
        let now = self.clock.now();
        let (first, mut entries) = self.audit_desk.denied.lock().note(actor, now);
        if first {
            entries.push(denied(&actor, now));
        }
        if entries.is_empty() {
            return;
        }
        self.audit_desk.push(entries);
        let licensing = self.clone();
        self.runtime
            .spawn(async move { licensing.write_audit().await });
    }

    /// Up to `limit` (1 to 1,000) lines of the audit log, oldest first, beginning after the place `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn audit_log(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error> {
        let limit = limit.clamp(1, TOGETHER);
        Ok(self.store.audit_log()?.audit(filter, after, limit).await?)
    }

    /// Writes what waits. What a failing store may have taken all the same is told by its id and not written twice.
    pub(crate) async fn write_audit(&self) {
        let _writing = self.audit_desk.writing.lock().await;
        let mut together = TOGETHER;
        loop {
            let batch: Vec<AuditEntry> = {
                let waiting = self.audit_desk.waiting.lock();
                waiting.iter().take(together).cloned().collect()
            };
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            let added = match self.store.audit_log() {
                Ok(log) => log.add_audit(batch).await,
                Err(error) => Err(error),
            };
            match added {
                // Some of several were written before: one by one tells which.
                Err(store::Error::Exists(_)) if count > 1 => together = 1,
                Ok(()) | Err(store::Error::Exists(_)) => {
                    self.audit_desk.waiting.lock().drain(..count);
                }
                Err(error) => {
                    tracing::warn!(%error, count, "the audit log cannot be written yet");
                    return;
                }
            }
        }
    }

    /// Tells what the last minute left, and writes what waits.
    pub(crate) async fn tend_audit(&self, now: Timestamp) {
        let past = self.audit_desk.denied.lock().turn(now);
        self.audit_desk.push(past);
        self.write_audit().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_flood_of_denied_log_ins_is_a_line_at_once_and_one_at_the_end_of_the_minute() {
        let mut denied = Denied::default();
        let address = Some("192.0.2.1".parse().expect("valid"));
        let guesser = Actor::unknown(address);
        denied.turn(at(60));
        assert!(denied.note(guesser, at(60)).0);
        for _ in 0..9 {
            assert_eq!(denied.note(guesser, at(61)), (false, Vec::new()));
        }
        let known = Actor {
            who: model::Who::Key(model::ManagementKeyId::from_u128(7)),
            address,
        };
        assert!(denied.note(known, at(62)).0);
        let past = denied.turn(at(120));
        assert_eq!(past.len(), 1, "one of them was told already");
        assert_eq!((past[0].count, past[0].address), (9, address));
        assert_eq!(past[0].at, at(60));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_not_one_of_it_uncounted() {
        let mut denied = Denied::default();
        denied.turn(at(60));
        let told = (0..3_000_u32)
            .filter(|bits| {
                let address = std::net::Ipv4Addr::from(0x0b00_0000 + bits);
                let guesser = Actor::unknown(Some(address.into()));
                denied.note(guesser, at(60)).0
            })
            .count();
        assert_eq!(told, DENIED);
        let past = denied.turn(at(120));
        assert_eq!(past.len(), 1);
        assert_eq!((past[0].count, past[0].address), (2_000, None));
    }
}
