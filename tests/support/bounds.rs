//! Bounds on how long a change takes to reach every gate.

use std::time::{Duration, Instant};

use testkit::client::Connection;
use testkit::{Gateway, Request, assert_eventually};

use crate::support::fleet::Fleet;

/// The status of a call; `None` where the gate cut it, as it does when the news come while it is under way.
pub(crate) fn status(gate: &Gateway, request: &Request) -> Option<u16> {
    let mut connection = Connection::open(gate.addr()).expect("the gate listens");
    let answer = connection.call(request);
    answer.ok().map(|response| response.status)
}

/// How long a change may take to reach the other gates while Redis carries the news.
pub(crate) const PUSHED: Duration = Duration::from_millis(100);
/// How long it may take where the news are lost.
pub(crate) const READ: Duration = Duration::from_secs(2);

/// Makes changes by `change`, each followed by a check, until one has reached all gates within `bound`.
///
/// What a check of all gates takes on a busy machine is not held against it, and a machine that stands still for a while proves
/// nothing: one of some tries is enough.
pub(crate) fn one_within<T>(
    bound: Duration,
    prepare: impl Fn() -> T,
    change: impl Fn(&T),
    reached: impl Fn(&T) -> bool,
) {
    const TRIES: usize = 12;
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let subject = prepare();
        change(&subject);
        let begun = Instant::now();
        assert_eventually!(reached(&subject));
        let seen = begun.elapsed();
        assert!(reached(&subject), "it stays so");
        let check = begun.elapsed() - seen;
        took.push(seen.saturating_sub(check));
        if seen.saturating_sub(check) <= bound {
            return;
        }
    }
    panic!("never within {bound:?}: {took:?}");
}

/// With Redis, without its messages, and without Redis at all.
pub(crate) fn each_way(fleet: &Fleet, check: impl Fn(Duration)) {
    check(PUSHED);
    let without_push = ["ACL", "SETUSER", "default", "-publish"];
    assert_eq!(fleet.redis.ask(&without_push), "OK");
    check(READ);
    assert!(fleet.redis_is(true));
    fleet.redis.kill();
    assert_eventually!(fleet.redis_is(false));
    check(READ);
}
