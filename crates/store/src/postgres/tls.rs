//! TLS to the server, by rustls.

use std::sync::Arc;

use model::system::in_words;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::Trust;
use crate::error::Error;

/// Returns the maker of the TLS session of a new connection, which checks the server's certificate as
/// `trust` says. A password is then proved with channel binding where the server offers it.
///
/// # Errors
/// [`Error::Misconfigured`] if the file of root certificates cannot be used, or the system has none.
pub(super) fn connector(trust: &Trust) -> Result<MakeRustlsConnect, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(Anybody(Arc::clone(&provider))),
        Trust::Verified(file) => {
            let roots = Arc::new(roots(file.as_deref())?);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| Error::Misconfigured(format!("root certificates: {error}")))?
        }
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Misconfigured(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn roots(file: Option<&std::path::Path>) -> Result<RootCertStore, Error> {
    let wrong = |what: String| Error::Misconfigured(what);
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let shown = path.display();
            let found = CertificateDer::pem_file_iter(path).map_err(|error| {
                let reason = match error {
                    pem::Error::Io(error) => in_words(&error),
                    _ => "it is none in PEM form".to_owned(),
                };
                wrong(format!(
                    "the file {shown} of root certificates cannot be read: {reason}"
                ))
            })?;
            let no_certificate = || {
                wrong(format!(
                    "{shown} holds something that is no certificate in PEM form"
                ))
            };
            for certificate in found {
                let certificate = certificate.map_err(|_| no_certificate())?;
                roots.add(certificate).map_err(|_| no_certificate())?;
            }
            if roots.is_empty() {
                return Err(wrong(format!("{shown} holds no certificate in PEM form")));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs().map_err(|error| {
                wrong(format!(
                    "cannot read the system's root certificates: {error}"
                ))
            })?;
            roots.add_parsable_certificates(found);
            if roots.is_empty() {
                let hint = "install them, or name a file with `sslrootcert`";
                return Err(wrong(format!(
                    "the system has no root certificates: {hint}"
                )));
            }
        }
    }
    Ok(roots)
}

/// A verifier that accepts any certificate, as `sslmode=require` does everywhere; the handshake
/// itself is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
