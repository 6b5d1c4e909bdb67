//! Signatures of agents: vectors of others, and every way in which one of ours may fail.

use agents::web_bot_auth::{
    InvalidReason, Judgement, Request, Reuse, Rules, UnverifiedReason, Verifier,
};

use crate::support::{DIRECTORY, Directory, NOW, Signer, Vector, Vectors, at};

/// Judges all requests of a file of vectors.
fn judged(vectors: &Vectors, rules: Rules) -> Vec<(String, Judgement)> {
    let verifier = Verifier::new(rules);
    let directory = Directory::of(&vectors.key_set());
    let judge = |vector: &Vector| {
        let judgement =
            vector.with_request(|request| verifier.judge(request, &directory, at(vectors.now)));
        (vector.name.clone(), judgement)
    };
    vectors.requests.iter().map(judge).collect()
}

#[test]
fn the_vectors_of_the_draft_hold_and_are_refused_where_they_are_not_expected() {
    let vectors = Vectors::read("draft.json");
    let for_tests = Rules {
        test_keys: true,
        max_lifetime_seconds: i64::MAX,
    };
    for (name, judgement) in judged(&vectors, for_tests) {
        let Judgement::Verified(verified) = judgement else {
            panic!("{name}: {judgement:?}");
        };
        let expected = "https://signature-agent.test/.well-known/http-message-signatures-directory";
        assert_eq!(verified.directory.as_str(), expected);
        assert_eq!(verified.label, "sig2");
        assert!(verified.covers("@authority") && verified.covers("signature-agent"));
        assert!(!verified.covers("@path"));
    }
    let refused: Vec<Judgement> = judged(&vectors, Rules::default())
        .into_iter()
        .map(|(_, judgement)| judgement)
        .collect();
    // Those in the form of a dictionary live for a century; the others are by published keys.
    let (lifetime, test_key) = (InvalidReason::Lifetime, InvalidReason::TestKey);
    let expected = [lifetime, test_key, lifetime, test_key].map(Judgement::Invalid);
    assert_eq!(refused, expected);
}

#[test]
fn signatures_of_other_programs_hold() {
    for file in ["npm-web-bot-auth.json", "pypi-http-message-signatures.json"] {
        for (name, judgement) in judged(&Vectors::read(file), Rules::default()) {
            let expected = match name.as_str() {
                "no agent" => Some(Judgement::Unverified(UnverifiedReason::AgentMissing)),
                // The package does not know `;key=`, and signs another text than RFC 9421 says.
                "key of a member, signed as the whole field" => {
                    Some(Judgement::Invalid(InvalidReason::Wrong))
                }
                _ => None,
            };
            let fits = match &expected {
                Some(expected) => judgement == *expected,
                None => matches!(judgement, Judgement::Verified(_)),
            };
            assert!(fits, "{file}, {name}: {judgement:?}");
        }
    }
}

/// A change of a request that is signed as it should be, and the judgement that follows.
type Change = fn(&mut Signer);

fn judgement(change: Change) -> Judgement {
    let mut signer = Signer::new();
    change(&mut signer);
    let directory = Directory::of(&signer.key_set());
    signer.with_request(|request| Verifier::default().judge(request, &directory, at(NOW)))
}

#[test]
fn a_signature_of_ours_holds_in_every_form_that_is_taken() {
    let forms: [Change; 12] = [
        |_| (),
        |signer| signer.announce(&format!("\"{DIRECTORY}/\";type=directory")),
        |signer| signer.agent = format!("sig1=\"{DIRECTORY}\", other=\"https://other.example\""),
        |signer| {
            signer.agent = format!("\"{DIRECTORY}\"");
            signer.covers_whole_agent();
        },
        |signer| signer.covers_whole_agent(),
        |signer| signer.cover("@method", "GET"),
        |signer| signer.cover("@path", "/news"),
        |signer| signer.cover("@query", "?a=b%20c"),
        |signer| signer.cover("@target-uri", "https://api.example.com/news?a=b%20c"),
        |signer| signer.cover("user-agent", "Agent/1.0"),
        |signer| signer.authority = "API.example.com:443".to_owned(),
        |signer| signer.params = signer.params.replace("created=100", "created=105"),
    ];
    for (number, form) in forms.into_iter().enumerate() {
        let judgement = judgement(form);
        assert!(
            matches!(judgement, Judgement::Verified(_)),
            "form {number}: {judgement:?}"
        );
    }
}

#[test]
fn every_flaw_has_its_reason() {
    use InvalidReason::*;
    let flaws: [(Change, InvalidReason); 29] = [
        (
            |signer| signer.input = Some("sig1=(;tag=web-bot-auth".to_owned()),
            Malformed,
        ),
        (
            |signer| signer.signature = Some("sig1=x".to_owned()),
            Malformed,
        ),
        (
            |signer| signer.signature = Some("sig2=:AAAA:".to_owned()),
            Malformed,
        ),
        (|signer| signer.agent = "sig1=\"https".to_owned(), Malformed),
        (
            |signer| (0..40).for_each(|n| signer.cover(&format!("x-{n}"), "")),
            Malformed,
        ),
        (|signer| signer.remove("created=100"), ParameterMissing),
        (|signer| signer.remove("expires=400"), ParameterMissing),
        (
            |signer| signer.replace("created=100", "created=\"100\""),
            ParameterMissing,
        ),
        (|signer| signer.replace_key("short"), ParameterMissing),
        (
            |signer| signer.params.push_str(";alg=\"rsa-pss-sha512\""),
            Algorithm,
        ),
        (
            |signer| signer.replace("expires=400", "expires=86501"),
            Lifetime,
        ),
        (
            |signer| signer.replace("expires=400", "expires=100"),
            Lifetime,
        ),
        (
            |signer| signer.replace("created=100;expires=400", "created=10;expires=94"),
            Expired,
        ),
        (
            |signer| signer.replace("created=100", "created=106"),
            Future,
        ),
        (
            |signer| {
                signer
                    .components
                    .retain(|(name, _)| name != "\"@authority\"")
            },
            TargetNotCovered,
        ),
        (|signer| signer.components.truncate(1), AgentNotCovered),
        (
            |signer| signer.agent = format!("sig1=\"{}\"", DIRECTORY.replace("https", "http")),
            AgentUrl,
        ),
        (
            |signer| signer.agent = format!("sig1=\"{DIRECTORY}/keys\""),
            AgentUrl,
        ),
        (|signer| signer.agent = "sig1=5".to_owned(), AgentUrl),
        (
            |signer| {
                signer.agent = format!("a=\"{DIRECTORY}\", b=\"https://other.example\"");
                signer.covers_whole_agent();
            },
            AgentAmbiguous,
        ),
        (
            |signer| signer.cover("@authority", "api.example.com"),
            ComponentTwice,
        ),
        (|signer| signer.cover("x-missing", ""), ComponentMissing),
        (
            |signer| signer.components[1].0 = "\"signature-agent\";key=\"other\"".to_owned(),
            ComponentMissing,
        ),
        (|signer| signer.cover("User-Agent", "Agent/1.0"), Malformed),
        (|signer| signer.cover("@method", "POST"), Wrong),
        (|signer| signer.cover("user-agent", "Agent/1.1"), Wrong),
        (
            |signer| signer.authority = "other.example.com".to_owned(),
            Wrong,
        ),
        (
            |signer| signer.agent = "sig1=\"https://other.example\"".to_owned(),
            Wrong,
        ),
        (
            |signer| signer.key_fields = ",\"exp\":100".to_owned(),
            KeyExpired,
        ),
    ];
    for (number, (flaw, reason)) in flaws.into_iter().enumerate() {
        assert_eq!(judgement(flaw), Judgement::Invalid(reason), "flaw {number}");
    }
}

#[test]
fn what_cannot_be_judged_is_unverified() {
    use UnverifiedReason::*;
    let cases: [(Change, UnverifiedReason); 6] = [
        (
            |signer| signer.params.push_str(";alg=\"ecdsa-p256-sha256\""),
            Algorithm,
        ),
        (
            |signer| {
                signer.agent.clear();
                signer.components.truncate(1);
            },
            AgentMissing,
        ),
        (
            |signer| signer.agent = format!("sig1=\"{DIRECTORY}\";type=cimd"),
            AgentType,
        ),
        (
            |signer| {
                signer
                    .components
                    .push(("\"user-agent\";bs".to_owned(), ":AA==:".to_owned()))
            },
            Component,
        ),
        (|signer| signer.cover("@status", "200"), Component),
        (
            |signer| signer.key_fields = ",\"use\":\"enc\"".to_owned(),
            KeyUnknown,
        ),
    ];
    for (case, reason) in cases {
        assert_eq!(judgement(case), Judgement::Unverified(reason));
    }
    let signer = Signer::new();
    let unknown = signer
        .with_request(|request| Verifier::default().judge(request, &Directory::Unknown, at(NOW)));
    assert_eq!(unknown, Judgement::Unverified(DirectoryUnknown));
    let failed = signer
        .with_request(|request| Verifier::default().judge(request, &Directory::Failed, at(NOW)));
    assert_eq!(failed, Judgement::Unverified(DirectoryFailed));
    let refused = signer
        .with_request(|request| Verifier::default().judge(request, &Directory::Refused, at(NOW)));
    assert_eq!(refused, Judgement::Unverified(DirectoryRefused));
    let full = Verifier::with_memory(Rules::default(), Reuse::with_room_for(0));
    let directory = Directory::of(&signer.key_set());
    let untold = signer.with_request(|request| full.judge(request, &directory, at(NOW)));
    assert_eq!(untold, Judgement::Unverified(NoRoom));
}

#[test]
fn requests_without_a_signature_of_an_agent_are_unsigned_whatever_they_have_instead() {
    let others: [Change; 4] = [
        |signer| signer.input = Some(String::new()),
        |signer| signer.input = Some("t=1,v1=abc".to_owned()),
        |signer| signer.replace("web-bot-auth", "other"),
        |signer| signer.input = Some("sig1=(\"@authority\");created=1".to_owned()),
    ];
    for other in others {
        assert_eq!(judgement(other), Judgement::Unsigned);
    }
}

#[test]
fn a_signature_and_a_nonce_are_good_once() {
    let verifier = Verifier::default();
    let mut signer = Signer::new();
    signer.params.push_str(";nonce=\"n1\"");
    let directory = Directory::of(&signer.key_set());
    let judge = |signer: &Signer| {
        signer.with_request(|request| verifier.judge(request, &directory, at(NOW)))
    };
    assert!(matches!(judge(&signer), Judgement::Verified(_)));
    let again = judge(&signer);
    assert_eq!(again, Judgement::Invalid(InvalidReason::Reused));
    assert_eq!(again.status(), Some(429));
    // Another signature with the same nonce, then one with another nonce.
    signer.replace("created=100", "created=101");
    assert_eq!(judge(&signer), Judgement::Invalid(InvalidReason::Reused));
    // The id of a key may hold any letters: only the parameter is changed.
    signer.replace("nonce=\"n1\"", "nonce=\"n2\"");
    assert!(matches!(judge(&signer), Judgement::Verified(_)));
    let malformed = Judgement::Invalid(InvalidReason::Malformed);
    assert_eq!(malformed.status(), Some(400));
}

#[test]
fn of_two_signatures_one_that_holds_is_enough() {
    let signer = Signer::new();
    let directory = Directory::of(&signer.key_set());
    let own = signer.input();
    let both = format!(
        "other=(\"@authority\");created=1;expires=2;keyid=\"x\";tag=\"web-bot-auth\", {own}"
    );
    let mut two = signer;
    two.signature = Some(format!("other=:AAAA:, {}", two.signed()));
    two.input = Some(both);
    let judgement =
        two.with_request(|request| Verifier::default().judge(request, &directory, at(NOW)));
    assert!(matches!(judgement, Judgement::Verified(_)), "{judgement:?}");
}

#[test]
fn a_malformed_signature_does_not_spoil_one_that_holds_beside_it() {
    let signer = Signer::new();
    let directory = Directory::of(&signer.key_set());
    let mut two = signer;
    // The other has no bytes of its own.
    two.input = Some(format!(
        "other=(\"@authority\");tag=\"web-bot-auth\", {}",
        two.input()
    ));
    let judge = |signer: &Signer| {
        signer.with_request(|request| Verifier::default().judge(request, &directory, at(NOW)))
    };
    let judgement = judge(&two);
    assert!(matches!(judgement, Judgement::Verified(_)), "{judgement:?}");
    two.signature = Some("sig1=:AAAA:".to_owned());
    let malformed = Judgement::Invalid(InvalidReason::Malformed);
    assert_eq!(judge(&two), malformed);
}

#[test]
fn a_request_is_for_a_site_by_its_names_alone() {
    let is_for = |authority: &str, own: &[&str]| {
        let request = Request {
            method: "GET",
            scheme: "https",
            authority,
            path: "/",
            query: None,
            fields: &[],
        };
        request.is_for(own.iter().copied())
    };
    let own = ["api.example.com", "[2001:db8::1]"];
    for authority in [
        "api.example.com",
        "API.example.com:8443",
        "[2001:db8::1]",
        "[2001:db8::1]:443",
    ] {
        assert!(is_for(authority, &own), "{authority}");
        assert!(!is_for(authority, &[]), "{authority}");
    }
    for other in [
        "",
        "other.example.com",
        "api.example.com.",
        "api.example.com.evil.example",
        "api.example.com:x",
        "example.com",
    ] {
        assert!(!is_for(other, &own), "{other}");
    }
}
