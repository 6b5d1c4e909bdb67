//! Work that is done once for a name, whoever asks for it, at whichever gate: its answer is made
//! before, and kept with the claim of the name.

use std::time::Duration;

use licensing::{Idempotency, IdempotencyGuard, IdempotentRequest, Unfinished};
use model::{CallId, Timestamp};
use store::ClaimKind;

use super::answer::{Code, Refusal};
use super::context::Context;

/// The time for which the name of work is remembered, with its answer.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The longest time that a request waits for the same work that is under way.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Work that is to be done once.
pub(super) struct Work<'a> {
    /// The name. The parts cannot run into each other.
    pub(super) name: &'a [&'a [u8]],
    /// The content. The same name with another one is a replay.
    pub(super) content: &'a [u8],
    /// The identity of its record.
    pub(super) call_id: CallId,
    /// The answer that is given once it is done, sealed.
    pub(super) prepared: &'a [u8],
    /// Whether its claim must outlast the machine, as its record does.
    pub(super) waits_for_disk: bool,
}

/// The result of the claim of work.
pub(super) enum Claim {
    /// The work is to be done, under this claim.
    Run(IdempotencyGuard),
    /// It was done before.
    Done {
        /// Its answer, sealed.
        answer: Vec<u8>,
        /// The time at which it was claimed.
        claimed_at: Timestamp,
    },
    /// Another gate claimed it and did not end it in the time in which work ends: that gate died, or
    /// hangs. What it recorded stands in its own journal, and is counted when that is read.
    Left {
        /// Its answer, sealed.
        answer: Vec<u8>,
        /// The time at which it was claimed.
        claimed_at: Timestamp,
    },
}

impl Context {
    /// Claims work. Waits for the same work where it is under way, at most five seconds, and no
    /// longer than until it was begun at another gate five seconds ago.
    pub(super) async fn claim(&self, work: &Work<'_>) -> Result<Claim, Refusal> {
        const PAUSE: Duration = Duration::from_millis(25);
        const LONGEST_PAUSE: Duration = Duration::from_millis(200);
        let dead = self.services.api().ledger.earlier_starts();
        let request = IdempotentRequest {
            kind: ClaimKind::Nonce,
            name: work.name,
            content: &[work.content],
            reference: work.call_id.as_u128(),
            prepared: Some(work.prepared),
            waits_for_disk: work.waits_for_disk,
            lifetime: REMEMBERED,
            dead: &dead,
        };
        let begun = tokio::time::Instant::now();
        let mut pause = PAUSE;
        loop {
            match self.services.licensing().once(&request).await? {
                Idempotency::Run(guard) => return Ok(Claim::Run(guard)),
                Idempotency::Replay { answer, claimed_at } => {
                    return Ok(Claim::Done { answer, claimed_at });
                }
                Idempotency::Conflict => return Err(Code::ReplayDetected.into()),
                Idempotency::Elsewhere(Unfinished {
                    prepared: Some(answer),
                    claimed_at,
                }) if begun.elapsed() >= LONGEST_WAIT
                    || self.services.now().since(claimed_at) >= LONGEST_WAIT =>
                {
                    return Ok(Claim::Left { answer, claimed_at });
                }
                _ if begun.elapsed() >= LONGEST_WAIT => return Err(Refusal::unavailable()),
                Idempotency::InProgress | Idempotency::Elsewhere(_) => {
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(2 * pause);
                }
            }
        }
    }

    /// Frees the name of work that had no effect.
    pub(super) async fn release(&self, guard: IdempotencyGuard) {
        if let Err(error) = self.services.licensing().release_once(guard).await {
            tracing::warn!(%error, "a claim stays although nothing was done");
        }
    }
}
