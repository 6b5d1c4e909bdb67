//! What happens once happens once though three gates are asked at the same time, and what one gate ends ends on all.

use crate::support::apimw;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use crate::support::fleet::{Fleet, status};
use serde_json::{Value, json};
use testkit::eventually::test_timeout;
use testkit::{Apifew, Gateway, License, Load, Request, apifew, assert_eventually, client};

/// Asks all gates at the same time, twenty times each.
fn at_once<T: Send>(fleet: &Fleet, ask: impl Fn(&Gateway) -> T + Sync) -> Vec<T> {
    const EACH: usize = 20;
    let barrier = Barrier::new(EACH * fleet.gates.len());
    std::thread::scope(|scope| {
        let one = |gate| {
            let (barrier, ask) = (&barrier, &ask);
            scope.spawn(move || {
                barrier.wait();
                ask(gate)
            })
        };
        let gates = fleet.gates.iter().flat_map(|gate| [gate; EACH]);
        let threads: Vec<_> = gates.map(one).collect();
        let answers = threads.into_iter().map(|thread| thread.join());
        answers.map(|answer| answer.expect("no panic")).collect()
    })
}

fn won(answers: &[u16]) -> usize {
    answers.iter().filter(|status| **status == 200).count()
}

fn request_token(gate: &Gateway, license: &License) -> String {
    let body = json!({"USER_LICENSE_KEY": license.key, "API_URL": "/once", "API_METHOD": "GET"});
    let request = Request::post("/v1/token", body.to_string().as_bytes());
    let response = apifew::send(gate, request);
    assert_eq!(response.status, 200, "{}", response.text());
    let token = &apifew::result(&response)["data"]["token"];
    token.as_str().expect("a token").to_owned()
}

#[test]
fn request_tokens_refresh_tokens_stamps_and_idempotency_keys_are_won_once_over_all_gates() {
    let mut fleet = Fleet::start(3);
    let license = fleet.license(&[]);
    let before = fleet.upstream.served_count();
    let token = request_token(&fleet.gates[0], &license);
    let answers = at_once(&fleet, |gate| {
        let request = Request::get("/once").header("Apifew-Request-Token", &token);
        gate.call(&request).status
    });
    assert_eq!(won(&answers), 1, "{answers:?}");
    assert_eq!(fleet.upstream.served_count() - before, 1);

    let pair = apimw::Pair::create(&fleet.gates[0], &[]);
    let logged_in = pair.log_in(&fleet.gates[0]);
    let answers = at_once(&fleet, |gate| logged_in.refresh(gate).status);
    assert_eq!(won(&answers), 1, "{answers:?}");

    let secret = Apifew::of_app(&fleet.gates[0], "api").key;
    let stamp = json!({
        "USER_LICENSE_KEY": license.key, "ID": "order-1",
        "API_URL": "/stamped", "API_METHOD": "GET", "REQUEST_STATUS_CODE": 200,
    });
    let answers = at_once(&fleet, |gate| {
        let answer = Apifew::with_secret(gate, &secret).ask("/v1/stamp", &stamp);
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
        (answer.status == 200).then(|| apifew::result(&answer)["data"].clone())
    });
    let mut stamps: Vec<Value> = answers.into_iter().flatten().collect();
    stamps.dedup();
    assert_eq!(stamps.len(), 1, "{stamps:?}");

    let manager = fleet.gates[0].cli().json(&["key", "create"]);
    let manager = format!("Bearer {}", manager["key"].as_str().expect("a key"));
    let body = json!({"app": "api", "label": "made once"}).to_string();
    let answers = at_once(&fleet, |gate| {
        let request = Request::post("/api/v1/licenses", body.as_bytes())
            .header("Authorization", &manager)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", "order-1");
        let answer = client::call(gate.control_addr(), &request);
        assert!(matches!(answer.status, 201 | 409), "{}", answer.text());
        (answer.status == 201).then(|| answer.json()["id"].clone())
    });
    let mut ids: Vec<Value> = answers.into_iter().flatten().collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");

    // A record each of the token's use and of the stamp, beside the first calls.
    for gate in &mut fleet.gates[1..] {
        assert!(gate.stop().success());
    }
    let recorded = |mode: &str| {
        let calls = fleet.gates[0].calls(&[]);
        let charged = |call: &&Value| call["mode"] == mode && call["billable"] == true;
        calls.iter().filter(charged).count()
    };
    assert_eventually!((recorded("token"), recorded("stamp")) == (1, 1));
    assert_eq!(fleet.gates[0].verify()["clean"], true);
}

#[test]
fn a_stream_through_one_gate_is_cut_when_another_revokes_its_license() {
    let fleet = Fleet::start(2);
    let licenses: Vec<_> = (0..40).map(|_| fleet.license(&[])).collect();
    let mut streams = Vec::new();
    for license in &licenses {
        let mut stream = fleet.gates[1].connect();
        let request = Request::get("/stream/1000000/10/20").key(&license.key);
        stream.send(&request.bytes()).expect("taken");
        assert_eq!(stream.read_head().expect("a head").status(), Some(200));
        streams.push(stream);
    }
    let revoked = Instant::now();
    for license in &licenses {
        let gate = &fleet.gates[0];
        let _revoked = gate.cli().json(&["license", "revoke", &license.id]);
    }
    for stream in streams {
        stream.set_read_timeout(test_timeout());
        let _rest = stream.read_to_end();
    }
    let took = revoked.elapsed();
    // Each ends by itself only after hours.
    assert!(took < test_timeout(), "{took:?}");
    let cut = || {
        let calls = fleet.gates[1].calls(&[]);
        let whole = |call: &&Value| call["outcome"] == "delivered" || call["status"] != 200;
        calls.len() - calls.iter().filter(whole).count()
    };
    assert_eventually!(cut() == licenses.len());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("it can be copied");
        }
    }
}

#[test]
fn what_a_gate_that_is_gone_left_is_shipped_by_another_and_its_units_come_back() {
    const UNITS: u64 = 2_000;
    let mut fleet = Fleet::start(3);
    let license = fleet.license(&["--remaining", "2000"]);
    let key = license.key.clone();
    let request = move |_, _| Request::get("/delay/10").key(&key);
    // Twice, so that the directory holds what two of its starts left.
    let mut seen = Vec::new();
    for last in [false, true] {
        let load = Load::new(fleet.gates[2].addr(), 8, request.clone()).start();
        assert_eventually!(load.answered() > 100);
        fleet.gates[2].kill9();
        if !last {
            fleet.gates[2].restart();
        }
        seen.extend(load.stop());
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let journal = folder.path().join("journal");
    copy(&fleet.gates[2].data_dir().join("journal"), &journal);
    let left = |gate: &Gateway| {
        let shown = gate.cli().json(&["license", "show", &license.id]);
        shown["balance"].clone()
    };
    let (first, path) = (&fleet.gates[0], journal.to_string_lossy().into_owned());
    let before = left(first);
    for anew in [true, false] {
        let shipped = first.cli().json(&["ledger", "ship", &path]);
        assert_eq!(shipped["anew"], anew, "{shipped}");
    }
    let after = left(first);
    assert!(
        after["remaining"].as_u64() > before["remaining"].as_u64(),
        "{before} {after}"
    );
    // All that is left can be used: what the gone one had leased is free.
    let load = Load::new(first.addr(), 8, request).start();
    // Both are asked, so that each uses what it was lent before the other is told that nothing is left.
    let both = || [first, &fleet.gates[1]].map(|gate| status(gate, &license));
    assert_eventually!(both() == [402, 402]);
    seen.extend(load.stop());
    let by = ["usage", "--license", &license.id, "--by", "status"];
    // The other gate's last calls come with its next roll-up.
    assert_eventually!({
        let rows = first.cli().json(&by);
        // Refused with 503 while the other one held the last units, with 402 since.
        let refused = |row: &Value| row["status"] == 402 || row["status"] == 503;
        let calls = |row: &Value| row["calls"].as_u64().filter(|_| !refused(row));
        let rows = rows.as_array().expect("rows").iter();
        rows.filter_map(calls).sum::<u64>() == UNITS
    });
    // The gate itself is gone.
    fleet.gates.pop();
    fleet.assert_clean(&seen, &[(&license.id, UNITS)]);
}

/// Makes whoever claims a token wait at the very end of its transaction, when all that is left is to be done.
const LINGER: &str = "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON tokens DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (OLD.state = 0 AND NEW.state = 1) EXECUTE FUNCTION linger()";

#[test]
fn a_token_whose_claim_was_done_and_never_answered_can_be_used_again() {
    let mut fleet = Fleet::start(1);
    let license = fleet.license(&["--remaining", "1000"]);
    let token = request_token(&fleet.gates[0], &license);
    let request = Request::get("/once").header("Apifew-Request-Token", &token);
    let sql = |sql: &str| fleet.server.psql("test_0", sql);
    let _made = sql(LINGER);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| fleet.gates[0].call(&request).status);
        let lingers = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'";
        assert_eventually!(sql(lingers) == "1");
        fleet.to_store.silence();
        assert_eq!(call.join().expect("no panic"), 503);
    });
    assert_eventually!(sql("SELECT state FROM tokens") == "1");
    let _removed = sql("DROP TRIGGER linger ON tokens");
    let before = fleet.upstream.served_count();
    fleet.to_store.heal();
    // While the lost claim is being looked after, the token is in use.
    assert_eventually!(fleet.gates[0].call(&request).status == 200);
    assert_eq!(fleet.gates[0].call(&request).status, 401, "it is used");
    assert_eq!(fleet.upstream.served_count() - before, 1);
    let left = || fleet.gates[0].cli().json(&["license", "show", &license.id])["remaining"].clone();
    assert_eventually!(left() == 998);
    fleet.assert_clean(&[], &[(&license.id, 1_000)]);
}
