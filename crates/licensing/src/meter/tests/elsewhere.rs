//! The units that other gates of the fleet hold.

use super::*;

fn in_a_fleet() -> LeaseOptions {
    LeaseOptions {
        alone: false,
        ..options()
    }
}

#[test]
fn a_quota_that_others_hold_is_not_used_up_and_is_asked_for_every_second() {
    let limits = Arc::new(limits(true, &[], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
    store.elsewhere = 2;
    let mut asked = 0;
    for step in 0..100 {
        let ask = ask(2, START + step * SECOND / 10);
        let result = meter.reserve(&limits, Stamp::default(), &ask).0;
        if result == Err(ReserveError::NeedLease) {
            meter.join(&ask);
            serve(&meter, &mut store, ask.now.micros(), &options());
            asked += 1;
            continue;
        }
        let Err(ReserveError::Refused(refused)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(
            (refused.refusal, refused.retry_after),
            (Refusal::QuotaUnavailable, Some(1))
        );
        assert!(refused.held_elsewhere);
        assert!(!meter.is_exhausted(ask.now));
    }
    assert_eq!(asked, 10, "ten seconds, believed for one");
}

#[test]
fn a_quota_is_used_up_where_even_all_that_others_hold_would_not_do() {
    let limits = Arc::new(limits(true, &[], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(1, None));
    store.elsewhere = 2;
    let refusal = |units, second: i64, store: &mut Store| {
        let ask = ask(units, START + second * SECOND);
        acquire(&meter, &limits, store, &ask).unwrap_err().refusal
    };
    assert_eq!(refusal(4, 0, &mut store), Refusal::QuotaExhausted);
    assert_eq!(refusal(3, 0, &mut store), Refusal::QuotaUnavailable);
    // They spent it.
    store.elsewhere = 0;
    assert_eq!(refusal(3, 2, &mut store), Refusal::QuotaExhausted);
}

#[test]
fn the_last_units_of_a_balance_go_back_to_a_fleet_sooner() {
    let limits = Arc::new(limits(true, &[], None));
    let after = |seconds: i64| Timestamp::from_micros(START + seconds * SECOND);
    for (units, kept) in [(3, 2), (4, 30)] {
        let (meter, mut store) = (Meter::new(LICENSE), Store::new(units, None));
        let taken = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap();
        meter.settle(taken, 1);
        assert!(!meter.retire_idle(after(kept - 1), &in_a_fleet()));
        if kept < 30 {
            assert!(!meter.retire_idle(after(kept), &options()), "alone");
        }
        assert!(meter.retire_idle(after(kept), &in_a_fleet()), "{units}");
    }
}
