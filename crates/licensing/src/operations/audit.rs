//! Writing and reading the audit log.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use model::{AccountName, Actor, AuditEntry, CredentialId, Timestamp};
use parking_lot::Mutex;
use store::{AuditFilter, NumberedEntry};

use crate::error::Error;
use crate::licensing::Licensing;

/// Lines that are kept in memory while the store is away; further ones are logged and lost.
const WAITING: usize = 10_000;
/// Lines that are written together.
const BATCH_SIZE: usize = 1_000;
/// Things that are told apart within a minute.
const MAX_DISTINCT: usize = 1_000;
const MINUTE: i64 = 60_000_000;

/// What is still to be written.
#[derive(Default)]
pub(crate) struct AuditQueue {
    waiting: Mutex<VecDeque<AuditEntry>>,
    folded: Mutex<Coalescer>,
    /// One writer at a time, so that lines keep their order.
    writing: tokio::sync::Mutex<()>,
}

/// What can happen often and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RepeatedEvent {
    /// A log-in was denied.
    Denied,
    /// The key of a credential was shown again.
    KeyShown {
        /// The credential.
        credential: CredentialId,
        /// Whose it is.
        account: AccountName,
    },
}

/// What happened in a minute: the first time of a thing by somebody at an address is a line at once, the others become one
/// line at the minute's end.
#[derive(Default)]
struct Coalescer {
    minute: i64,
    counts: HashMap<(Actor, RepeatedEvent), u32>,
}

impl AuditQueue {
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
    /// What is to be told now: what the minute before left, and this if it is the first time in its minute.
    fn note(&mut self, actor: Actor, often: RepeatedEvent, now: Timestamp) -> Vec<AuditEntry> {
        let mut told = self.turn(now);
        let first = often.line(&actor, now);
        let mut place = (actor, often);
        let full = self.counts.len() >= MAX_DISTINCT && !self.counts.contains_key(&place);
        if full && place.1 == RepeatedEvent::Denied {
            // The many that have no place of their own are never told one by one.
            place.0 = Actor::unknown(None);
            *self.counts.entry(place).or_default() += 1;
        } else if full {
            told.push(first);
        } else if let Some(more) = self.counts.get_mut(&place) {
            *more = more.saturating_add(1);
        } else {
            self.counts.insert(place, 0);
            told.push(first);
        }
        told
    }

    /// What a minute that is over left to be told.
    fn turn(&mut self, now: Timestamp) -> Vec<AuditEntry> {
        let minute = now.micros().div_euclid(MINUTE);
        if minute == self.minute {
            return Vec::new();
        }
        let at = Timestamp::from_micros(self.minute * MINUTE);
        self.minute = minute;
        let folded = |((actor, often), count): ((Actor, RepeatedEvent), u32)| AuditEntry {
            count,
            ..often.line(&actor, at)
        };
        let past = self.counts.drain().filter(|(_, count)| *count > 0);
        past.map(folded).collect()
    }
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
        if !self.note_often(actor, RepeatedEvent::Denied) {
            return;
        }
        let licensing = self.clone();
        self.runtime
            .spawn(async move { licensing.write_audit().await });
    }

    /// Adds what may happen often, folded like denied log-ins, and waits until it is written or the store has failed.
    pub(super) async fn audit_often(&self, actor: Actor, often: RepeatedEvent) {
        if self.note_often(actor, often) {
            self.write_audit().await;
        }
    }

    /// Whether there is something to be written now.
    fn note_often(&self, actor: Actor, often: RepeatedEvent) -> bool {
        let entries = self
            .audit_desk
            .folded
            .lock()
            .note(actor, often, self.clock.now());
        let any = !entries.is_empty();
        self.audit_desk.push(entries);
        any
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
        let limit = limit.clamp(1, BATCH_SIZE);
        Ok(self.store.audit_log()?.audit(filter, after, limit).await?)
    }

    /// Writes what waits. What a failing store may have taken all the same is told by its id and not written twice.
    pub(crate) async fn write_audit(&self) {
        let _writing = self.audit_desk.writing.lock().await;
        let mut together = BATCH_SIZE;
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
        let past = self.audit_desk.folded.lock().turn(now);
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

    fn denied(folded: &mut Coalescer, actor: Actor, second: i64) -> Vec<AuditEntry> {
        folded.note(actor, RepeatedEvent::Denied, at(second))
    }

    #[test]
    fn a_flood_of_denied_log_ins_is_a_line_at_once_and_one_at_the_end_of_the_minute() {
        let mut folded = Coalescer::default();
        let address = Some("192.0.2.1".parse().expect("valid"));
        let guesser = Actor::unknown(address);
        folded.turn(at(60));
        assert_eq!(denied(&mut folded, guesser, 60).len(), 1);
        for _ in 0..9 {
            assert_eq!(denied(&mut folded, guesser, 61), []);
        }
        let known = Actor {
            who: model::Who::Key(model::ManagementKeyId::from_u128(7)),
            address,
        };
        assert_eq!(denied(&mut folded, known, 62).len(), 1);
        let past = folded.turn(at(120));
        assert_eq!(past.len(), 1, "one of them was told already");
        assert_eq!((past[0].count, past[0].address), (9, address));
        assert_eq!(past[0].at, at(60));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_not_one_of_it_uncounted() {
        let mut folded = Coalescer::default();
        folded.turn(at(60));
        let told: usize = (0..3_000_u32)
            .map(|bits| {
                let address = std::net::IpAddr::V4((0x0b00_0000 + bits).into());
                denied(&mut folded, Actor::unknown(Some(address.into())), 60).len()
            })
            .sum();
        assert_eq!(told, MAX_DISTINCT);
        let past = folded.turn(at(120));
        assert_eq!(past.len(), 1);
        assert_eq!((past[0].count, past[0].address), (2_000, None));
    }

    #[test]
    fn keys_that_are_shown_again_are_folded_each_by_itself_and_never_into_nobody() {
        let mut folded = Coalescer::default();
        folded.turn(at(60));
        let shown = |number| RepeatedEvent::KeyShown {
            credential: CredentialId::from_u128(number),
            account: AccountName::default(),
        };
        for number in 0..3_000 {
            let told = folded.note(Actor::OPERATOR, shown(number), at(60));
            assert_eq!(told.len(), 1, "{number}");
        }
        assert_eq!(folded.note(Actor::OPERATOR, shown(0), at(61)), []);
        assert_eq!(folded.note(Actor::OPERATOR, shown(0), at(62)), []);
        let past = folded.turn(at(120));
        assert_eq!(past.len(), 1);
        assert_eq!(
            (past[0].count, past[0].action.as_str()),
            (2, "credential.show")
        );
        assert_eq!(past[0].subject, CredentialId::from_u128(0).to_string());
    }
}
