//! What strangers send, changed at any place: nothing panics, and nothing holds that was not signed
//! or asked.

use agents::payment::x402::{Payment, Terms};
use agents::web_bot_auth::{Judgement, KeySet, Verifier};
use agents::{KnownAgents, Recognizer};
use proptest::prelude::*;

use crate::support::{Directory, NOW, Signer, at};

/// Returns a text in which some bytes at a place are others.
fn spliced(text: &str, at: prop::sample::Index, length: usize, bytes: &[u8]) -> Vec<u8> {
    let from = at.index(text.len() + 1);
    let to = (from + length).min(text.len());
    [&text.as_bytes()[..from], bytes, &text.as_bytes()[to..]].concat()
}

/// Bytes that fields of signatures are made of, and any others.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let of_fields = prop::sample::select(&b"()\";=:, \t\\@*?-0123456789abcdefsig1created"[..]);
    prop_oneof![
        prop::collection::vec(of_fields, 0..12),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

/// The name of a fuzz target, and the function that it calls.
type Target = (&'static str, fn(&[u8]));

/// Gives the seeds of a fuzz target to its function.
fn seeds(target: &str, exercise: fn(&[u8])) -> Vec<Vec<u8>> {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(&folder).expect(&folder);
    let read = entries.map(|entry| std::fs::read(entry.expect("an entry").path()));
    let seeds: Vec<Vec<u8>> = read.map(|seed| seed.expect("a seed")).collect();
    seeds.iter().for_each(|seed| exercise(seed));
    seeds
}

#[test]
fn every_seed_of_the_fuzz_targets_holds() {
    let signatures = seeds("signature", agents::web_bot_auth::exercise);
    let payments = seeds("payment", agents::payment::x402::exercise);
    assert!(!signatures.is_empty() && !payments.is_empty());
}

proptest! {
    #[test]
    fn a_changed_seed_of_a_fuzz_target_holds(
        which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), length in 0..12_usize,
        piece in pieces(),
    ) {
        let targets: [Target; 2] = [
            ("signature", agents::web_bot_auth::exercise),
            ("payment", agents::payment::x402::exercise),
        ];
        for (target, exercise) in targets {
            let seeds = seeds(target, |_| ());
            let seed = String::from_utf8(which.get(&seeds).clone()).expect("text");
            exercise(&spliced(&seed, place, length, &piece));
        }
    }

    #[test]
    fn a_field_of_a_signature_that_was_changed_never_holds_as_something_else(
        field in 0..3_usize, place in any::<prop::sample::Index>(), length in 0..12_usize, piece in pieces(),
    ) {
        let mut signer = Signer::new();
        let fields = [signer.input(), signer.signed(), signer.agent.clone()];
        let changed = spliced(&fields[field], place, length, &piece);
        let Ok(changed) = String::from_utf8(changed) else { return Ok(()) };
        match field {
            0 => {
                signer.signature = Some(fields[1].clone());
                signer.input = Some(changed);
            }
            1 => signer.signature = Some(changed),
            _ => signer.agent = changed,
        }
        let directory = Directory::of(&signer.key_set());
        let judgement = signer.with_request(|request| {
            Verifier::default().judge(request, &directory, at(NOW))
        });
        // Blanks may come and go, and a member of somebody else's beside.
        if let Judgement::Verified(verified) = judgement {
            prop_assert!(verified.directory.as_str().starts_with("https://agent.example/"));
            prop_assert!(verified.covers("@authority") && verified.covers("signature-agent"));
        }
    }

    #[test]
    fn any_bytes_are_no_payment_no_directory_and_no_known_agents(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Payment::read(&bytes, "https://a.example/", &[]).is_err());
        let _ = KeySet::read(&bytes);
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert!(KnownAgents::read("agents.toml", text).is_err());
        }
    }

    #[test]
    fn a_changed_payment_pays_what_was_asked_or_nothing(
        place in any::<prop::sample::Index>(), length in 0..20_usize, piece in pieces(),
    ) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/x402-fetch.json");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?).expect(path);
        let header = file["payment_signature"].as_str().expect("a header");
        let terms = Terms {
            network: "eip155:84532".to_owned(),
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
            currency: "USD".parse().expect("valid"),
            decimals: 6,
            pay_to: "0x209693Bc6afc0C5328bA36FaF03C514EF312287C".to_owned(),
            max_timeout_seconds: 300,
            extra: serde_json::Map::new(),
        };
        let asked = terms.require("USD 0.01".parse().expect("a price")).expect("whole atoms");
        let changed = spliced(header, place, length, &piece);
        let url = "https://news.example.com/article?id=7";
        if let Ok(payment) = Payment::read(&changed, url, std::slice::from_ref(&asked)) {
            prop_assert_eq!(payment.requirements(), &asked);
            let value = payment.payload().pointer("/payload/authorization/value");
            prop_assert_eq!(value.and_then(|value| value.as_str()), Some("10000"));
        }
    }

    #[test]
    fn any_user_agent_is_recognized_alike_with_and_without_the_cache(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let recognizer = Recognizer::new(KnownAgents::read("agents.toml", ONE).expect("valid"));
        let text = [b" GPTBot ", bytes.as_slice()].concat();
        for _ in 0..2 {
            prop_assert!(recognizer.recognize(&text).is_some());
        }
        let _ = recognizer.recognize(&bytes);
    }
}

const ONE: &str = r#"[[agent]]
operator = "OpenAI"
agent = "GPTBot"
purpose = "training"
page = "https://platform.openai.com/docs/bots"
verify = "addresses"
patterns = ["GPTBot"]
vat = "AI_AGENT"
act = "ACT-1"
"#;

#[test]
fn deep_nests_are_refused() {
    for text in [
        format!("agent = {}", "[".repeat(20_000)),
        format!("agent{} = 1", ".a".repeat(20_000)),
        "[".repeat(20_000),
    ] {
        assert!(KnownAgents::read("agents.toml", &text).is_err());
    }
    let nest = "[".repeat(20_000);
    assert!(KeySet::read(nest.as_bytes()).is_err());
}
