//! Sessions: what a key and its secret are exchanged for, and what ends it.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use licensing::sessions::{SessionError, SessionOptions, Tokens};
use licensing::signing::{Rotation, TokenTerms};
use licensing::{
    ADDRESSES_FEATURE, AppTerms, CachedLicense, Error, Found, IssuedManagementKey, Keyring,
    KeyringSecret, ManagementKeyRequest, Plans, Sessions, Signing,
};
use model::{
    Address, CallFacts, Credential, KeyFormat, KeyHash, LicenseId, Limits, Plan, PlanRevision,
    Refusal, SigningUse, is_access_token,
};
use store::SessionStore as _;
use support::{World, app, eventually, hasher, options};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const HERE: Option<Address> = Some(Address::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(
    192, 0, 2, 7,
))));

struct Site {
    world: World,
    signing: Arc<Signing>,
    sessions: Sessions,
}

impl Site {
    async fn new() -> Self {
        Self::on(World::new().await, SigningUse::TokensHs256).await
    }

    async fn on(world: World, signing_use: SigningUse) -> Self {
        let secret = KeyringSecret::Configured("of the tests");
        let keyring = Keyring::load(&*world.store, secret).await.unwrap();
        let signing = Signing::open(world.store.clone(), keyring, world.clock.clone());
        let signing = signing.await.unwrap();
        let options = SessionOptions {
            terms: TokenTerms {
                issuer: "here".to_owned(),
                audience: "everybody".to_owned(),
            },
            signing_use,
            access_lifetime: HOUR,
            refresh_lifetime: 30 * DAY,
            rate_limits: vec!["300/1m".parse().unwrap(), "10000/1h".parse().unwrap()],
        };
        let sessions = Sessions::new(world.licensing.clone(), signing.clone(), options);
        Self {
            world,
            signing,
            sessions,
        }
    }

    /// Another gate on the same store.
    async fn neighbour(&self) -> Self {
        let world = self.world.neighbour(options()).await;
        Self::on(world, SigningUse::TokensHs256).await
    }

    async fn pair(&self, request: ManagementKeyRequest) -> IssuedManagementKey {
        let request = ManagementKeyRequest {
            pair: true,
            ..request
        };
        self.world
            .licensing
            .acting(model::Actor::OPERATOR)
            .create_management_key(request)
            .await
            .unwrap()
    }

    async fn license_pair(&self) -> (LicenseId, IssuedManagementKey) {
        let license = self.world.issue(Limits::default()).await.license.license.id;
        let request = ManagementKeyRequest {
            license_id: Some(license),
            ..ManagementKeyRequest::default()
        };
        (license, self.pair(request).await)
    }

    async fn log_in(&self, pair: &IssuedManagementKey) -> Tokens {
        self.try_log_in(pair).await.unwrap()
    }

    async fn try_log_in(&self, pair: &IssuedManagementKey) -> Result<Tokens, SessionError> {
        let secret = pair.secret.as_ref().unwrap().expose();
        self.sessions
            .log_in(pair.credential.expose(), secret, HERE)
            .await
    }

    async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, SessionError> {
        self.sessions.refresh(tokens.refresh.expose(), HERE).await
    }

    async fn judge(&self, tokens: &Tokens) -> Result<(), SessionError> {
        let found = self
            .sessions
            .authenticate(tokens.access.expose(), HERE)
            .await;
        found.map(|holder| assert_eq!(holder, tokens.holder))
    }

    /// What the gate finds of an access token, without waiting for anything but the store.
    async fn at_the_gate(&self, tokens: &Tokens) -> Result<Arc<CachedLicense>, Refusal> {
        let hash = hash(tokens);
        let entry = match self.world.find(&hash) {
            Found::Known(entry) => entry,
            Found::Cold => self
                .world
                .licensing
                .admission()
                .load(hash)
                .await?
                .ok_or(Refusal::TokenInvalid)?,
            Found::Unknown => return Err(Refusal::TokenInvalid),
            Found::Unread | Found::Unheard | Found::Unavailable => {
                return Err(Refusal::LicenseStoreUnavailable);
            }
        };
        entry.check(&CallFacts {
            now: self.world.now(),
            address: HERE,
            target: None,
            features: &[],
            agent: None,
        })?;
        Ok(entry)
    }
}

fn hash(tokens: &Tokens) -> KeyHash {
    hasher().hash(tokens.access.expose().as_bytes())
}

fn is(result: Result<impl Sized, SessionError>, expected: &str) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(format!("{error:?}"), expected);
}

#[tokio::test]
async fn a_key_and_its_secret_give_tokens_that_are_told_and_found() {
    let site = Site::new().await;
    let (license, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    assert_eq!(tokens.expires_in, HOUR);
    assert!(is_access_token(tokens.access.expose().as_bytes()));
    assert!(!format!("{tokens:?}").contains("eyJ") && !format!("{tokens:?}").contains("rt_"));
    site.judge(&tokens).await.unwrap();
    let entry = site.at_the_gate(&tokens).await.unwrap();
    assert_eq!(entry.license().id, license);
    assert!(entry.credential().is_token);
}

#[tokio::test]
async fn tokens_of_either_algorithm_are_told_by_their_looks_and_believed_by_all() {
    let world = World::new().await;
    let beside = world.neighbour(options()).await;
    let site = Site::on(world, SigningUse::Tokens).await;
    let other = Site::on(beside, SigningUse::TokensHs256).await;
    let (_, pair) = site.license_pair().await;
    for from in [&site, &other] {
        let tokens = from.log_in(&pair).await;
        assert!(is_access_token(tokens.access.expose().as_bytes()));
        for gate in [&site, &other] {
            gate.judge(&tokens).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_an_unknown_key_and_half_a_pair_are_refused_alike() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let (_, other) = site.license_pair().await;
    let bearer = ManagementKeyRequest::default();
    let bearer = site
        .world
        .licensing
        .acting(model::Actor::OPERATOR)
        .create_management_key(bearer)
        .await
        .unwrap();
    let (key, secret) = (
        pair.credential.expose(),
        pair.secret.as_ref().unwrap().expose(),
    );
    let foreign = other.secret.as_ref().unwrap().expose();
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (key, secret) in [
        (key, foreign),
        (key, ""),
        (key, key),
        (unknown, secret),
        ("", ""),
        (bearer.credential.expose(), bearer.credential.expose()),
        (secret, secret),
        ("x", "y"),
    ] {
        is(site.sessions.log_in(key, secret, HERE).await, "Credentials");
    }
}

#[tokio::test]
async fn an_access_token_ends_at_the_second_of_its_exp_here_and_at_the_gate() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    site.world.advance(HOUR - Duration::from_secs(1)).await;
    site.judge(&tokens).await.unwrap();
    site.at_the_gate(&tokens).await.unwrap();
    site.world.advance(Duration::from_secs(1)).await;
    is(site.judge(&tokens).await, "ExpiredToken");
    assert_eq!(
        site.at_the_gate(&tokens).await.unwrap_err(),
        Refusal::TokenInvalid
    );
}

#[tokio::test]
async fn a_refresh_gives_a_new_pair_and_a_replay_ends_the_family() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let first = site.log_in(&pair).await;
    let second = site.refresh(&first).await.unwrap();
    assert_ne!(first.refresh, second.refresh);
    assert_ne!(first.access, second.access);
    for tokens in [&first, &second] {
        site.judge(tokens).await.unwrap();
        site.at_the_gate(tokens).await.unwrap();
    }
    site.world.advance(Duration::from_secs(1)).await;
    is(site.refresh(&first).await, "RefreshToken");
    is(site.refresh(&second).await, "RefreshToken");
    for tokens in [&first, &second] {
        is(site.judge(tokens).await, "RevokedToken");
        assert_eq!(
            site.at_the_gate(tokens).await.unwrap_err(),
            Refusal::TokenInvalid
        );
    }
    let anew = site.log_in(&pair).await;
    site.judge(&anew).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_many_parallel_refreshes_wins_and_its_tokens_are_good() {
    let site = Arc::new(Site::new().await);
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    let mut tries = Vec::new();
    for _ in 0..20 {
        let (site, tokens) = (site.clone(), tokens.clone());
        tries.push(tokio::spawn(
            async move { site.refresh(&tokens).await.ok() },
        ));
    }
    let mut won = Vec::new();
    for one in tries {
        won.extend(one.await.unwrap());
    }
    assert_eq!(won.len(), 1);
    // The clock stands: all of them asked at the same time, so none of them is a replay.
    site.judge(&won[0]).await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_older_than_thirty_days_is_refused() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    let young = site.log_in(&pair).await;
    site.world.advance(30 * DAY - Duration::from_secs(1)).await;
    site.refresh(&young).await.unwrap();
    site.world.advance(Duration::from_secs(1)).await;
    is(site.refresh(&tokens).await, "RefreshToken");
    for text in ["", "rt_", "rt_nonsense", "\u{e9}", tokens.access.expose()] {
        is(site.sessions.refresh(text, HERE).await, "RefreshToken");
    }
}

#[tokio::test]
async fn an_end_is_in_force_at_once_here_and_soon_on_other_gates() {
    let site = Site::new().await;
    let other = site.neighbour().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    eventually("the token is known", || {
        !matches!(other.world.find(&hash(&tokens)), Found::Unknown)
    })
    .await;
    other.at_the_gate(&tokens).await.unwrap();
    other.judge(&tokens).await.unwrap();

    site.sessions.end(&tokens.holder, None).await.unwrap();
    is(site.judge(&tokens).await, "RevokedToken");
    assert_eq!(
        site.at_the_gate(&tokens).await.unwrap_err(),
        Refusal::TokenInvalid
    );
    is(other.judge(&tokens).await, "RevokedToken");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while other.at_the_gate(&tokens).await.is_ok() {
        assert!(
            std::time::Instant::now() < deadline,
            "the other gate never learnt"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    is(site.refresh(&tokens).await, "RefreshToken");
}

#[tokio::test]
async fn a_call_is_cut_when_its_token_is_ended_and_not_when_its_time_is_over() {
    let site = Site::new().await;
    let there = site.neighbour().await;
    let (_, pair) = site.license_pair().await;
    let mut entries = Vec::new();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let new = site.log_in(&pair).await;
        entries.push(site.at_the_gate(&new).await.unwrap());
        tokens.push(new);
    }
    let cut = |at: usize| entries[at].cut(site.world.now());
    assert_eq!([0, 1, 2].map(cut), [None; 3]);
    site.sessions.end(&tokens[0].holder, HERE).await.unwrap();
    eventually("it is cut where it was ended", || cut(0).is_some()).await;
    assert_eq!(
        [0, 1, 2].map(cut),
        [Some(Refusal::TokenInvalid), None, None]
    );
    there.sessions.end(&tokens[1].holder, HERE).await.unwrap();
    eventually("and on other gates", || cut(1).is_some()).await;
    assert_eq!(cut(2), None);
    site.world.advance(HOUR).await;
    assert_eq!(cut(2), None, "its time is over");
    // A change of the license, whatever it is, does not make an end of it.
    let before = entries[2].state().version();
    let operator = site.world.licensing.acting(model::Actor::OPERATOR);
    let id = entries[2].license().id;
    operator.extend(id, None).await.unwrap();
    assert!(entries[2].state().version() > before);
    assert_eq!(cut(2), None);
}

#[tokio::test]
async fn tokens_end_with_their_key() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    site.at_the_gate(&tokens).await.unwrap();
    site.world
        .licensing
        .acting(model::Actor::OPERATOR)
        .revoke_management_key(pair.key.id)
        .await
        .unwrap();
    is(site.judge(&tokens).await, "RevokedToken");
    assert_eq!(
        site.at_the_gate(&tokens).await.unwrap_err(),
        Refusal::TokenInvalid
    );
    is(site.refresh(&tokens).await, "RefreshToken");
    is(site.try_log_in(&pair).await, "Credentials");
}

#[tokio::test]
async fn a_rotated_pair_works_until_its_overlap_ends_and_draws_on_the_same_license() {
    let site = Site::new().await;
    let request = ManagementKeyRequest {
        app: Some(app()),
        ..ManagementKeyRequest::default()
    };
    let old = site.pair(request).await;
    let before = site.log_in(&old).await;
    let new = site
        .world
        .licensing
        .acting(model::Actor::OPERATOR)
        .rotate_management_key(old.key.id, 2 * HOUR)
        .await
        .unwrap();
    for pair in [&old, &new] {
        let tokens = site.log_in(pair).await;
        let entry = site.at_the_gate(&tokens).await.unwrap();
        assert_eq!(Some(entry.license().id), before.holder.session.license_id);
    }
    site.world.advance(HOUR * 3 / 2).await;
    let last = site.log_in(&old).await;
    site.at_the_gate(&last).await.unwrap();
    site.world.advance(HOUR / 2).await;
    is(site.try_log_in(&old).await, "Credentials");
    is(site.judge(&last).await, "RevokedToken");
    assert_eq!(
        site.at_the_gate(&last).await.unwrap_err(),
        Refusal::TokenInvalid,
        "it ends with its key"
    );
    site.log_in(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_of_an_app_draws_on_one_license_that_is_made_for_it() {
    let site = Arc::new(Site::new().await);
    let request = ManagementKeyRequest {
        app: Some(app()),
        ..ManagementKeyRequest::default()
    };
    let pair = Arc::new(site.pair(request).await);
    assert_eq!(pair.key.license_id, None, "it may act on the whole app");
    let mut tries = Vec::new();
    for _ in 0..8 {
        let (site, pair) = (site.clone(), pair.clone());
        tries.push(tokio::spawn(async move { site.log_in(&pair).await }));
    }
    let mut drawn_on = std::collections::HashSet::new();
    for one in tries {
        let tokens = one.await.unwrap();
        let entry = site.at_the_gate(&tokens).await.unwrap();
        assert_eq!(entry.license().app, app());
        drawn_on.insert(entry.license().id);
    }
    assert_eq!(drawn_on.len(), 1);
}

#[tokio::test]
async fn a_token_of_a_pair_without_license_and_app_opens_no_gate() {
    let site = Site::new().await;
    let pair = site.pair(ManagementKeyRequest::default()).await;
    let tokens = site.log_in(&pair).await;
    site.judge(&tokens).await.unwrap();
    assert_eq!(
        site.at_the_gate(&tokens).await.unwrap_err(),
        Refusal::TokenInvalid
    );
}

#[tokio::test]
async fn addresses_hold_at_log_in_refresh_and_use_here_and_at_the_gate() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    site.at_the_gate(&tokens).await.unwrap();
    let nets = ["10.0.0.0/24", "2001:db8::/32"]
        .map(|net| net.parse().unwrap())
        .to_vec();
    site.world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_management_key_addresses(pair.key.id, nets)
        .await
        .unwrap();
    is(site.try_log_in(&pair).await, "Address");
    is(site.refresh(&tokens).await, "Address");
    let judge = async |address: &str| {
        let address = Some(address.parse().unwrap());
        site.sessions
            .authenticate(tokens.access.expose(), address)
            .await
            .map(drop)
    };
    for outside in ["192.0.2.7", "10.0.1.1", "127.0.0.1", "::1", "2001:db9::1"] {
        is(judge(outside).await, "Address");
    }
    for inside in ["10.0.0.255", "::ffff:10.0.0.1", "2001:db8:ffff::1"] {
        judge(inside).await.unwrap();
    }
    is(
        site.sessions
            .authenticate(tokens.access.expose(), None)
            .await,
        "Address",
    );
    assert_eq!(
        site.at_the_gate(&tokens).await.unwrap_err(),
        Refusal::IpNotAllowed
    );
    site.world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_management_key_addresses(pair.key.id, vec![])
        .await
        .unwrap();
    site.at_the_gate(&tokens).await.unwrap();
    site.refresh(&tokens).await.unwrap();
}

#[tokio::test]
async fn a_plan_that_names_features_grants_addresses_only_if_it_names_them() {
    let site = Site::new().await;
    let plan = |name: &str, features: &[&str]| {
        PlanRevision::from(Plan {
            name: name.parse().unwrap(),
            currency: "EUR".parse().unwrap(),
            price_per_unit: "0".parse().unwrap(),
            rate_limits: vec![],
            concurrency: None,
            features: features.iter().map(|&word| word.to_owned()).collect(),
        })
    };
    let app = |name: &str, plan: &str| AppTerms {
        app: name.parse().unwrap(),
        account: "default".parse().unwrap(),
        default_plan: Some(plan.parse().unwrap()),
        grace: Duration::ZERO,
        allowance: 0,
        key_recovery: false,
        software: licensing::SoftwareTerms::default(),
        agents: None,
    };
    let plans = vec![
        plan("plain", &[]),
        plan("some", &["sso"]),
        plan("all", &["sso", ADDRESSES_FEATURE]),
    ];
    let apps = vec![app("a", "plain"), app("b", "some"), app("c", "all")];
    site.world
        .licensing
        .set_plans(Plans::new(plans, apps))
        .await
        .unwrap();
    for (name, granted) in [("a", true), ("b", false), ("c", true)] {
        let request = ManagementKeyRequest {
            app: Some(name.parse().unwrap()),
            allow_ips: vec!["10.0.0.0/8".parse().unwrap()],
            pair: true,
            ..ManagementKeyRequest::default()
        };
        let made = site
            .world
            .licensing
            .acting(model::Actor::OPERATOR)
            .create_management_key(request)
            .await;
        match made {
            Ok(_) => assert!(granted, "{name}"),
            Err(Error::Invalid { field, reason }) => {
                assert!(!granted && field == "allow_ips" && reason.contains(ADDRESSES_FEATURE));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn the_windows_of_the_plan_hold_all_at_once_and_the_tightest_is_told() {
    let site = Site::new().await;
    let license = site
        .world
        .issue(support::windows(&["3/1m", "4/1h"]))
        .await
        .license
        .license
        .id;
    let request = ManagementKeyRequest {
        license_id: Some(license),
        ..ManagementKeyRequest::default()
    };
    let key = site.pair(request).await.key;
    let terms = site.sessions.terms(&key).await.unwrap();
    assert_eq!(terms.rate_limits.len(), 2);
    let call = async |take: bool| {
        let told = site.sessions.allowance(&key, &terms, take).await.unwrap();
        (told.admitted, told.limit, told.remaining)
    };
    assert_eq!(call(false).await, (true, 3, 3));
    for left in [2, 1, 0] {
        assert_eq!(call(true).await, (true, 3, left));
    }
    let told = site.sessions.allowance(&key, &terms, true).await.unwrap();
    assert!(!told.admitted);
    assert_eq!(
        (told.retry_after, told.resets_at.seconds() % 60),
        (Duration::from_secs(50), 0)
    );
    site.world.advance(Duration::from_secs(50)).await;
    assert_eq!(call(true).await, (true, 4, 0));
    let told = site.sessions.allowance(&key, &terms, true).await.unwrap();
    assert_eq!(
        (told.limit, told.retry_after),
        (4, Duration::from_secs(3_540))
    );

    let unbound = site.pair(ManagementKeyRequest::default()).await.key;
    let terms = site.sessions.terms(&unbound).await.unwrap();
    assert_eq!(
        (terms.plan, terms.rate_limits[0].to_string().as_str()),
        (None, "300/1m")
    );
}

#[tokio::test]
async fn a_signing_key_may_be_rotated_while_its_tokens_live_and_withdrawn_to_end_them() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    let rotation = Rotation {
        overlap: HOUR,
        at_once: true,
        withdraw: false,
    };
    site.signing
        .rotate(SigningUse::TokensHs256, rotation, model::Actor::OPERATOR)
        .await
        .unwrap();
    let young = site.log_in(&pair).await;
    for tokens in [&tokens, &young] {
        site.judge(tokens).await.unwrap();
    }
    let withdrawal = Rotation {
        withdraw: true,
        ..rotation
    };
    site.signing
        .rotate(SigningUse::TokensHs256, withdrawal, model::Actor::OPERATOR)
        .await
        .unwrap();
    for tokens in [&tokens, &young] {
        is(site.judge(tokens).await, "InvalidToken");
    }
    let anew = site.refresh(&young).await.unwrap();
    site.judge(&anew).await.unwrap();
}

#[tokio::test]
async fn a_dead_store_is_our_fault_and_never_the_caller_s() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    let tokens = site.log_in(&pair).await;
    site.world.store.dead.store(true, Ordering::SeqCst);
    let unavailable = |result: Result<(), SessionError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, SessionError::Failed(cause) if cause.is_unavailable()),
            "{error:?}"
        );
    };
    unavailable(site.judge(&tokens).await);
    unavailable(site.try_log_in(&pair).await.map(drop));
    unavailable(site.refresh(&tokens).await.map(drop));
    site.world.store.dead.store(false, Ordering::SeqCst);
    site.refresh(&tokens).await.unwrap();
}

/// How often the store was asked for a management key.
fn asked(world: &World) -> u64 {
    world.store.management_look_ups.load(Ordering::SeqCst)
}

#[tokio::test]
async fn an_unknown_key_and_a_wrong_secret_take_the_same_way() {
    let site = Site::new().await;
    let pair = site.pair(ManagementKeyRequest::default()).await;
    let other = site.pair(ManagementKeyRequest::default()).await;
    let ended = site.pair(ManagementKeyRequest::default()).await;
    let licensing = &site.world.licensing;
    let revoked = licensing
        .acting(model::Actor::OPERATOR)
        .revoke_management_key(ended.key.id)
        .await;
    revoked.unwrap();
    let secret = |pair: &IssuedManagementKey| pair.secret.clone().unwrap();
    let unknown = Credential::generate(KeyFormat::Uuid);
    for (key, secret) in [
        (&pair.credential, secret(&other)),
        (&unknown, secret(&pair)),
        (&unknown, Credential::generate(KeyFormat::Tallygate)),
        (&ended.credential, secret(&ended)),
        (&secret(&pair), secret(&pair)),
    ] {
        for _ in 0..3 {
            let before = asked(&site.world);
            let denied = site
                .sessions
                .log_in(key.expose(), secret.expose(), HERE)
                .await;
            assert!(matches!(denied, Err(SessionError::Credentials)));
            // Nothing of a pair is cached, so that no try is faster than another.
            assert_eq!(asked(&site.world) - before, 1);
        }
    }
}

#[tokio::test]
async fn an_unknown_and_an_ended_management_key_take_the_same_way() {
    let site = Site::new().await;
    let licensing = &site.world.licensing;
    let request = ManagementKeyRequest::default();
    let ended = licensing
        .acting(model::Actor::OPERATOR)
        .create_management_key(request)
        .await
        .unwrap();
    let revoked = licensing
        .acting(model::Actor::OPERATOR)
        .revoke_management_key(ended.key.id)
        .await;
    revoked.unwrap();
    let unknown = Credential::generate(KeyFormat::Tallygate);
    for key in [&ended.credential, &unknown] {
        for look_ups in [1, 0, 0] {
            let before = asked(&site.world);
            assert_eq!(licensing.authenticate(key.expose()).await.unwrap(), None);
            assert_eq!(asked(&site.world) - before, look_ups, "once, then cached");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fingerprints_of_tokens_that_ended_long_ago_take_no_memory() {
    let site = Site::new().await;
    let (_, pair) = site.license_pair().await;
    for _ in 0..200 {
        let _ = site.log_in(&pair).await;
    }
    assert!(site.world.licensing.cache_size().fingerprints >= 200);
    site.world.advance(40 * DAY).await;
    let now = site.world.now();
    while site.world.store.sweep_sessions(now, 1_000).await.unwrap() > 0 {}
    let mut last = site.log_in(&pair).await;
    for _ in 0..99 {
        last = site.log_in(&pair).await;
    }
    // The one hundred of today, the key and the license; nothing of those two hundred.
    eventually("the old ones are forgotten", || {
        site.world.licensing.cache_size().fingerprints <= 110
    })
    .await;
    assert!(
        site.at_the_gate(&last).await.is_ok(),
        "the new ones are known"
    );
}
