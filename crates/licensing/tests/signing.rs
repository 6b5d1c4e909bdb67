//! Signing keys: shared by the gates of a store, rotated with an overlap, and believed only as far as they go.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use licensing::signing::{Rotation, STAMP_TYPE, StampFault, TokenFault, TokenTerms};
use licensing::{Error, Keyring, KeyringSecret, Signing};
use model::{ManualClock, SigningKeyState, SigningUse};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Map, Value, json};
use store::{ManagementStore, SqliteOptions, SqliteStore};
use tempfile::TempDir;

struct Site {
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

const SECRET: KeyringSecret<'static> = KeyringSecret::Configured("a secret of the operator");
const HOUR: Duration = Duration::from_secs(3_600);

fn site() -> Site {
    let directory = tempfile::tempdir().unwrap();
    Site {
        store: Arc::new(SqliteStore::open(SqliteOptions::new(directory.path())).unwrap()),
        clock: Arc::new(ManualClock::at("2026-03-01T00:00:00Z".parse().unwrap())),
        _directory: directory,
    }
}

impl Site {
    async fn gate(&self) -> Arc<Signing> {
        self.try_gate(SECRET).await.unwrap()
    }

    async fn try_gate(&self, secret: KeyringSecret<'_>) -> Result<Arc<Signing>, Error> {
        let keyring = Keyring::load(&*self.store, secret).await?;
        Signing::open(self.store.clone(), keyring, self.clock.clone()).await
    }
}

fn terms() -> TokenTerms {
    TokenTerms {
        issuer: "here".to_owned(),
        audience: "api".to_owned(),
    }
}

/// Claims that are valid for an hour from the site's beginning.
fn claims() -> Value {
    json!({"iss": "here", "aud": "api", "nbf": 1_772_323_200, "exp": 1_772_326_800, "sub": "me"})
}

fn rotation(overlap: Duration) -> Rotation {
    Rotation {
        overlap,
        at_once: false,
        withdraw: false,
    }
}

fn members(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn part(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// A token with these parts, signed as the test likes.
fn forge(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn gates_of_a_store_have_one_set_of_keys_however_they_start() {
    let site = site();
    let (one, two, three) = tokio::join!(site.gate(), site.gate(), site.gate());
    assert_eq!(one.keys(), two.keys());
    assert_eq!(one.keys(), three.keys());
    assert_eq!(one.keys().len(), 4);
    assert!(
        one.keys()
            .iter()
            .all(|key| key.state == SigningKeyState::Signing)
    );
    for signing_use in [SigningUse::Tokens, SigningUse::TokensHs256] {
        let token = one.sign_token(signing_use, &claims());
        assert_eq!(two.verify_token::<Value>(&token, &terms()), Ok(claims()));
    }
}

#[tokio::test]
async fn keys_lie_sealed_and_open_with_the_secret_alone() {
    let site = site();
    let gate = site.gate().await;
    let name = "keyring/signing/stamps/1";
    let sealed = site.store.setting(name).await.unwrap().unwrap();
    assert!(sealed.windows(5).any(|window| window == b"TGK1s"));
    let wrong = site.try_gate(KeyringSecret::Configured("another")).await;
    assert!(matches!(wrong, Err(Error::SecretWrong(_))), "{wrong:?}");
    assert!(!format!("{gate:?} {:?}", gate.keys()).contains("TGK1"));
}

#[tokio::test]
async fn a_key_that_was_put_there_without_the_secret_is_not_believed() {
    let site = site();
    site.gate().await;
    let first = site
        .store
        .setting("keyring/signing/tokens/1")
        .await
        .unwrap()
        .unwrap();
    let end = first.iter().position(|byte| *byte == b'\n').unwrap();
    let unsealed = [&first[..=end], b"TGK1u", &[7; 32]].concat();
    site.store
        .put_if_absent(
            "keyring/signing/tokens/2",
            unsealed,
            store::AuditEntries::none(),
        )
        .await
        .unwrap();
    assert!(matches!(
        site.try_gate(SECRET).await,
        Err(Error::KeyringMalformed)
    ));
    // A sealed one under another number is not taken either: what is said of it belongs to it.
    let site = self::site();
    site.gate().await;
    let first = site
        .store
        .setting("keyring/signing/tokens/1")
        .await
        .unwrap()
        .unwrap();
    site.store
        .put_if_absent(
            "keyring/signing/tokens/2",
            first,
            store::AuditEntries::none(),
        )
        .await
        .unwrap();
    assert!(matches!(
        site.try_gate(SECRET).await,
        Err(Error::SecretWrong(_))
    ));
}

#[tokio::test]
async fn a_rotation_overlaps_and_is_followed_by_other_gates() {
    let site = site();
    let (one, two) = (site.gate().await, site.gate().await);
    let old = one.sign_token(SigningUse::Tokens, &claims());
    let new = one
        .rotate(
            SigningUse::Tokens,
            rotation(HOUR / 2),
            model::Actor::OPERATOR,
        )
        .await
        .unwrap();
    assert_eq!(new.state, SigningKeyState::Next);
    let kid = |token: &str| part(token.split('.').next().unwrap())["kid"].clone();
    assert_eq!(
        kid(&one.sign_token(SigningUse::Tokens, &claims())),
        kid(&old)
    );
    assert_eq!(
        one.jwks().keys.len(),
        4,
        "the next key is published before it signs"
    );
    let again = one
        .rotate(SigningUse::Tokens, rotation(HOUR), model::Actor::OPERATOR)
        .await;
    assert!(
        matches!(again, Err(Error::RotationUnderWay { .. })),
        "{again:?}"
    );

    site.clock.advance(Signing::LEAD);
    two.refresh().await.unwrap();
    let young = two.sign_token(SigningUse::Tokens, &claims());
    assert_eq!(kid(&young), new.id.to_string());
    for gate in [&one, &two] {
        assert!(gate.verify_token::<Value>(&old, &terms()).is_ok());
        assert!(gate.verify_token::<Value>(&young, &terms()).is_ok());
    }
    site.clock.advance(HOUR / 2);
    assert_eq!(
        one.verify_token::<Value>(&old, &terms()),
        Err(TokenFault::Invalid)
    );
    assert!(one.verify_token::<Value>(&young, &terms()).is_ok());
    assert_eq!(
        one.jwks().keys.len(),
        3,
        "a retired key for tokens is no longer published"
    );
}

#[tokio::test]
async fn gates_that_rotate_at_once_make_one_key() {
    let site = site();
    let (one, two) = (site.gate().await, site.gate().await);
    let (left, right) = tokio::join!(
        one.rotate(SigningUse::Stamps, rotation(HOUR), model::Actor::OPERATOR),
        two.rotate(SigningUse::Stamps, rotation(HOUR), model::Actor::OPERATOR),
    );
    let ids: Vec<_> = [left, right]
        .into_iter()
        .flatten()
        .map(|key| key.id)
        .collect();
    assert!(
        !ids.is_empty() && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert_eq!(site.gate().await.keys().len(), 5);
}

#[tokio::test]
async fn a_withdrawal_ends_what_the_keys_before_it_signed() {
    let site = site();
    let gate = site.gate().await;
    let token = gate.sign_token(SigningUse::TokensHs256, &claims());
    let stamp = gate.sign_stamp(&members(json!({"a": 1})));
    for signing_use in [SigningUse::TokensHs256, SigningUse::Stamps] {
        let demand = Rotation {
            withdraw: true,
            ..rotation(HOUR)
        };
        let new = gate
            .rotate(signing_use, demand, model::Actor::OPERATOR)
            .await
            .unwrap();
        assert_eq!(new.state, SigningKeyState::Signing);
    }
    assert_eq!(
        gate.verify_token::<Value>(&token, &terms()),
        Err(TokenFault::Invalid)
    );
    assert_eq!(gate.verify_stamp(&stamp), Err(StampFault::Withdrawn));
    let (kid, jwks) = (
        part(stamp.split('.').next().unwrap())["kid"].clone(),
        gate.jwks(),
    );
    assert!(jwks.keys.iter().all(|key| kid != key.kid.as_str()));
    let stamp = gate.sign_stamp(&members(json!({"a": 1})));
    assert!(gate.verify_stamp(&stamp).is_ok());
}

#[tokio::test]
async fn a_stamp_is_verified_offline_with_nothing_but_the_published_keys() {
    let site = site();
    let gate = site.gate().await;
    let content = members(
        json!({"status": 200, "call_id": "c", "api": {"z": 1, "a": [1, {"y": 1, "b": 2}]}}),
    );
    let stamp = gate.sign_stamp(&content);
    let parts: Vec<_> = stamp.split('.').collect();
    let header = part(parts[0]);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&STAMP_TYPE.into(), &"EdDSA".into())
    );
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"api":{"a":[1,{"b":2,"y":1}],"z":1},"call_id":"c","status":200}"#
    );

    let jwks = serde_json::to_value(gate.jwks()).unwrap();
    let key = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    assert_eq!(
        (&key["kty"], &key["crv"], &key["use"]),
        (&"OKP".into(), &"Ed25519".into(), &"sig".into())
    );
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let message = format!("{}.{}", parts[0], parts[1]);
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message.as_bytes(), &signature)
        .unwrap();

    assert_eq!(gate.verify_stamp(&stamp), Ok(content));
    gate.rotate(
        SigningUse::Stamps,
        Rotation {
            at_once: true,
            ..rotation(Duration::ZERO)
        },
        model::Actor::OPERATOR,
    )
    .await
    .unwrap();
    assert!(
        gate.verify_stamp(&stamp).is_ok(),
        "a stamp is read long after its key retired"
    );
    let kids: Vec<_> = gate.jwks().keys.into_iter().map(|key| key.kid).collect();
    assert!(kids.iter().any(|kid| header["kid"] == kid.as_str()));
}

#[tokio::test]
async fn the_published_set_holds_no_secret() {
    let site = site();
    let gate = site.gate().await;
    let jwks = serde_json::to_string(&gate.jwks()).unwrap();
    let secret = gate
        .keys()
        .into_iter()
        .find(|key| key.signing_use == SigningUse::TokensHs256)
        .unwrap();
    assert_eq!(secret.public_key, None);
    assert!(
        !jwks.contains(&secret.id.to_string()) && !jwks.contains("oct") && !jwks.contains("\"d\"")
    );
    // Those for stamps, for tokens and for assertions.
    assert_eq!(gate.jwks().keys.len(), 3);
}

#[tokio::test]
async fn a_token_is_believed_from_nbf_until_the_second_of_exp_without_leeway() {
    let site = site();
    let gate = site.gate().await;
    let early =
        json!({"iss": "here", "aud": ["other", "api"], "nbf": 1_772_323_201, "exp": 1_772_323_203});
    let token = gate.sign_token(SigningUse::TokensHs256, &early);
    let second = Duration::from_secs(1);
    let verify = || gate.verify_token::<Value>(&token, &terms()).map(drop);
    assert_eq!(verify(), Err(TokenFault::NotYet));
    site.clock.advance(second);
    assert_eq!(verify(), Ok(()));
    site.clock.advance(second);
    assert_eq!(verify(), Ok(()));
    site.clock.advance(second);
    assert_eq!(verify(), Err(TokenFault::Expired));
}

#[tokio::test]
async fn every_claim_is_asked_for_and_checked() {
    let site = site();
    let gate = site.gate().await;
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let cases = [
        without("iss"),
        without("aud"),
        without("nbf"),
        without("exp"),
        with("iss", "there".into()),
        with("aud", "other".into()),
        with("aud", json!([])),
        with("exp", "1772326800".into()),
        with("exp", json!(1e300)),
        with("exp", json!(-1)),
        with("nbf", json!(null)),
    ];
    for claims in cases {
        let token = gate.sign_token(SigningUse::Tokens, &claims);
        assert!(
            gate.verify_token::<Value>(&token, &terms()).is_err(),
            "{claims} was believed"
        );
    }
}

#[tokio::test]
async fn no_forgery_is_believed() {
    let site = site();
    let gate = site.gate().await;
    let token = gate.sign_token(SigningUse::Tokens, &claims());
    let header = part(token.split('.').next().unwrap());
    let public = gate
        .keys()
        .into_iter()
        .find(|key| header["kid"] == key.id.to_string())
        .unwrap();
    let public = public.public_key.unwrap();
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let mine = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let my_jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(mine.public_key().as_ref())});
    let by_me = |message: &[u8]| mine.sign(message).as_ref().to_vec();
    let nothing = |_: &[u8]| Vec::new();
    let by_public = |message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &public);
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let stamp = gate.sign_stamp(&members(claims()));
    let hs256 = gate
        .keys()
        .into_iter()
        .find(|key| key.signing_use == SigningUse::TokensHs256)
        .unwrap();
    let forged = [
        forge(&with("alg", "none".into()), &claims(), nothing),
        forge(&with("alg", "None".into()), &claims(), nothing),
        forge(&json!({"alg": "none", "typ": "JWT"}), &claims(), nothing),
        // The public key as if it were the secret of an HMAC.
        forge(&with("alg", "HS256".into()), &claims(), by_public),
        forge(&with("alg", "HS512".into()), &claims(), by_public),
        forge(&header, &claims(), by_public),
        // A key of ours, by another algorithm than its own.
        forge(&with("kid", hs256.id.to_string().into()), &claims(), by_me),
        forge(
            &json!({"alg": "HS256", "typ": "JWT", "kid": hs256.id}),
            &claims(),
            by_public,
        ),
        forge(
            &json!({"alg": "HS256", "typ": "JWT", "kid": hs256.id}),
            &claims(),
            nothing,
        ),
        // Keys of the forger's own, brought along.
        forge(&header, &claims(), by_me),
        forge(&with("jwk", my_jwk.clone()), &claims(), by_me),
        forge(
            &with("jku", "https://evil.test/jwks.json".into()),
            &claims(),
            by_me,
        ),
        forge(
            &with("x5u", "https://evil.test/cert.pem".into()),
            &claims(),
            by_me,
        ),
        forge(&with("x5c", json!(["AAAA"])), &claims(), by_me),
        forge(
            &with("kid", "sgk_00000000000000000000000000000001".into()),
            &claims(),
            by_me,
        ),
        forge(&with("kid", "../../etc/passwd".into()), &claims(), by_me),
        forge(&with("kid", json!(null)), &claims(), by_me),
        forge(&with("kid", json!(7)), &claims(), by_me),
        stamp,
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{token}."),
        format!("{token}.{token}"),
        token.replace('.', ""),
        "x".repeat(100_000),
        "[".repeat(4_000),
    ];
    for text in forged {
        let result = gate.verify_token::<Value>(&text, &terms());
        assert_eq!(result, Err(TokenFault::Invalid), "{text:.200}");
    }
    assert!(gate.verify_token::<Value>(&token, &terms()).is_ok());
}

#[tokio::test]
async fn a_changed_byte_anywhere_ends_a_token_and_a_stamp() {
    let site = site();
    let gate = site.gate().await;
    let stamp = gate.sign_stamp(&members(claims()));
    let tokens =
        [SigningUse::Tokens, SigningUse::TokensHs256].map(|of| gate.sign_token(of, &claims()));
    let changed = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for token in &tokens {
        for at in 0..token.len() {
            let text = changed(token, at);
            assert_eq!(
                gate.verify_token::<Value>(&text, &terms()),
                Err(TokenFault::Invalid),
                "{at}"
            );
        }
    }
    for at in 0..stamp.len() {
        assert_eq!(
            gate.verify_stamp(&changed(&stamp, at)),
            Err(StampFault::Invalid),
            "{at}"
        );
    }
    assert_eq!(
        gate.verify_stamp(&tokens[0]),
        Err(StampFault::Invalid),
        "a token is no stamp"
    );
}
