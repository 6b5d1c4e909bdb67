//! APIMW: from where a key may be used, how often, and its rotation.

use std::collections::BTreeSet;

use testkit::{App, Config, Request, Site, assert_eventually, binary};

use crate::support::apimw::{
    self, Answer, Pair, Tokens, ask, ask_from, me_request, refresh_request,
};

const FREE: &str = "[[plan]]\nname = \"free\"\nrate_limits = [\"10/1m\", \"100/1h\", \"1000/1d\"]";

/// A site whose app has the plan `free`.
fn site() -> Site {
    Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream).line("plan = \"free\"");
        Config::default().table(FREE).app(app)
    })
}

/// Every kind of request with a key's credentials, in turn from an address, as status and code.
fn everything(
    pair: &Pair,
    tokens: &Tokens,
    ask: impl Fn(&Request) -> Answer,
) -> BTreeSet<(u16, String)> {
    let requests = [
        pair.request(),
        tokens.refresh_request(),
        me_request(&tokens.access),
        apimw::bearer(Request::post("/v1/auth/revoke", b""), &tokens.access),
    ];
    let answers = requests.iter().map(ask);
    let told = |answer: Answer| {
        let code = answer.body["error"]["code"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        (answer.status, code)
    };
    answers.map(told).collect()
}

#[test]
fn case_41_a_list_of_addresses_lets_those_inside_pass_and_nobody_else() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("trusted_proxies = [\"127.0.0.9/32\"]")
    });
    let gateway = &site.gateway;
    let arguments = ["--allow-ip", "127.0.5.0/24", "--allow-ip", "2001:db8::/32"];
    let pair = Pair::create(gateway, &arguments);
    let open = Pair::create(gateway, &[]);
    let inside = |request: &Request| ask_from(gateway, "127.0.5.200", request);
    let passed =
        |answers: BTreeSet<(u16, String)>| answers == BTreeSet::from([(200, String::new())]);
    let refused = |answers: BTreeSet<(u16, String)>| {
        answers == BTreeSet::from([(403, "IP_NOT_ALLOWED".to_owned())])
    };
    let tokens = || inside(&pair.request()).tokens();
    assert!(passed(everything(&pair, &tokens(), inside)));

    let tokens = tokens();
    for outside in ["127.0.0.1", "127.0.4.255", "127.0.6.0"] {
        let from = |request: &Request| ask_from(gateway, outside, request);
        assert!(refused(everything(&pair, &tokens, from)), "{outside}");
    }
    // What a peer says of itself does not help.
    let lying = |request: &Request| {
        let request = request.clone().header("X-Forwarded-For", "127.0.5.1");
        ask_from(gateway, "127.0.0.1", &request)
    };
    assert!(refused(everything(&pair, &tokens, lying)));
    // What a trusted proxy says holds, for both families, and only the last word of it that nobody else put there.
    let through = |said: &str| {
        let said = said.to_owned();
        move |request: &Request| {
            let request = request.clone().header("X-Forwarded-For", &said);
            ask_from(gateway, "127.0.0.9", &request)
        }
    };
    for outside in [
        "192.0.2.1",
        "2001:db9::1",
        "127.0.5.1, 192.0.2.1",
        "nonsense",
    ] {
        assert!(
            refused(everything(&pair, &tokens, through(outside))),
            "{outside}"
        );
    }
    for allowed in [
        "2001:db8:7::1",
        "127.0.5.255",
        "192.0.2.1, 2001:db8::1",
        "::ffff:127.0.5.1",
    ] {
        let tokens = inside(&pair.request()).tokens();
        assert!(
            passed(everything(&pair, &tokens, through(allowed))),
            "{allowed}"
        );
    }
    // No refusal used anything up.
    assert_eq!(inside(&tokens.refresh_request()).status, 200);
    assert_eq!(open.log_in(gateway).me(gateway).status, 200);
}

#[test]
fn case_42_an_empty_list_lets_everybody_pass_and_a_set_one_exempts_not_even_loopback() {
    let site = site();
    let gateway = &site.gateway;
    let pair = Pair::create(gateway, &[]);
    for address in ["127.0.0.1", "127.9.9.9"] {
        let tokens = ask_from(gateway, address, &pair.request()).tokens();
        assert_eq!(
            ask_from(gateway, address, &me_request(&tokens.access)).status,
            200
        );
    }
    let tokens = pair.log_in(gateway);
    let change = |arguments: &[&str]| {
        let mut all = vec!["key", "change", &pair.id];
        all.extend_from_slice(arguments);
        gateway.cli().json(&all)
    };
    assert_eq!(
        change(&["--allow-ip", "192.0.2.1"])["allow_ips"][0],
        "192.0.2.1/32"
    );
    assert_eq!(tokens.me(gateway).refusal(), (403, "IP_NOT_ALLOWED"));
    assert_eq!(
        ask(gateway, &pair.request()).refusal(),
        (403, "IP_NOT_ALLOWED")
    );
    let _ = change(&["--allow-all"]);
    assert_eq!(tokens.me(gateway).status, 200);
}

#[test]
fn a_list_of_addresses_is_a_feature_of_plans_that_name_features() {
    let site = Site::with(binary!(), |upstream| {
        let plan = |name: &str, features: &str| {
            format!("[[plan]]\nname = \"{name}\"\nfeatures = [{features}]")
        };
        let app = |name: &str| {
            let host = format!("hosts = [\"{name}.test\"]");
            App::new(name, upstream)
                .line(&format!("plan = \"{name}\""))
                .line(&host)
        };
        Config::default()
            .table(&plan("starter", "\"support\""))
            .table(&plan("enterprise", "\"support\", \"ip_allow_list\""))
            .app(app("starter"))
            .app(app("enterprise"))
    });
    let gateway = &site.gateway;
    let create = |app: &str| {
        let arguments = [
            "key",
            "create",
            "--pair",
            "--app",
            app,
            "--allow-ip",
            "10.0.0.0/8",
            "--json",
        ];
        gateway.cli().run(&arguments)
    };
    let refused = create("starter");
    assert!(
        refused.code != 0 && refused.stderr.contains("ip_allow_list"),
        "{refused:?}"
    );
    let granted = create("enterprise");
    assert_eq!(granted.code, 0, "{granted:?}");
}

#[test]
fn a_management_key_is_bound_to_addresses_as_well() {
    let site = site();
    let key = site
        .gateway
        .cli()
        .json(&["key", "create", "--allow-ip", "127.0.5.0/24"]);
    let key = key["key"].as_str().expect("a key");
    let request = apimw::bearer(Request::get("/api/v1/licenses"), key);
    let status = |source: &str| {
        let source = source.parse().expect("an address");
        let connection = testkit::Connection::open_from(source, site.gateway.control_addr());
        connection
            .expect("connected")
            .call(&request)
            .expect("an answer")
            .status
    };
    assert_eq!((status("127.0.5.1"), status("127.0.0.1")), (200, 401));
}

#[test]
fn case_43_the_eleventh_call_in_a_minute_of_a_free_plan_is_refused_and_remaining_falls_by_one() {
    let site = site();
    let gateway = &site.gateway;
    // In the rare case that a minute ends in between, with another key again.
    assert_eventually!({
        let pair = Pair::create(gateway, &["--app", "api"]);
        let granted = ask(gateway, &pair.request());
        let tokens = granted.tokens();
        let answers: Vec<Answer> = (0..11).map(|_| tokens.me(gateway)).collect();
        let same_minute = answers.iter().all(|answer| answer.reset == granted.reset);
        if same_minute {
            assert_eq!((granted.limit, granted.remaining), (10, 10));
            for (number, answer) in answers.iter().take(10).enumerate() {
                assert_eq!(answer.status, 200);
                assert_eq!((answer.limit, answer.remaining), (10, 9 - number as u64));
                assert_eq!(answer.reset % 60, 0, "a minute of the clock");
            }
            let refused = &answers[10];
            assert_eq!(refused.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
            assert_eq!((refused.limit, refused.remaining), (10, 0));
            let wait = refused.retry_after.expect("Retry-After");
            assert!((1..=60).contains(&wait), "{wait}");
            // Who may make no more calls may still log out, and refresh.
            let next = tokens.refresh(gateway).tokens();
            assert_eq!(next.me(gateway).status, 429, "a new token is no new quota");
            assert_eq!(tokens.revoke(gateway).status, 200);
        }
        same_minute
    });
}

/// On the gate.
#[test]
fn case_43_the_windows_of_the_plan_hold_for_calls_through_the_gate() {
    let site = site();
    assert_eventually!({
        let tokens = Pair::create(&site.gateway, &["--app", "api"]).log_in(&site.gateway);
        let call = apimw::bearer(Request::get("/a"), &tokens.access);
        let statuses: Vec<u16> = (0..11).map(|_| site.gateway.call(&call).status).collect();
        let refused = site.gateway.call(&call);
        // 429 unless a minute ended in between.
        statuses[..10].iter().all(|status| *status == 200)
            && statuses[10] == 429
            && refused.header("retry-after").is_some()
    });
}

#[test]
fn case_44_every_answer_has_the_three_headers_and_remaining_falls_by_one_for_each_accepted_call() {
    // That every answer has them is checked where every answer is read.
    let site = site();
    let gateway = &site.gateway;
    let pair = Pair::create(gateway, &["--app", "api"]);
    let tokens = pair.log_in(gateway);
    assert_eventually!({
        let [first, second, third] = [(); 3].map(|()| tokens.me(gateway));
        let same_minute = first.reset == third.reset && third.status == 200;
        if same_minute {
            let left = [first.remaining, second.remaining, third.remaining];
            assert_eq!(left, [left[0], left[0] - 1, left[0] - 2]);
        }
        same_minute
    });
    let answers = [
        ask(gateway, &Request::post("/v1/auth/token", b"{}")),
        ask(gateway, &refresh_request("rt_x")),
        ask(gateway, &Request::get("/v1/auth/me")),
        ask(gateway, &Request::new("PATCH", "/v1/auth/me")),
        tokens.refresh(gateway),
        tokens.revoke(gateway),
        tokens.me(gateway),
    ];
    for answer in answers {
        assert!(
            answer.remaining <= answer.limit && answer.reset > 1_700_000_000,
            "{answer:?}"
        );
    }
}

#[test]
fn windows_of_an_hour_and_a_day_are_told_when_they_are_the_tightest_and_outlive_a_crash() {
    let mut site = Site::with(binary!(), |upstream| {
        let plan = "[[plan]]\nname = \"small\"\nrate_limits = [\"1000/1m\", \"4/1h\", \"3/1d\"]";
        let app = App::new("api", upstream).line("plan = \"small\"");
        Config::default().table(plan).app(app)
    });
    let pair = Pair::create(&site.gateway, &["--app", "api"]);
    let tokens = pair.log_in(&site.gateway);
    let first = tokens.me(&site.gateway);
    assert_eq!(
        (first.limit, first.remaining, first.reset % 86_400),
        (3, 2, 0)
    );
    assert_eq!(tokens.me(&site.gateway).status, 200);
    site.gateway.kill9();
    site.gateway.restart();
    let last = tokens.me(&site.gateway);
    assert_eq!((last.status, last.remaining), (200, 0), "{last:?}");
    let refused = tokens.me(&site.gateway);
    assert_eq!(refused.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    assert_eq!(refused.reset, first.reset);
    assert!(refused.retry_after.is_some_and(|wait| wait <= 86_400));
}

#[test]
fn parallel_calls_never_exceed_a_window() {
    let site = Site::with(binary!(), |upstream| {
        let plan = "[[plan]]\nname = \"small\"\nrate_limits = [\"10/1d\"]";
        let app = App::new("api", upstream).line("plan = \"small\"");
        Config::default().table(plan).app(app)
    });
    let tokens = Pair::create(&site.gateway, &["--app", "api"]).log_in(&site.gateway);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let one = || tokens.me(&site.gateway).status;
        let threads: Vec<_> = (0..30).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(200), count(429)), (10, 20), "{statuses:?}");
}

#[test]
fn an_address_that_guesses_is_slowed_down_and_one_with_a_good_credential_is_not() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream)
            .server("trusted_proxies = [\"127.0.0.1/32\"]")
            .table("[control]\nfailures_per_minute = 5")
    });
    let gateway = &site.gateway;
    let pair = Pair::create(gateway, &[]);
    let from = |request: &Request, address: &str| {
        ask(gateway, &request.clone().header("X-Forwarded-For", address))
    };
    let guess = refresh_request("rt_guess");
    assert_eventually!({
        let answers: Vec<Answer> = (0..6).map(|_| from(&guess, "192.0.2.1")).collect();
        answers[5].status == 429 && answers[5].code() == "RATE_LIMIT_EXCEEDED"
    });
    let throttled = from(&pair.request(), "192.0.2.1");
    if throttled.status == 429 {
        assert_eq!(throttled.remaining, 0);
        assert!(throttled.retry_after.is_some_and(|wait| wait <= 60));
    }
    assert_eq!(from(&pair.request(), "192.0.2.2").status, 200);
    // Nobody is this host by saying so.
    for said in ["127.0.0.1", "[::1]:80"] {
        assert_eventually!({
            let answers: Vec<Answer> = (0..6).map(|_| from(&guess, said)).collect();
            answers[5].status == 429
        });
    }
}

#[test]
fn case_46_a_rotated_key_works_beside_the_new_one_until_its_overlap_ends() {
    let site = site();
    let gateway = &site.gateway;
    let old = Pair::create(gateway, &["--app", "api"]);
    let before = old.log_in(gateway);
    let new = Pair::of(
        &gateway
            .cli()
            .json(&["key", "rotate", &old.id, "--overlap", "4s"]),
    );
    assert!(new.key != old.key && new.secret != old.secret);
    // Both, while the overlap lasts.
    let both = [old.log_in(gateway), new.log_in(gateway)];
    for tokens in &both {
        assert_eq!(tokens.me(gateway).status, 200);
    }
    let mixed = serde_json::json!({"api_key": old.key, "api_secret": new.secret});
    let mixed = ask(gateway, &apimw::post("/v1/auth/token", &mixed));
    assert_eq!(mixed.refusal(), (401, "INVALID_CREDENTIALS"));
    // Then only the new one.
    assert_eventually!(ask(gateway, &old.request()).status == 401);
    assert_eq!(
        ask(gateway, &old.request()).refusal(),
        (401, "INVALID_CREDENTIALS")
    );
    for tokens in [&before, &both[0]] {
        assert_eq!(tokens.me(gateway).refusal(), (401, "REVOKED_TOKEN"));
        assert_eq!(
            tokens.refresh(gateway).refusal(),
            (401, "INVALID_REFRESH_TOKEN")
        );
    }
    assert_eq!(both[1].me(gateway).status, 200);
    assert_eq!(new.log_in(gateway).me(gateway).status, 200);
}

#[test]
fn a_rotated_signing_key_overlaps_and_a_withdrawn_one_does_not() {
    let site = site();
    let gateway = &site.gateway;
    let pair = Pair::create(gateway, &[]);
    let old = pair.log_in(gateway);
    let rotate = |arguments: &[&str]| {
        let mut all = vec!["signing-key", "rotate", "tokens-hs256"];
        all.extend_from_slice(arguments);
        gateway.cli().json(&all)
    };
    let new = rotate(&["--at-once", "--overlap", "1h"]);
    assert_eq!(new["state"], "signing");
    let young = pair.log_in(gateway);
    assert_eq!(
        (old.me(gateway).status, young.me(gateway).status),
        (200, 200)
    );
    let _ = rotate(&["--withdraw"]);
    for tokens in [&old, &young] {
        assert_eq!(tokens.me(gateway).refusal(), (401, "INVALID_TOKEN"));
    }
    assert_eq!(young.refresh(gateway).tokens().me(gateway).status, 200);
}
