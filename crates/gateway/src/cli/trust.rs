//! The certificate authorities that the command line trusts: those of the system or of a file.

use std::path::Path;

use model::system::in_words;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::cli::Error;
use crate::trust;

/// Returns the configuration of TLS for a gate whose certificate one of these authorities vouches for.
pub(super) fn tls(authorities: RootCertStore) -> Result<ClientConfig, Error> {
    trust::tls(authorities).map_err(Error::Config)
}

/// Returns the certificate authorities of a file in PEM form, or those that the system trusts.
///
/// # Errors
/// [`Error::Config`] if the file cannot be read or holds something else, or the system has none.
pub(super) fn authorities(file: Option<&Path>) -> Result<RootCertStore, Error> {
    match file {
        Some(file) => of_file(file)
            .map_err(|reason| Error::Config(format!("--ca-file {}: {reason}", file.display()))),
        None => trust::of_system().map_err(|reason| {
            Error::Config(format!(
                "{reason}: install them, or name a file with --ca-file"
            ))
        }),
    }
}

fn of_file(file: &Path) -> Result<RootCertStore, String> {
    let none = "it holds no certificate in PEM form";
    let wrong = |error| match error {
        pem::Error::Io(error) => in_words(&error),
        _ => none.to_owned(),
    };
    let found = CertificateDer::pem_file_iter(file).map_err(wrong)?;
    let mut authorities = RootCertStore::empty();
    for certificate in found {
        let certificate = certificate.map_err(wrong)?;
        authorities
            .add(certificate)
            .map_err(|_| "it holds something that is no certificate".to_owned())?;
    }
    match authorities.is_empty() {
        true => Err(none.to_owned()),
        false => Ok(authorities),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_authority_is_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let refused = |file: &Path| {
            authorities(Some(file))
                .expect_err("no authority")
                .to_string()
        };
        assert!(
            refused(&file).contains("there is no such file"),
            "{}",
            refused(&file)
        );
        let folder_itself = refused(folder.path());
        assert!(!folder_itself.contains("holds"), "{folder_itself}");
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&file, text).expect("written");
            let error = refused(&file);
            assert!(error.starts_with("--ca-file /"), "{error}");
            assert!(error.contains("ca.pem: it holds"), "{error}");
        }
    }
}
