//! The queue of lines of the audit log that the store does not have yet.

use std::collections::{HashMap, VecDeque};

use model::{AccountName, Actor, AuditEntry, CredentialId, Timestamp};
use parking_lot::Mutex;
use store::Store;

/// The number of lines that are kept in memory while the store is away. Further ones are lost, with
/// an error in the log.
const MAX_WAITING: usize = 10_000;
/// The number of lines that are written or read together.
pub(super) const BATCH_SIZE: usize = 1_000;
/// The number of different events, by actor and address, that are counted apart within a minute.
const MAX_DISTINCT: usize = 1_000;
/// The microseconds of a minute.
const MINUTE: i64 = 60_000_000;

/// The lines of the audit log that are still to be written.
#[derive(Default)]
pub(super) struct AuditQueue {
    waiting: Mutex<VecDeque<AuditEntry>>,
    coalescer: Mutex<Coalescer>,
    /// The turn to write. There is one writer at a time, so that lines keep their order.
    writing: tokio::sync::Mutex<()>,
}

/// An event that can happen often and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RepeatedEvent {
    /// A log-in was denied.
    Denied,
    /// The key of a credential was shown again.
    KeyShown {
        /// The credential.
        credential: CredentialId,
        /// The account that the credential belongs to.
        account: AccountName,
    },
}

/// The events of a minute. The first time of an event by an actor at an address is a line at once;
/// the others become one line with their number at the end of the minute.
#[derive(Default)]
struct Coalescer {
    minute: i64,
    counts: HashMap<(Actor, RepeatedEvent), u32>,
}

impl AuditQueue {
    pub(super) fn push(&self, entries: impl IntoIterator<Item = AuditEntry>) {
        let mut waiting = self.waiting.lock();
        for entry in entries {
            if waiting.len() >= MAX_WAITING {
                tracing::error!(action = %entry.action, subject = %entry.subject, who = %entry.who, "a line of the audit log is lost, the store is away for too long");
                continue;
            }
            waiting.push_back(entry);
        }
    }

    /// Adds what happened just now, or counts it if the same happened in this minute already.
    /// Returns whether there is something to be written now.
    pub(super) fn note(&self, actor: Actor, event: RepeatedEvent, now: Timestamp) -> bool {
        let entries = self.coalescer.lock().note(actor, event, now);
        let any = !entries.is_empty();
        self.push(entries);
        any
    }

    /// Adds the lines of minutes that are over at `now`.
    pub(super) fn end_minute(&self, now: Timestamp) {
        let past = self.coalescer.lock().turn(now);
        self.push(past);
    }

    /// Writes all lines to the store, oldest first. If the store fails, the rest stays in the
    /// queue. A line that a failing store took all the same is recognised by its id and not written
    /// twice.
    pub(super) async fn write(&self, store: &dyn Store) {
        let _writing = self.writing.lock().await;
        let mut together = BATCH_SIZE;
        loop {
            let batch: Vec<AuditEntry> = {
                let waiting = self.waiting.lock();
                waiting.iter().take(together).cloned().collect()
            };
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            let added = match store.audit_log() {
                Ok(log) => log.add_audit(batch).await,
                Err(error) => Err(error),
            };
            match added {
                // Some of several were written before: one by one tells which.
                Err(store::Error::Exists(_)) if count > 1 => together = 1,
                Ok(()) | Err(store::Error::Exists(_)) => {
                    self.waiting.lock().drain(..count);
                }
                Err(error) => {
                    tracing::warn!(%error, count, "the audit log cannot be written yet");
                    return;
                }
            }
        }
    }
}

impl RepeatedEvent {
    fn line(&self, actor: &Actor, at: Timestamp) -> AuditEntry {
        match self {
            Self::Denied => AuditEntry::new(actor, at, "login.denied", ""),
            Self::KeyShown {
                credential,
                account,
            } => AuditEntry::new(actor, at, "credential.show", credential).of(account),
        }
    }
}

impl Coalescer {
    /// Counts an event. Returns the lines to be written now: those of the minute before, if it is
    /// over, and the event itself if it is the first of its kind in this minute.
    fn note(&mut self, actor: Actor, event: RepeatedEvent, now: Timestamp) -> Vec<AuditEntry> {
        let mut lines = self.turn(now);
        let first = event.line(&actor, now);
        let mut key = (actor, event);
        let full = self.counts.len() >= MAX_DISTINCT && !self.counts.contains_key(&key);
        if full && key.1 == RepeatedEvent::Denied {
            // Events without a place of their own never get a line each.
            key.0 = Actor::unknown(None);
            *self.counts.entry(key).or_default() += 1;
        } else if full {
            lines.push(first);
        } else if let Some(more) = self.counts.get_mut(&key) {
            *more = more.saturating_add(1);
        } else {
            self.counts.insert(key, 0);
            lines.push(first);
        }
        lines
    }

    /// Returns the lines of the minute before, if it is over at `now`.
    fn turn(&mut self, now: Timestamp) -> Vec<AuditEntry> {
        let minute = now.micros().div_euclid(MINUTE);
        if minute == self.minute {
            return Vec::new();
        }
        let at = Timestamp::from_micros(self.minute * MINUTE);
        self.minute = minute;
        let line = |((actor, event), count): ((Actor, RepeatedEvent), u32)| AuditEntry {
            count,
            ..event.line(&actor, at)
        };
        let past = self.counts.drain().filter(|(_, count)| *count > 0);
        past.map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn denied(coalescer: &mut Coalescer, actor: Actor, second: i64) -> Vec<AuditEntry> {
        coalescer.note(actor, RepeatedEvent::Denied, at(second))
    }

    #[test]
    fn a_flood_of_denied_log_ins_is_a_line_at_once_and_one_at_the_end_of_the_minute() {
        let mut coalescer = Coalescer::default();
        let address = Some("192.0.2.1".parse().expect("valid"));
        let guesser = Actor::unknown(address);
        coalescer.turn(at(60));
        assert_eq!(denied(&mut coalescer, guesser, 60).len(), 1);
        for _ in 0..9 {
            assert_eq!(denied(&mut coalescer, guesser, 61), []);
        }
        let known = Actor {
            who: model::Who::Key(model::ManagementKeyId::from_u128(7)),
            address,
        };
        assert_eq!(denied(&mut coalescer, known, 62).len(), 1);
        let past = coalescer.turn(at(120));
        assert_eq!(past.len(), 1, "one of them is a line already");
        assert_eq!((past[0].count, past[0].address), (9, address));
        assert_eq!(past[0].at, at(60));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_not_one_of_it_uncounted() {
        let mut coalescer = Coalescer::default();
        coalescer.turn(at(60));
        let lines: usize = (0..3_000_u32)
            .map(|bits| {
                let address = std::net::IpAddr::V4((0x0b00_0000 + bits).into());
                denied(&mut coalescer, Actor::unknown(Some(address.into())), 60).len()
            })
            .sum();
        assert_eq!(lines, MAX_DISTINCT);
        let past = coalescer.turn(at(120));
        assert_eq!(past.len(), 1);
        assert_eq!((past[0].count, past[0].address), (2_000, None));
    }

    #[test]
    fn keys_that_are_shown_again_are_folded_each_by_itself_and_never_into_nobody() {
        let mut coalescer = Coalescer::default();
        coalescer.turn(at(60));
        let shown = |number| RepeatedEvent::KeyShown {
            credential: CredentialId::from_u128(number),
            account: AccountName::default(),
        };
        for number in 0..3_000 {
            let lines = coalescer.note(Actor::OPERATOR, shown(number), at(60));
            assert_eq!(lines.len(), 1, "{number}");
        }
        assert_eq!(coalescer.note(Actor::OPERATOR, shown(0), at(61)), []);
        assert_eq!(coalescer.note(Actor::OPERATOR, shown(0), at(62)), []);
        let past = coalescer.turn(at(120));
        assert_eq!(past.len(), 1);
        assert_eq!(
            (past[0].count, past[0].action.as_str()),
            (2, "credential.show")
        );
        assert_eq!(past[0].subject, CredentialId::from_u128(0).to_string());
    }
}
