//! Agents that sign, and the servers of their directories.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;
use testkit::Request;

/// The type of a directory.
const MEDIA_TYPE: &str = "application/http-message-signatures-directory+json";

/// A server with TLS that answers every request with the same bytes. Its thread ends with the process.
pub(crate) struct DirectoryServer {
    /// Its origin, `https://localhost:PORT`.
    pub(crate) origin: String,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    served: Arc<AtomicUsize>,
    folder: TempDir,
}

impl DirectoryServer {
    /// Starts a server that answers nothing until it is told.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = make_certificate(&folder);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Self {
            origin: format!("https://localhost:{port}"),
            answer: Arc::default(),
            served: Arc::default(),
            folder,
        };
        let (answer, served) = (server.answer.clone(), server.served.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection =
                    ServerConnection::new(Arc::new(config.clone())).expect("a connection");
                let (answer, served) = (answer.clone(), served.clone());
                std::thread::spawn(move || {
                    serve(StreamOwned::new(connection, stream), &answer, &served)
                });
            }
        });
        server
    }

    /// Answers with these bytes from now on.
    pub(crate) fn say(&self, answer: &str) {
        *self.answer.lock().expect("nobody panics") = Some(answer.as_bytes().to_vec());
    }

    /// Answers with a set of keys.
    pub(crate) fn publish(&self, keys: &str) {
        self.say(&answer(
            200,
            &format!("Content-Type: {MEDIA_TYPE}\r\n"),
            keys,
        ));
    }

    /// Returns how many requests were answered.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Returns the file of the certificate, which a gate has to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }
}

/// Returns the bytes of an answer.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Said\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers one request, once there is an answer.
fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answer: &Mutex<Option<Vec<u8>>>,
    served: &AtomicUsize,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let said = answer.lock().expect("nobody panics").clone();
    let Some(said) = said else {
        // Silent until the caller leaves.
        let _ = stream.read(&mut byte);
        return;
    };
    served.fetch_add(1, Ordering::SeqCst);
    let _ = stream.write_all(&said);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn make_certificate(folder: &TempDir) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (certificate, key) = (
        folder.path().join("server.crt"),
        folder.path().join("server.key"),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let read = CertificateDer::from_pem_file(&certificate).expect("a certificate");
    (read, PrivateKeyDer::from_pem_file(&key).expect("a key"))
}

/// An agent with a key, and the origin of its directory.
pub(crate) struct Signer {
    pkcs8: Vec<u8>,
    key: Ed25519KeyPair,
    origin: String,
}

/// The terms of a signature.
#[derive(Clone)]
pub(crate) struct Terms {
    /// The authority that is signed.
    pub(crate) authority: String,
    /// The beginning and the end, in seconds from now.
    pub(crate) created: i64,
    pub(crate) expires: i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            authority: "api.test".to_owned(),
            created: 0,
            expires: 60,
        }
    }
}

impl Signer {
    pub(crate) fn new(origin: &str) -> Self {
        let random = ring::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("randomness");
        Self {
            key: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key of ours"),
            pkcs8: pkcs8.as_ref().to_vec(),
            origin: origin.to_owned(),
        }
    }

    /// Returns the directory with the key.
    pub(crate) fn key_set(&self) -> String {
        format!("{{\"keys\":[{}]}}", self.jwk())
    }

    fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}")
    }

    /// Returns the key with its secret, as a JSON Web Key.
    pub(crate) fn private_jwk(&self) -> String {
        // PKCS #8 of a key of Ed25519 has the seed behind 16 bytes.
        let d = URL_SAFE_NO_PAD.encode(&self.pkcs8[16..48]);
        let id = self.key_id();
        self.jwk()
            .replace('}', &format!(",\"d\":\"{d}\",\"kid\":\"{id}\"}}"))
    }

    /// Returns the key with its secret, as PEM of PKCS #8 in its first version.
    pub(crate) fn pem(&self) -> String {
        let begin = [
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ];
        let body = STANDARD.encode([&begin[..], &self.pkcs8[16..48]].concat());
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    pub(crate) fn key_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.jwk().as_bytes()))
    }

    /// Signs a request.
    pub(crate) fn sign(&self, request: Request, terms: &Terms) -> Request {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let now = i64::try_from(now.as_secs()).expect("it fits");
        let agent = format!("\"{}\"", self.origin);
        let params = format!(
            "(\"@authority\" \"signature-agent\";key=\"sig1\");created={};expires={};keyid=\"{}\";tag=\"web-bot-auth\"",
            now + terms.created,
            now + terms.expires,
            self.key_id()
        );
        let base = format!(
            "\"@authority\": {}\n\"signature-agent\";key=\"sig1\": {agent}\n\"@signature-params\": {params}",
            terms.authority
        );
        let signature = STANDARD.encode(self.key.sign(base.as_bytes()).as_ref());
        request
            .header("Signature-Agent", &format!("sig1={agent}"))
            .header("Signature-Input", &format!("sig1={params}"))
            .header("Signature", &format!("sig1=:{signature}:"))
    }
}

/// Waits for less than this prove that nobody waited for a directory.
pub(crate) const FIRST_SIGHT: Duration = Duration::from_secs(1);
