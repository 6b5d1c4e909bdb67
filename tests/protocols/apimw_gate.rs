//! Access tokens as credentials at the gate.

use testkit::{App, Config, Request, Response, Site, assert_eventually, binary};

use crate::support::apimw::{Pair, Tokens, bearer};

fn site() -> Site {
    Site::start(binary!())
}

fn call(site: &Site, token: &str) -> Response {
    site.gateway.call(&bearer(Request::get("/echo"), token))
}

fn refusal(response: &Response) -> (u16, String) {
    (response.status, response.refusal_code().unwrap_or_default())
}

#[test]
fn a_token_of_a_pair_bound_to_a_license_opens_the_gate_and_draws_on_that() {
    let site = site();
    let license = site.gateway.license(&["--remaining", "3"]);
    let pair = Pair::create(&site.gateway, &["--license", &license.id]);
    let (one, two) = (pair.log_in(&site.gateway), pair.log_in(&site.gateway));
    assert_eq!(call(&site, &one.access).status, 200);
    assert_eq!(call(&site, &two.access).status, 200);
    let with_key = site.gateway.call(&Request::get("/echo").key(&license.key));
    assert_eq!(with_key.status, 200);
    for token in [&one.access, &two.access] {
        assert_eq!(
            refusal(&call(&site, token)),
            (402, "quota_exhausted".to_owned()),
            "one balance"
        );
    }
    assert_eventually!(site.gateway.calls(&["--license", &license.id]).len() == 5);
    site.assert_clean(&[], &[(&license.id, 3)]);
}

#[test]
fn a_token_of_a_pair_bound_to_an_app_draws_on_a_license_of_its_own() {
    let site = site();
    let pair = Pair::create(&site.gateway, &["--app", "api"]);
    let tokens = pair.log_in(&site.gateway);
    assert_eq!(call(&site, &tokens.access).status, 200);
    let record = &site.gateway.wait_for_calls(1)[0];
    let shown = site.gateway.cli().json(&["license", "list"]);
    let license = &shown.as_array().expect("a list")[0];
    assert_eq!(record["license_id"], license["id"]);
    assert_eq!(license["app"], "api");
    let again = pair.log_in(&site.gateway);
    assert_eq!(call(&site, &again.access).status, 200);
    assert_eq!(
        site.gateway.wait_for_calls(2)[1]["license_id"],
        license["id"]
    );
}

#[test]
fn a_token_bound_to_nothing_a_key_and_a_secret_open_no_gate() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    let tokens = pair.log_in(&site.gateway);
    assert_eq!(tokens.me(&site.gateway).status, 200);
    assert_eq!(
        refusal(&call(&site, &tokens.access)),
        (401, "token_invalid".to_owned())
    );
    let bound = Pair::create(&site.gateway, &["--app", "api"]);
    let management = site.gateway.cli().json(&["key", "create"]);
    let management = management["key"].as_str().expect("a key");
    for text in [
        &bound.key,
        &bound.secret,
        &bound.log_in(&site.gateway).refresh,
        management,
    ] {
        assert_eq!(
            refusal(&call(&site, text)),
            (401, "license_missing".to_owned())
        );
        let as_key = site.gateway.call(&Request::get("/echo").key(text));
        assert_eq!(refusal(&as_key), (401, "license_unknown".to_owned()));
    }
    assert_eq!(site.upstream.connections(), 0);
}

#[test]
fn a_token_of_another_app_opens_nothing() {
    let site = Site::with(binary!(), |upstream| {
        let app = |name: &str| App::new(name, upstream).line(&format!("hosts = [\"{name}.test\"]"));
        Config::default().app(app("api")).app(app("shop"))
    });
    let tokens = Pair::create(&site.gateway, &["--app", "shop"]).log_in(&site.gateway);
    assert_eq!(
        refusal(&call(&site, &tokens.access)),
        (401, "token_invalid".to_owned())
    );
    let shop = bearer(Request::get("/echo").host("shop.test"), &tokens.access);
    assert_eq!(site.gateway.call(&shop).status, 200);
}

#[test]
fn case_38_a_revocation_is_in_force_at_the_gate_when_it_returns() {
    let site = site();
    let pair = Pair::create(&site.gateway, &["--app", "api"]);
    let dead = (401, "token_invalid".to_owned());
    let tokens = pair.log_in(&site.gateway);
    let stranger = pair.log_in(&site.gateway);
    assert_eq!(call(&site, &tokens.access).status, 200);
    assert_eq!(tokens.revoke(&site.gateway).status, 200);
    assert_eq!(refusal(&call(&site, &tokens.access)), dead);
    assert_eq!(call(&site, &stranger.access).status, 200);

    let first = pair.log_in(&site.gateway);
    let second = first.refresh(&site.gateway).tokens();
    assert_eq!(
        (
            call(&site, &first.access).status,
            call(&site, &second.access).status
        ),
        (200, 200)
    );
    let _ = first.refresh(&site.gateway);
    for tokens in [&first, &second] {
        assert_eq!(
            refusal(&call(&site, &tokens.access)),
            dead,
            "a replay ends the family"
        );
    }
    let _ = site.gateway.cli().text(&["key", "revoke", &pair.id]);
    assert_eq!(
        refusal(&call(&site, &stranger.access)),
        dead,
        "tokens end with their key"
    );
}

#[test]
fn the_state_of_the_license_holds_for_its_tokens() {
    let site = site();
    let license = site.gateway.license(&["--permission", "GET /echo"]);
    let pair = Pair::create(&site.gateway, &["--license", &license.id]);
    let tokens = pair.log_in(&site.gateway);
    assert_eq!(call(&site, &tokens.access).status, 200);
    let elsewhere = site
        .gateway
        .call(&bearer(Request::get("/a"), &tokens.access));
    assert_eq!(refusal(&elsewhere), (403, "route_not_permitted".to_owned()));
    let _ = site.gateway.cli().text(&["license", "rotate", &license.id]);
    assert_eq!(
        call(&site, &tokens.access).status,
        200,
        "a rotated license key leaves sessions alone"
    );
    let shown = site.gateway.cli().json(&["license", "show", &license.id]);
    assert_eq!(
        shown["credentials"].as_array().map(Vec::len),
        Some(2),
        "tokens are not listed among keys"
    );
    let _ = site
        .gateway
        .cli()
        .text(&["license", "disable", &license.id]);
    assert_eq!(
        refusal(&call(&site, &tokens.access)),
        (403, "license_disabled".to_owned())
    );
    assert_eq!(tokens.me(&site.gateway).status, 200);
    let _ = site.gateway.cli().text(&["license", "revoke", &license.id]);
    assert_eq!(
        refusal(&call(&site, &tokens.access)),
        (403, "license_revoked".to_owned())
    );
}

#[test]
fn an_expired_token_is_refused_at_the_gate() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).table("[apimw]\naccess_lifetime = \"1s\"")
    });
    let tokens = Pair::create(&site.gateway, &["--app", "api"]).log_in(&site.gateway);
    assert_eventually!(refusal(&call(&site, &tokens.access)) == (401, "token_invalid".to_owned()));
    let next = tokens.refresh(&site.gateway).tokens();
    assert_ne!(next.access, tokens.access);
}

#[test]
fn the_addresses_of_a_key_hold_for_its_tokens_at_the_gate() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("trusted_proxies = [\"127.0.0.1/32\"]")
    });
    let pair = Pair::create(
        &site.gateway,
        &[
            "--app",
            "api",
            "--allow-ip",
            "127.0.0.1",
            "--allow-ip",
            "2001:db8::/32",
        ],
    );
    let tokens = pair.log_in(&site.gateway);
    let from = |address: &str| {
        let request =
            bearer(Request::get("/echo"), &tokens.access).header("X-Forwarded-For", address);
        refusal(&site.gateway.call(&request))
    };
    assert_eq!(from("2001:db8::7").0, 200);
    for outside in ["192.0.2.1", "2001:db9::7"] {
        assert_eq!(from(outside), (403, "ip_not_allowed".to_owned()));
    }
    let _ = site
        .gateway
        .cli()
        .text(&["key", "change", &pair.id, "--allow-ip", "192.0.2.0/24"]);
    assert_eq!(
        (from("192.0.2.1").0, from("2001:db8::7").0),
        (200, 403),
        "in force when the command returns"
    );
}

#[test]
fn our_tokens_never_reach_the_upstream_and_other_bearer_tokens_do() {
    let site = site();
    let license = site.gateway.license(&[]);
    let tokens = Pair::create(&site.gateway, &["--license", &license.id]).log_in(&site.gateway);
    let echo = call(&site, &tokens.access);
    assert_eq!(echo.status, 200);
    let foreign = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    let both = bearer(Request::get("/echo").key(&license.key), foreign);
    assert_eq!(site.gateway.call(&both).status, 200);
    let served = site.upstream.served();
    let authorization = |number: usize| {
        let headers = &served[number].headers;
        testkit::wire::header(headers, "authorization").map(ToOwned::to_owned)
    };
    assert_eq!(authorization(0), None);
    assert_eq!(
        authorization(1),
        Some(format!("Bearer {foreign}")),
        "the upstream's own token passes"
    );
}

#[test]
fn a_token_beside_another_license_is_ambiguous_and_a_forged_one_opens_nothing() {
    let site = site();
    let license = site.gateway.license(&[]);
    let tokens = Pair::create(&site.gateway, &["--license", &license.id]).log_in(&site.gateway);
    let both = bearer(Request::get("/echo").key(&license.key), &tokens.access);
    assert_eq!(
        refusal(&site.gateway.call(&both)),
        (400, "credential_ambiguous".to_owned())
    );
    let mut forged = tokens.access.clone();
    forged.pop();
    for token in [
        forged.as_str(),
        &format!("{}x", tokens.access),
        &format!("{}{}", tokens.access, "x".repeat(5_000)),
    ] {
        assert_eq!(
            refusal(&call(&site, token)),
            (401, "token_invalid".to_owned())
        );
    }
    assert_eq!(site.upstream.connections(), 0);
}

#[test]
fn tokens_open_the_gate_after_a_crash() {
    let mut site = site();
    let pair = Pair::create(&site.gateway, &["--app", "api"]);
    let (alive, dead) = (pair.log_in(&site.gateway), pair.log_in(&site.gateway));
    assert_eq!(dead.revoke(&site.gateway).status, 200);
    site.gateway.kill9();
    site.gateway.restart();
    assert_eq!(call(&site, &alive.access).status, 200);
    assert_eq!(
        refusal(&call(&site, &dead.access)),
        (401, "token_invalid".to_owned())
    );
}

#[test]
fn open_streams_of_a_token_are_cut_when_it_is_revoked_and_those_of_others_stay() {
    let site = site();
    let pair = Pair::create(&site.gateway, &["--app", "api"]);
    let open = |tokens: &Tokens| {
        let request = bearer(Request::get("/hold-mid-body"), &tokens.access);
        site.gateway.open_stream(&request.host("api.test"))
    };
    let tokens = [(); 2].map(|()| pair.log_in(&site.gateway));
    let [mut cut, mut stays] = tokens.each_ref().map(open);
    assert_eq!(tokens[0].revoke(&site.gateway).status, 200);
    assert!(cut.is_closed_by_peer());
    site.upstream.release();
    stays.read_half();
}
