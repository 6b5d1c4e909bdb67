//! The loop that delivers: one gate at a time runs it for all gates of a store.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use model::Moment;
use store::{Delivery, WebhookFilter};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::board::{Board, Flight};
use crate::error::Error;
use crate::webhooks::{Holder, Webhooks};

/// The name of the lease that the gate which delivers holds.
const LEASE: &str = "webhooks";
/// The time that a try may take beyond that of the client: the body of an answer, and its result.
const TRY_MARGIN: Duration = Duration::from_millis(1_500);
/// The time after a renewal of the lease in which tries may begin. The lease outlasts them, so that
/// another gate begins when none of this one is under way.
const BEGIN_WITHIN: Duration = Duration::from_secs(3);
/// The same for the only gate of a store, which spares its disk a write each second.
const ALONE_WITHIN: Duration = Duration::from_secs(600);
/// The time between two renewals of the lease.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two looks for news.
const WAKE_PAUSE: Duration = Duration::from_millis(20);
/// The events of which deliveries are made at once.
const EVENTS_AT_ONCE: usize = 500;
/// The time between two looks at how much waits.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// The time between two looks for licenses that end, of which their receivers know within seconds.
const ENDS_EVERY: Duration = Duration::from_secs(1);
/// The time between two sweeps of old events.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);
/// The objects of one sweep or look.
const UPKEEP_AT_ONCE: usize = 1_000;
/// The time that tries under way have to end at a stop. Those that do not are made again.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A gate's turn at delivering.
struct Shift {
    webhooks: Arc<Webhooks>,
    /// The end of the lease; `None`: it is not held.
    held_until: Option<Moment>,
    renew_at: Moment,
    count_at: Moment,
    ends_at: Moment,
    upkeep_at: Moment,
    /// Whether more events wait for their deliveries to be made.
    more_events: bool,
    /// Whether the last question for due deliveries found some.
    more_due: bool,
}

impl Webhooks {
    /// Delivers until the gate stops: makes deliveries of events and tries them, as long as this
    /// gate holds the lease. Costs a read of the store each second where there is no webhook.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut shift = Shift::new(self.clone());
        let mut wake_after = Instant::now();
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                // An error says that nobody is left who could stop it.
                _ = stopped.wait_for(|stop| *stop) => break,
                _ = seconds.tick() => true,
                () = self.woken_after(wake_after) => {
                    wake_after = Instant::now() + WAKE_PAUSE;
                    true
                }
                () = self.ended.notified() => false,
            };
            if let Err(error) = shift.turn(is_asked).await {
                tracing::debug!(%error, "webhooks wait for the store");
                shift.more_events = false;
                shift.more_due = false;
            }
        }
        shift.stop().await;
    }

    /// Waits for news, but not before a moment: many changes at once are one piece of news.
    async fn woken_after(&self, earliest: Instant) {
        sleep_until(earliest).await;
        self.woken.notified().await;
    }

    /// Tries deliveries one after the other, as long as there is one that may begin.
    async fn work(self: Arc<Self>, mut flight: Flight) {
        loop {
            let trying = AssertUnwindSafe(self.try_delivery(&flight.delivery)).catch_unwind();
            let tried = trying.await.unwrap_or_else(|_| {
                tracing::error!("a delivery panicked");
                Ok(Some(self.broken(&flight.delivery)))
            });
            let now = self.clock.since_boot();
            let next = {
                let mut board = self.board.lock();
                match tried {
                    Ok(Some(result)) => board.finish(flight, result, now),
                    // It is still due, and is asked for again within a second.
                    Ok(None) => board.abandon(&flight),
                    Err(error) => {
                        board.abandon(&flight);
                        self.untried(&flight.delivery, &error);
                    }
                }
                board.take(now)
            };
            self.ended.notify_one();
            match next {
                Some(other) => flight = other,
                None => return,
            }
        }
    }
}

impl Webhooks {
    /// Says why a delivery could not be tried, once a minute for all of them.
    fn untried(&self, delivery: &Delivery, error: &Error) {
        if self.untried_log.passes(self.clock.now()) {
            tracing::warn!(%error, webhook = %delivery.webhook_id, event = %delivery.event.id, "an event waits, since what is needed to send it cannot be read");
        }
    }
}

impl Shift {
    fn new(webhooks: Arc<Webhooks>) -> Self {
        let now = webhooks.clock.since_boot();
        Self {
            webhooks,
            held_until: None,
            renew_at: now,
            count_at: now,
            ends_at: now,
            upkeep_at: now,
            more_events: false,
            more_due: false,
        }
    }

    /// Does what there is to do now, in one round. `is_asked`: there may be something new.
    async fn turn(&mut self, is_asked: bool) -> Result<(), Error> {
        let noted = self.note().await?;
        if is_asked {
            self.hold().await?;
        }
        if self.held_until.is_none() {
            return Ok(());
        }
        let made = is_asked || self.more_events;
        if made {
            let now = self.webhooks.clock.now();
            let taken = self.webhooks.kept()?.fan_out(EVENTS_AT_ONCE, now).await?;
            self.more_events = taken == EVENTS_AT_ONCE;
        }
        if made || noted || self.more_due {
            self.fetch().await?;
        }
        self.start();
        if is_asked {
            self.look_after().await?;
        }
        let room = self.webhooks.board.lock().has_room();
        if self.more_events || self.more_due && room {
            self.webhooks.ended.notify_one();
        }
        Ok(())
    }

    /// Writes down the results of tries. Returns whether there were any.
    async fn note(&mut self) -> Result<bool, Error> {
        let results = self.webhooks.board.lock().results();
        if results.is_empty() {
            return Ok(false);
        }
        let noted = self.webhooks.kept()?.note_attempts(results.clone()).await;
        let failed = if noted.is_ok() { Vec::new() } else { results };
        self.webhooks.board.lock().noted(failed);
        noted?;
        Ok(true)
    }

    /// Takes, renews or gives back the lease. A try that begins while it is held ends before it
    /// does.
    async fn hold(&mut self) -> Result<(), Error> {
        let now = self.webhooks.clock.since_boot();
        if self.held_until.is_some_and(|until| until <= now) {
            self.set_held(None);
        }
        if self.held_until.is_some() && now < self.renew_at {
            return Ok(());
        }
        let kept = self.webhooks.kept()?;
        let any = kept.webhooks(WebhookFilter::default(), None, 1).await?;
        // Where there is no webhook, what was written for one that is gone is swept all the same.
        if any.is_empty() && now < self.upkeep_at {
            if self.held_until.is_some() {
                kept.end_lease(LEASE, self.webhooks.holder.instance())
                    .await?;
            }
            self.set_held(None);
            return Ok(());
        }
        let (begin_within, renew_every) = match self.webhooks.holder {
            Holder::Alone => (ALONE_WITHIN, ALONE_WITHIN / 4),
            Holder::OneOf(_) => (BEGIN_WITHIN, RENEW_EVERY),
        };
        let lasts = self.longest_try() + begin_within;
        let held = kept.hold_lease(LEASE, self.webhooks.holder.instance(), lasts);
        let held = held.await?;
        self.renew_at = now.plus(renew_every);
        self.set_held(held.then(|| now.plus(lasts)));
        Ok(())
    }

    fn set_held(&mut self, until: Option<Moment>) {
        let longest = u64::try_from(self.longest_try().as_micros()).unwrap_or(u64::MAX);
        let begins = until.map(|until| Moment(until.0.saturating_sub(longest)));
        self.webhooks.board.lock().open(begins);
        if until.is_none() {
            self.webhooks.counts.waiting(store::Waiting::default());
        }
        self.held_until = until;
    }

    fn longest_try(&self) -> Duration {
        self.webhooks.client.options().timeout + TRY_MARGIN
    }

    /// Asks for deliveries that are due, if there is room for them.
    async fn fetch(&mut self) -> Result<(), Error> {
        let (now, moment) = (self.webhooks.clock.now(), self.webhooks.clock.since_boot());
        let busy = {
            let board = self.webhooks.board.lock();
            board.has_room().then(|| board.busy(moment))
        };
        let Some(busy) = busy else { return Ok(()) };
        let (limit, each) = (Board::MAX_QUEUED, Board::MAX_QUEUED_EACH);
        let due = self.webhooks.kept()?.due_deliveries(now, limit, each, busy);
        let due = due.await?;
        self.more_due = !due.is_empty();
        self.webhooks.board.lock().add(due, moment);
        Ok(())
    }

    /// Starts as many tries as may begin.
    fn start(&self) {
        let now = self.webhooks.clock.since_boot();
        loop {
            let taken = self.webhooks.board.lock().take(now);
            let Some(flight) = taken else { return };
            tokio::spawn(self.webhooks.clone().work(flight));
        }
    }

    /// Does what is to be done once in a while.
    async fn look_after(&mut self) -> Result<(), Error> {
        let (now, moment) = (self.webhooks.clock.now(), self.webhooks.clock.since_boot());
        let kept = self.webhooks.kept()?;
        if moment >= self.count_at {
            self.webhooks.counts.waiting(kept.waiting().await?);
            self.count_at = moment.plus(COUNT_EVERY);
        }
        if moment >= self.ends_at {
            // What is left is looked at with the next second.
            self.more_events |= kept.note_expiring(now, UPKEEP_AT_ONCE).await? > 0;
            self.ends_at = moment.plus(ENDS_EVERY);
        }
        if moment >= self.upkeep_at {
            let keep = i64::try_from(self.webhooks.options.keep.as_micros()).unwrap_or(i64::MAX);
            let swept = kept.sweep_events(now.plus_micros(-keep), UPKEEP_AT_ONCE);
            if swept.await? < UPKEEP_AT_ONCE {
                self.upkeep_at = moment.plus(UPKEEP_EVERY);
            }
        }
        Ok(())
    }

    /// Lets tries under way end, writes their results down, and gives the lease back.
    async fn stop(mut self) {
        self.webhooks.board.lock().open(None);
        let ending = async {
            while self.webhooks.board.lock().under_way() > 0 {
                self.webhooks.ended.notified().await;
            }
        };
        let _ = timeout(STOP_GRACE, ending).await;
        let noted = self.note().await;
        let given_back = match (self.held_until, self.webhooks.kept()) {
            (Some(_), Ok(kept)) => kept.end_lease(LEASE, self.webhooks.holder.instance()).await,
            _ => Ok(()),
        };
        if let Err(error) = noted.and(given_back.map_err(Error::from)) {
            tracing::warn!(%error, "what was delivered last could not be written down, so that it is delivered again");
        }
    }
}
