//! Which gate a command talks to.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hyper::Uri;
use rustls::{ClientConfig, RootCertStore};

use super::trust;
use crate::cli::Error;

/// The configuration file that is read where none is named.
pub(crate) const DEFAULT_CONFIG: &str = "gateway.toml";
const URL_VARIABLE: &str = "TALLYGATE_URL";
const KEY_VARIABLE: &str = "TALLYGATE_KEY";
const CA_FILE_VARIABLE: &str = "TALLYGATE_CA_FILE";

/// A gate and the way to it.
#[derive(Clone)]
pub(crate) enum Target {
    /// On this host, by its Unix socket, whose permissions are the authentication.
    Socket(PathBuf),
    /// Anywhere, by URL and management key.
    Url {
        /// `http://HOST:PORT` or `https://HOST:PORT`, and what stands before `/api`, without a slash at its end.
        base: String,
        /// The management key.
        key: String,
        /// The file of the certificate authorities that are believed; `None`: those of the system.
        ca_file: Option<PathBuf>,
    },
}

impl Target {
    /// The gate that the command line and the environment name: `--config`, else `TALLYGATE_URL`, else
    /// `./gateway.toml`.
    pub(crate) fn find(config: Option<&Path>, ca_file: Option<PathBuf>) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut target = Self::choose(config, variable(URL_VARIABLE), variable(KEY_VARIABLE))?;
        if let Self::Url { ca_file: place, .. } = &mut target {
            let named = std::env::var_os(CA_FILE_VARIABLE).filter(|value| !value.is_empty());
            *place = ca_file.or_else(|| named.map(PathBuf::from));
        }
        Ok(target)
    }

    /// The socket of the gate whose data lies in a directory.
    pub(crate) fn of_data_dir(data_dir: &Path) -> Self {
        Self::Socket(api_types::socket_path(data_dir))
    }

    fn choose(
        config: Option<&Path>,
        url: Option<String>,
        key: Option<String>,
    ) -> Result<Self, Error> {
        match (config, url) {
            (None, Some(url)) => Self::of_url(&url, key),
            (Some(config), _) => Self::of_config(config),
            (None, None) if Path::new(DEFAULT_CONFIG).exists() => {
                Self::of_config(Path::new(DEFAULT_CONFIG))
            }
            (None, None) => Err(Error::Config(format!(
                "there is no {DEFAULT_CONFIG} here: name one with --config, or a gate elsewhere with {URL_VARIABLE}"
            ))),
        }
    }

    fn of_config(config: &Path) -> Result<Self, Error> {
        let data_dir = config::data_dir(config, |name| std::env::var(name).ok());
        let data_dir = data_dir.map_err(|errors| Error::Config(errors.to_string()))?;
        Ok(Self::of_data_dir(&data_dir))
    }

    fn of_url(url: &str, key: Option<String>) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Usage(format!("{URL_VARIABLE}: {reason}"));
        let uri: Uri = url
            .parse()
            .map_err(|_| wrong("not a URL, write http://host:port or https://host:port"))?;
        let usual_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => {
                return Err(wrong(
                    "not a URL, write http://host:port or https://host:port",
                ));
            }
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| {
            wrong("it names no host, write http://host:port or https://host:port")
        })?;
        let key = key.ok_or_else(|| {
            Error::Usage(format!(
                "{KEY_VARIABLE} is missing: set it to a management key of that gate"
            ))
        })?;
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Usage(format!(
                "{KEY_VARIABLE} is not a key: it has characters that no key has"
            )));
        }
        let port = port_of(&uri, usual_port).ok_or_else(|| {
            wrong("its port is none: write http://host:port with a port from 1 to 65535")
        })?;
        let scheme = uri.scheme_str().unwrap_or("http");
        let prefix = uri.path().trim_end_matches('/');
        let base = format!("{scheme}://{host}:{port}{prefix}");
        // The client is stricter than `Uri`: `10.0.0.300` is no host for it.
        reqwest::Url::parse(&base).map_err(|_| {
            wrong("its host is neither a name nor an address, write http://host:port or https://host:port")
        })?;
        Ok(Self::Url {
            base,
            key,
            ca_file: None,
        })
    }

    /// Whether a gate that was not reached has its data already, and its socket not yet.
    pub(crate) fn is_starting(&self, error: &io::Error) -> bool {
        let Self::Socket(socket) = self else {
            return false;
        };
        let absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        absent.contains(&error.kind()) && is_locked(&socket.with_file_name("lock"))
    }

    /// Returns the URL that paths are appended to. The host of a socket is a name that no one looks up.
    pub(super) fn base(&self) -> &str {
        match self {
            Self::Socket(_) => "http://localhost",
            Self::Url { base, .. } => base,
        }
    }

    /// Returns the management key, where one is needed.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Socket(_) => None,
            Self::Url { key, .. } => Some(key),
        }
    }

    /// Returns the configuration of TLS. Certificate authorities are read only where they are needed.
    ///
    /// # Errors
    /// [`Error::Config`] if they cannot be read.
    pub(super) fn tls(&self) -> Result<ClientConfig, Error> {
        trust::tls(match self {
            Self::Url { base, ca_file, .. } if base.starts_with("https:") => {
                trust::authorities(ca_file.as_deref())?
            }
            _ => RootCertStore::empty(),
        })
    }

    /// How to name it to people; never the key.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Url { base, .. } => base.clone(),
        }
    }
}

/// The port of a URL, `usual` where it names none; `None`: what stands in its place is none. The parser leaves out what it cannot
/// read, and the key would go to whoever listens on another port.
fn port_of(uri: &Uri, usual: u16) -> Option<u16> {
    let authority = uri.authority()?.as_str();
    let behind_host = authority.rsplit(['@', ']']).next().unwrap_or(authority);
    match behind_host.rsplit_once(':') {
        None => Some(usual),
        Some((_, port)) => port.parse().ok().filter(|port| *port > 0),
    }
}

/// Whether a process holds the lock of a file. Trying to take it would keep a gate out that starts in that moment.
fn is_locked(lock: &Path) -> bool {
    let Ok(metadata) = lock.metadata() else {
        return false;
    };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = format!(":{}", metadata.ino());
    locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        words.any(|word| word == "FLOCK") && words.any(|word| word.ends_with(&inode))
    })
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(config: Option<&Path>, url: &str, key: Option<&str>) -> Result<Target, Error> {
        Target::choose(config, Some(url.to_owned()), key.map(str::to_owned))
    }

    #[test]
    fn a_named_file_wins_over_the_environment() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("gateway.toml");
        std::fs::write(&config, "[server]\ndata_dir = \"/var/lib/tallygate\"\n").expect("written");
        let target = choose(Some(&config), "http://elsewhere:1", Some("key")).expect("a target");
        assert_eq!(target.describe(), "/var/lib/tallygate/tallygate.sock");
        let target = choose(None, "http://elsewhere:1/gate/", Some("key")).expect("a target");
        assert_eq!(target.describe(), "http://elsewhere:1/gate");
        let target = choose(None, "http://[::1]:81", Some("secret-key")).expect("a target");
        assert!(!format!("{target:?}").contains("secret"));
        assert_eq!(target.base(), "http://[::1]:81");
        let target = choose(None, "https://elsewhere", Some("key")).expect("a target");
        assert_eq!(target.describe(), "https://elsewhere:443");
    }

    #[test]
    fn a_gate_that_holds_its_data_and_has_no_socket_yet_is_starting() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = Target::of_data_dir(dir.path());
        let absent = io::Error::from(io::ErrorKind::NotFound);
        assert!(!target.is_starting(&absent));
        let lock = std::fs::File::create(dir.path().join("lock")).expect("made");
        assert!(!target.is_starting(&absent));
        lock.lock().expect("taken");
        assert!(target.is_starting(&absent));
        assert!(!target.is_starting(&io::ErrorKind::PermissionDenied.into()));
    }

    #[test]
    fn a_url_that_cannot_be_used_says_what_to_write() {
        for url in [
            "",
            "elsewhere",
            "https://",
            "http://",
            "ftp://x",
            "http://x y",
            "http://x:99999",
            "http://x:0",
            "http://x:",
            "http://x:8o",
            "http://[::1]:65536",
            "http://10.0.0.300:8080",
            "http://xn--a",
        ] {
            let error = choose(None, url, Some("key")).expect_err(url);
            assert!(error.to_string().contains("TALLYGATE_URL"), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
        let error = choose(None, "http://x", None).expect_err("no key");
        assert!(error.to_string().contains("TALLYGATE_KEY"), "{error}");
        assert!(choose(None, "http://x", Some("k\r\nx")).is_err());
    }
}
