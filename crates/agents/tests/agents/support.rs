//! Signed requests: those of files of vectors, and those that a test signs itself.

use std::sync::Arc;

use agents::DirectoryUrl;
use agents::web_bot_auth::{KeySet, KeySource, Keys, Request, Thumbprint};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Deserialize;

/// The time of the requests that tests sign, in seconds.
pub(crate) const NOW: i64 = 100;
/// The origin of their directory.
pub(crate) const DIRECTORY: &str = "https://agent.example";

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// A file of `tests/vectors`, which says where it comes from.
#[derive(Deserialize)]
pub(crate) struct Vectors {
    pub(crate) now: i64,
    keys: Vec<serde_json::Value>,
    pub(crate) requests: Vec<Vector>,
}

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) name: String,
    method: String,
    url: String,
    signature_agent: Option<String>,
    signature_input: String,
    signature: String,
}

impl Vectors {
    pub(crate) fn read(file: &str) -> Self {
        let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect(&path);
        serde_json::from_str(&text).expect(&path)
    }

    pub(crate) fn key_set(&self) -> String {
        serde_json::json!({ "keys": self.keys }).to_string()
    }
}

impl Vector {
    pub(crate) fn with_request<R>(&self, with: impl FnOnce(&Request<'_>) -> R) -> R {
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        let (authority, target) = rest.split_at(rest.find('/').expect("a path"));
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("Signature-Input", self.signature_input.as_bytes()),
            ("Signature", self.signature.as_bytes()),
        ];
        if let Some(agent) = &self.signature_agent {
            fields.push(("Signature-Agent", agent.as_bytes()));
        }
        with(&Request {
            method: &self.method,
            scheme,
            authority,
            path,
            query,
            fields: &fields,
        })
    }
}

/// The keys that are there for whoever asks for any directory.
pub(crate) enum Directory {
    Known(Arc<KeySet>),
    Unknown,
    Failed,
    Refused,
}

impl Directory {
    pub(crate) fn of(key_set: &str) -> Self {
        Self::Known(Arc::new(
            KeySet::read(key_set.as_bytes()).expect("a key set"),
        ))
    }
}

impl KeySource for Directory {
    fn keys(&self, _: &DirectoryUrl, _: &Thumbprint, _: Timestamp) -> Keys {
        match self {
            Self::Known(keys) => Keys::Known(Arc::clone(keys)),
            Self::Unknown => Keys::Unknown,
            Self::Failed => Keys::Failed,
            Self::Refused => Keys::Refused,
        }
    }
}

/// A request of the agent at [`DIRECTORY`] to `https://api.example.com/news?a=b%20c`, which it signs
/// with a key of its own. Its text to sign is put together here and not by what is tested.
pub(crate) struct Signer {
    key: Ed25519KeyPair,
    /// What is covered: identifier and the value that is signed.
    pub(crate) components: Vec<(String, String)>,
    /// The parameters behind what is covered.
    pub(crate) params: String,
    /// The field `Signature-Agent` as it is sent; empty: it is not.
    pub(crate) agent: String,
    pub(crate) authority: String,
    /// Further fields of the key in its directory.
    pub(crate) key_fields: String,
    /// A field that is sent instead of the right one.
    pub(crate) input: Option<String>,
    pub(crate) signature: Option<String>,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let random = ring::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("randomness");
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key of ours");
        let mut signer = Self {
            key,
            components: vec![
                ("\"@authority\"".to_owned(), "api.example.com".to_owned()),
                (
                    "\"signature-agent\";key=\"sig1\"".to_owned(),
                    format!("\"{DIRECTORY}\""),
                ),
            ],
            params: String::new(),
            agent: format!("sig1=\"{DIRECTORY}\""),
            authority: "api.example.com".to_owned(),
            key_fields: String::new(),
            input: None,
            signature: None,
        };
        let keys = KeySet::read(signer.key_set().as_bytes()).expect("a key set");
        let id = keys.thumbprints().next().expect("a key").to_string();
        signer.params = format!("created=100;expires=400;keyid=\"{id}\";tag=\"web-bot-auth\"");
        signer
    }

    pub(crate) fn key_set(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        let fields = &self.key_fields;
        format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"{fields}}}]}}")
    }

    pub(crate) fn cover(&mut self, name: &str, value: &str) {
        self.components
            .push((format!("\"{name}\""), value.to_owned()));
    }

    /// Sends this member of `Signature-Agent`, and signs it.
    pub(crate) fn announce(&mut self, member: &str) {
        self.agent = format!("sig1={member}");
        self.components[1].1 = member.to_owned();
    }

    pub(crate) fn covers_whole_agent(&mut self) {
        self.components[1] = ("\"signature-agent\"".to_owned(), self.agent.clone());
    }

    pub(crate) fn replace(&mut self, text: &str, instead: &str) {
        assert!(self.params.contains(text), "{text}");
        self.params = self.params.replace(text, instead);
    }

    pub(crate) fn remove(&mut self, param: &str) {
        self.replace(&format!("{param};"), "");
    }

    pub(crate) fn replace_key(&mut self, id: &str) {
        let (before, rest) = self.params.split_once("keyid=\"").expect("a key");
        let (_, behind) = rest.split_once('"').expect("an end");
        self.params = format!("{before}keyid=\"{id}\"{behind}");
    }

    fn covered(&self) -> String {
        let names: Vec<&str> = self
            .components
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        format!("({});{}", names.join(" "), self.params)
    }

    pub(crate) fn input(&self) -> String {
        format!("sig1={}", self.covered())
    }

    pub(crate) fn signed(&self) -> String {
        let mut base = String::new();
        for (name, value) in &self.components {
            base.push_str(&format!("{name}: {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {}", self.covered()));
        let signature = self.key.sign(base.as_bytes());
        format!("sig1=:{}:", STANDARD.encode(signature.as_ref()))
    }

    pub(crate) fn with_request<R>(&self, with: impl FnOnce(&Request<'_>) -> R) -> R {
        let input = self.input.clone().unwrap_or_else(|| self.input());
        let signature = self.signature.clone().unwrap_or_else(|| self.signed());
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("user-agent", b"Agent/1.0"),
            ("signature", signature.as_bytes()),
        ];
        if !input.is_empty() {
            fields.push(("signature-input", input.as_bytes()));
        }
        if !self.agent.is_empty() {
            fields.push(("signature-agent", self.agent.as_bytes()));
        }
        with(&Request {
            method: "GET",
            scheme: "https",
            authority: &self.authority,
            path: "/news",
            query: Some("a=b%20c"),
            fields: &fields,
        })
    }
}
