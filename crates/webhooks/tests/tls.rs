//! The client against a real TLS server, with a certificate that it trusts or does not.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use testkit::Receiver;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use webhooks::{Answer, Client, ClientOptions, Message, Resolve, Target, TargetRules};

/// A resolver by which every name is this host.
struct Here;

#[async_trait]
impl Resolve for Here {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec!["127.0.0.1".parse().expect("an address")])
    }
}

/// A server that ends TLS before a receiver, with a certificate for `hooks.example.com` that vouches
/// for itself.
struct TlsServer {
    addr: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl TlsServer {
    async fn before(receiver: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = make_certificate(folder.path());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut inside = acceptor.accept(stream).await?;
                    let mut outside = TcpStream::connect(receiver).await?;
                    tokio::io::copy_bidirectional(&mut inside, &mut outside).await
                });
            }
        });
        Self { addr, certificate }
    }

    /// Posts to this server under a name, as somebody who trusts these certificates.
    async fn post(&self, host: &str, trusted: &[&CertificateDer<'static>]) -> Answer {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add((*certificate).clone()).expect("a certificate");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let rules = TargetRules {
            allow_private: true,
            allow_plain: false,
        };
        let options = ClientOptions {
            rules,
            ..ClientOptions::default()
        };
        let url = format!("https://{host}:{}/hook", self.addr.port());
        let target = Target::parse(&url, rules).expect("valid");
        let message = Message {
            headers: Vec::new(),
            body: b"{}".to_vec(),
        };
        Client::new(Arc::new(Here), tls, options)
            .post(&target, message)
            .await
    }
}

fn make_certificate(folder: &Path) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
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
        .args(["-days", "2", "-subj", "/CN=hooks.example.com"])
        .args(["-addext", "subjectAltName=DNS:hooks.example.com"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let certificate = CertificateDer::from_pem_file(&certificate).expect("a certificate");
    (
        certificate,
        PrivateKeyDer::from_pem_file(&key).expect("a key"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_receiver_whose_certificate_is_trusted_and_has_its_name_gets_anything() {
    let receiver = Receiver::start();
    let server = TlsServer::before(receiver.addr()).await;
    let other = TlsServer::before(receiver.addr()).await;
    let taken = server
        .post("hooks.example.com", &[&server.certificate])
        .await;
    assert!(taken.took(), "{taken:?}");
    assert_eq!(receiver.count(), 1);
    for (host, trusted) in [
        ("other.example.com", &server.certificate),
        ("hooks.example.com", &other.certificate),
    ] {
        let refused = server.post(host, &[trusted]).await;
        assert_eq!(refused.status, None, "{refused:?}");
        assert!(refused.text.starts_with("TLS failed: "), "{refused:?}");
        assert!(refused.text.contains("certificate"), "{refused:?}");
    }
    assert_eq!(receiver.count(), 1);
}
