//! The client against receivers that answer, fail, hang, drip, redirect and lie about their names.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use model::{Credential, KeyFormat};
use rustls::{ClientConfig, RootCertStore};
use testkit::{Manner, Receiver};
use webhooks::{
    Answer, Client, ClientOptions, Message, Resolve, SystemResolver, Target, TargetRules,
};

const ALL: TargetRules = TargetRules {
    allow_private: true,
    allow_plain: true,
};
/// Public names alone, but without TLS.
const PUBLIC: TargetRules = TargetRules {
    allow_private: false,
    allow_plain: true,
};

fn tls() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn client(rules: TargetRules, resolver: impl Resolve, timeout: Duration) -> Client {
    Client::new(Arc::new(resolver), tls(), ClientOptions { rules, timeout })
}

fn message() -> Message {
    Message {
        headers: vec![("webhook-id", "evt_1".to_owned())],
        body: br#"{"type":"webhook.test"}"#.to_vec(),
    }
}

async fn post(receiver: &Receiver, timeout: Duration) -> Answer {
    let target = Target::parse(&receiver.url("/hook?a=b"), ALL).expect("valid");
    client(ALL, SystemResolver, timeout)
        .post(&target, message())
        .await
}

const SOON: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_body_and_headers_and_its_answer_is_kept() {
    let receiver = Receiver::start();
    receiver.behave(Manner::Answer(201, "thank\u{7} you".to_owned()));
    let answer = post(&receiver, LATE).await;
    assert!(answer.took());
    assert_eq!(
        (answer.status, answer.kept().as_str()),
        (Some(201), "thank  you")
    );
    let got = receiver.wait_for(1).remove(0);
    assert_eq!(got.target, "/hook?a=b");
    assert_eq!(got.header("webhook-id"), Some("evt_1"));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(
        got.header("host"),
        Some(receiver.addr().to_string().as_str())
    );
    assert_eq!(got.json()["type"], "webhook.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_answer_the_beginning_is_kept_and_a_failure_is_none_taken() {
    let receiver = Receiver::start();
    receiver.behave(Manner::Answer(500, "é".repeat(5_000)));
    let answer = post(&receiver, LATE).await;
    assert!(!answer.took());
    assert_eq!(answer.status, Some(500));
    let kept = answer.kept();
    assert!(kept.len() <= Answer::MAX_BYTES && kept.len() > 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_the_end_of_what_is_kept_cuts_is_masked() {
    let receiver = Receiver::start();
    let key = Credential::generate(KeyFormat::Tallygate);
    for kept_of_it in [16, 24, 30] {
        let before = "x".repeat(Answer::MAX_BYTES - kept_of_it - 1);
        receiver.behave(Manner::Answer(500, format!("{before} {}", key.expose())));
        let kept = post(&receiver, LATE).await.kept();
        assert!(kept.contains('…'), "{kept}");
        assert!(!kept.contains(&key.expose()[..14]), "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirection_is_an_answer_and_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start(), Receiver::start());
    receiver.behave(Manner::Redirect(elsewhere.url("/")));
    let answer = post(&receiver, LATE).await;
    assert_eq!((answer.status, answer.took()), (Some(302), false));
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_or_never_ends_a_head_is_left_in_time() {
    let receiver = Receiver::start();
    for manner in [Manner::Hang, Manner::EndlessHead] {
        receiver.behave(manner);
        let begun = Instant::now();
        let answer = post(&receiver, SOON).await;
        assert_eq!(answer.status, None, "{answer:?}");
        assert!(answer.text.contains("no answer within 400ms"), "{answer:?}");
        assert!(begun.elapsed() < LATE / 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_counts_although_its_body_drips_or_nothing_was_read() {
    let receiver = Receiver::start();
    receiver.behave(Manner::Drip);
    let begun = Instant::now();
    let answer = post(&receiver, LATE).await;
    assert!(answer.took() && answer.text.starts_with("xx"), "{answer:?}");
    assert!(begun.elapsed() < LATE / 2, "the body is given a second");
    receiver.behave(Manner::Unread);
    assert!(post(&receiver, LATE).await.took());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_or_a_port_where_nobody_listens_is_a_failure_in_words() {
    let receiver = Receiver::start();
    receiver.behave(Manner::Close);
    let answer = post(&receiver, LATE).await;
    assert_eq!(
        answer.text,
        "the receiver ended the connection without an answer"
    );
    let gone = testkit::port::Port::take();
    let target = Target::parse(&format!("http://127.0.0.1:{}/", gone.number()), ALL);
    let answer = client(ALL, SystemResolver, LATE)
        .post(&target.expect("valid"), message())
        .await;
    assert!(answer.text.ends_with("nobody listens there"), "{answer:?}");
}

/// A resolver whose name is public when it is judged for the first time, and private from the
/// second look-up on.
struct Rebinding(AtomicUsize);

#[async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let public: IpAddr = "192.0.1.1".parse().expect("an address");
        let private: IpAddr = "127.0.0.1".parse().expect("an address");
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(vec![if first { public } else { private }])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_turns_private_is_looked_up_and_refused_at_each_delivery() {
    let receiver = Receiver::start();
    let url = format!("http://hooks.example.com:{}/", receiver.addr().port());
    let target = Target::parse(&url, PUBLIC).expect("valid");
    let client = client(PUBLIC, Rebinding(AtomicUsize::new(0)), SOON);
    assert!(client.may_reach(&target).await, "public at registration");
    let answer = client.post(&target, message()).await;
    assert_eq!(answer.status, None);
    assert!(
        answer.text.contains("no address on the public internet"),
        "{answer:?}"
    );
    assert!(!client.may_reach(&target).await);
    assert_eq!(receiver.count(), 0);
}

/// A resolver that gives both, as one does that hopes for the second to be tried.
struct Both;

#[async_trait]
impl Resolve for Both {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let all = ["192.0.1.1", "127.0.0.1", "::ffff:127.0.0.1"];
        Ok(all
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_goes_to_an_address_that_was_judged_and_to_no_other() {
    let receiver = Receiver::start();
    let url = format!("http://hooks.example.com:{}/", receiver.addr().port());
    let target = Target::parse(&url, PUBLIC).expect("valid");
    let answer = client(PUBLIC, Both, SOON).post(&target, message()).await;
    assert_eq!(answer.status, None, "{answer:?}");
    assert_eq!(receiver.count(), 0);
}
