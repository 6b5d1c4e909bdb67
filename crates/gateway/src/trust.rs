//! The certificate authorities of the system, and TLS that trusts some.

use std::sync::Arc;

use model::system::in_words;
use rustls::{ClientConfig, RootCertStore};

use crate::start_error::StartError;

/// Returns the configuration of TLS for a client to whom these authorities vouch for a server.
///
/// # Errors
/// The words for versions of TLS that the library does not offer.
pub(crate) fn tls(authorities: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| format!("TLS: {error}"))?;
    Ok(builder
        .with_root_certificates(authorities)
        .with_no_client_auth())
}

/// Returns the certificate authorities that the system trusts, at least one.
///
/// # Errors
/// The words for a system that has none, or whose authorities cannot be read.
pub(crate) fn of_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs().map_err(|error| {
        format!(
            "the system's certificate authorities cannot be read: {}",
            in_words(&error)
        )
    })?;
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found);
    match authorities.is_empty() {
        true => Err("the system has no certificate authorities".to_owned()),
        false => Ok(authorities),
    }
}

/// Returns TLS towards servers outside: it trusts whom the system trusts. On a system without
/// authorities nobody is trusted, and `without` is what the log says of that.
///
/// # Errors
/// The library of TLS offers no version that can be used.
pub(crate) fn outside(without: &str) -> Result<ClientConfig, StartError> {
    let authorities = of_system().unwrap_or_else(|reason| {
        tracing::warn!(%reason, "{without}");
        RootCertStore::empty()
    });
    tls(authorities).map_err(StartError::Unsupported)
}
