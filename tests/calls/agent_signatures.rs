//! Agents that sign their requests (Web Bot Auth): whose signature counts, and what a directory of keys may be.

use std::fs;
use std::time::Instant;

use testkit::client::{Request, Response};
use testkit::{App, Config, Gateway, Upstream, assert_eventually, binary};

use crate::support::agents::{DirectoryServer, FIRST_SIGHT, Signer, Terms, answer};

const AGENT: &str = "AcmeBot/1.0";

/// A gate whose list knows AcmeBot, with a rule that lets it in where it is verified, and sends it away where it is not.
struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    server: DirectoryServer,
    signer: Signer,
}

impl Scene {
    fn new(terms: &str) -> Self {
        Self::with(terms, "private_agent_directories = true")
    }

    fn with(terms: &str, server_line: &str) -> Self {
        let (upstream, server) = (Upstream::start(), DirectoryServer::start());
        let app = App::new("api", &upstream.url())
            .route("/open", &["access = \"open\""])
            .table(&format!("[app.agents]\n{terms}"));
        let config = Config::default()
            .server("known_agents = \"agents.toml\"")
            .server(server_line)
            .app(app);
        let mut gateway = Gateway::prepare(binary!(), config);
        let list = format!(
            "[[agent]]\noperator = \"Acme\"\nagent = \"AcmeBot\"\npurpose = \"data\"\npage = \"https://acme.example/\"\n\
             verify = \"signature\"\ndirectory = \"{}\"\npatterns = [\"AcmeBot\"]\n",
            server.origin
        );
        fs::write(gateway.config_path().with_file_name("agents.toml"), list)
            .expect("it can be written");
        let certificate = server.certificate();
        gateway.env("SSL_CERT_FILE", certificate.to_str().expect("text"));
        gateway.restart();
        for (access, verified) in [("deny", None), ("allow", Some("--verified"))] {
            let rule = [
                "agent",
                "set",
                "--operator",
                "Acme",
                "--agent",
                "AcmeBot",
                "--access",
                access,
            ];
            let _ = gateway
                .cli()
                .text(&[&rule[..], verified.as_slice()].concat());
        }
        let signer = Signer::new(&server.origin);
        Self {
            gateway,
            upstream,
            server,
            signer,
        }
    }

    fn call(&self, terms: &Terms) -> Response {
        self.gateway.call(&self.signer.sign(unsigned(), terms))
    }

    /// Checks that a call is sent away with a word for its signature.
    fn is_refused(&self, terms: &Terms, fault: &str) {
        let response = self.call(terms);
        assert_eq!(
            response.refusal_code().as_deref(),
            Some("agent_denied"),
            "{fault}: {response:?}"
        );
        assert_eq!(response.json()["signature"], fault, "{response:?}");
    }
}

fn unsigned() -> Request {
    Request::get("/open").header("User-Agent", AGENT)
}

#[test]
fn a_signature_by_the_own_directory_verifies_an_agent_at_first_sight_and_passes_on() {
    let scene = Scene::new("");
    scene.server.publish(&scene.signer.key_set());
    let refused = scene.gateway.call(&unsigned());
    assert_eq!(
        refused.refusal_code().as_deref(),
        Some("agent_denied"),
        "{refused:?}"
    );
    assert!(refused.header("accept-signature").is_some());
    let verified = scene.call(&Terms::default());
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(scene.gateway.record(verified.call_id())["mode"], "agent");
    let served = scene.upstream.served();
    let upstream_head = &served.last().expect("one call").headers;
    let has = |name: &str| {
        upstream_head
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    assert!(has("signature") && has("signature-agent") && has("signature-input"));
    for at in 1..=20 {
        let terms = Terms {
            expires: 60 + at,
            ..Terms::default()
        };
        assert_eq!(scene.call(&terms).status, 200);
    }
    assert_eq!(scene.server.served(), 1, "a directory that came is kept");
    let labels = ["verification=\"verified\"", "decision=\"allowed\""];
    let counted = || {
        scene
            .gateway
            .metric("tallygate_agent_decisions_total", &labels)
    };
    assert_eventually!(counted() == 21.0, "{}", counted());
}

#[test]
fn a_signature_over_something_else_expired_from_the_future_or_too_long_is_invalid_by_its_word() {
    let scene = Scene::new("");
    scene.server.publish(&scene.signer.key_set());
    assert_eq!(scene.call(&Terms::default()).status, 200);
    let other = Terms {
        authority: "other.test".to_owned(),
        ..Terms::default()
    };
    scene.is_refused(&other, "wrong");
    scene.is_refused(
        &Terms {
            created: -120,
            expires: -60,
            ..Terms::default()
        },
        "expired",
    );
    scene.is_refused(
        &Terms {
            created: 60,
            expires: 120,
            ..Terms::default()
        },
        "future",
    );
    scene.is_refused(
        &Terms {
            expires: 90_000,
            ..Terms::default()
        },
        "lifetime",
    );
    assert_eq!(scene.upstream.served_count(), 1);
}

#[test]
fn a_signature_that_was_used_or_cannot_be_read_has_a_code_of_its_own() {
    let scene = Scene::new("");
    scene.server.publish(&scene.signer.key_set());
    let once = scene.signer.sign(unsigned(), &Terms::default());
    assert_eq!(scene.gateway.call(&once).status, 200);
    let again = scene.gateway.call(&once);
    assert_eq!(
        (again.status, again.refusal_code().as_deref()),
        (429, Some("signature_reused")),
        "{again:?}"
    );
    let broken = unsigned()
        .header(
            "Signature-Input",
            "sig1=(\"@authority\";tag=\"web-bot-auth\"",
        )
        .header("Signature", "sig1=:AA==:");
    let broken = scene.gateway.call(&broken);
    assert_eq!(
        (broken.status, broken.refusal_code().as_deref()),
        (400, Some("signature_malformed")),
        "{broken:?}"
    );
    // A signature of another kind is nobody's business here.
    let other =
        Request::get("/open").header("Signature-Input", "sig1=(\"@method\");tag=\"payments\"");
    assert_eq!(scene.gateway.call(&other).status, 200);
}

#[test]
fn a_directory_that_redirects_is_huge_has_another_type_or_no_key_of_the_agent_verifies_nobody() {
    let stranger = Signer::new("https://localhost");
    let types = "Content-Type: application/http-message-signatures-directory+json\r\n";
    for (fault, said) in [
        ("directory_failed", |_: &Scene, _: &str, _: &str| {
            answer(302, "Location: https://example.com/\r\n", "")
        }),
        ("directory_failed", |scene: &Scene, types: &str, _: &str| {
            let padded = format!("{}{}", scene.signer.key_set(), " ".repeat(70_000));
            answer(200, types, &padded)
        }),
        ("directory_failed", |scene: &Scene, _: &str, _: &str| {
            answer(200, "Content-Type: text/html\r\n", &scene.signer.key_set())
        }),
        ("directory_failed", |_: &Scene, types: &str, _: &str| {
            answer(200, types, "{\"keys\":7}")
        }),
        ("key_unknown", |_: &Scene, types: &str, strange: &str| {
            answer(200, types, strange)
        }),
    ] as [(&str, fn(&Scene, &str, &str) -> String); 5]
    {
        let scene = Scene::new("");
        scene.server.say(&said(&scene, types, &stranger.key_set()));
        scene.is_refused(&Terms::default(), fault);
        assert_eq!(scene.upstream.served_count(), 0, "{fault}");
    }
}

#[test]
fn who_signs_as_themselves_is_not_the_agent_that_they_call_themselves() {
    let scene = Scene::new("");
    let other = DirectoryServer::start();
    // Nobody is trusted whose certificate is not; the directory of another has another origin in any case.
    let stranger = Signer::new(&other.origin);
    other.publish(&stranger.key_set());
    let posing = stranger.sign(unsigned(), &Terms::default());
    let refused = scene.gateway.call(&posing);
    assert_eq!(
        refused.refusal_code().as_deref(),
        Some("agent_denied"),
        "{refused:?}"
    );
    // A directory that names the key of another does not make it its own.
    scene.server.publish(&scene.signer.key_set());
    assert_eq!(scene.call(&Terms::default()).status, 200);
}

#[test]
fn a_silent_directory_costs_a_bounded_time_and_then_the_app_says_what_happens() {
    for (terms, verdict) in [
        ("on_failure = \"deny\"", "unknown_error"),
        ("on_failure = \"allow\"", "usage_not_allowed"),
    ] {
        let scene = Scene::new(terms);
        let begun = Instant::now();
        let refused = scene.call(&Terms::default());
        let waited = begun.elapsed();
        assert_eq!(refused.json()["reason"], verdict, "{terms}: {refused:?}");
        assert_eq!(
            refused.json()["signature"],
            "directory_unknown",
            "{refused:?}"
        );
        assert!(
            waited >= FIRST_SIGHT && waited < FIRST_SIGHT * 5,
            "{waited:?}"
        );
        scene.server.publish(&scene.signer.key_set());
        // The fetch that hangs is given up, and another is made after a while.
        assert_eq!(scene.upstream.served_count(), 0);
    }
}

#[test]
fn a_directory_on_a_private_network_is_not_asked_unless_that_is_allowed() {
    let scene = Scene::with("", "private_agent_directories = false");
    scene.server.publish(&scene.signer.key_set());
    scene.is_refused(&Terms::default(), "directory_failed");
    assert_eq!(scene.server.served(), 0);
}

#[test]
fn where_signatures_are_switched_off_none_is_looked_at() {
    let scene = Scene::new("web_bot_auth = false");
    scene.server.publish(&scene.signer.key_set());
    let refused = scene.call(&Terms::default());
    assert_eq!(
        refused.refusal_code().as_deref(),
        Some("agent_denied"),
        "{refused:?}"
    );
    assert_eq!(refused.header("accept-signature"), None);
    assert_eq!(scene.server.served(), 0);
}
