//! `[server]` and `[log]`: the listeners, the data folder, the bounds and the log of the process.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::duration::Millis;
use crate::reader::{Located, MAX_NUMBER, Section};
use crate::secret::Secret;
use crate::value::{FromValue, words};

/// `[server]`: listeners, data and bounds of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The addresses that callers come to; port 0 takes a free one \[`127.0.0.1:8080`\].
    pub listen: Vec<SocketAddr>,
    /// The address of the control plane \[`127.0.0.1:8081`\].
    pub control: SocketAddr,
    /// The address of the native API apart from the protocols; `None`: on `control`.
    pub admin: Option<SocketAddr>,
    /// The address of `/metrics`, `/healthz` and `/readyz` \[`127.0.0.1:9090`\].
    pub metrics: SocketAddr,
    /// The folder of everything that must survive, relative to the configuration file; it is
    /// created \[`data`\].
    pub data_dir: PathBuf,
    /// The number of proxy threads, up to 512; 0: one per core \[0\].
    pub threads: usize,
    /// A label for this gate, unique per store; `None`: the host name.
    pub node: Option<String>,
    /// The secret that seals the keyring; `None`: SQLite keeps a generated secret in `data_dir`.
    pub secret: Option<Secret>,
    /// The networks whose `X-Forwarded-For` is believed \[none\].
    pub trusted_proxies: Vec<IpNet>,
    /// The longest time that calls under way may last after a stop was asked for \[30 s\].
    pub drain: Millis,
    /// The connections of callers at one time; more are closed at once if none is idle \[10,000\].
    pub max_connections: usize,
    /// The longest time that a caller may take to send a request head \[10 s\].
    pub head_timeout: Millis,
    /// The connections of one address, or of one IPv6 network of 64 bits, among these; 0: no bound
    /// \[1,000\].
    pub max_connections_per_address: usize,
    /// The time that a connection without a call under way is kept \[75 s\].
    pub keepalive_timeout: Millis,
    /// The most calls that one connection carries \[10,000\].
    pub keepalive_requests: u32,
    /// The bytes a second that a request body has to come with, after 20 s; 0: however slowly
    /// \[500\].
    pub min_body_rate: u64,
    /// The file of AI agents that are known, relative to the configuration file; `None`: the list
    /// that ships.
    pub known_agents: Option<PathBuf>,
    /// Whether directories of agents' keys may be on a private network, this host included
    /// \[false\].
    pub private_agent_directories: bool,
}

/// `[log]`: the log of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written \[`info`\].
    pub level: LogLevel,
    /// The form of the lines \[`text`\].
    pub format: LogFormat,
}

words! {
    /// The importance of a line of the log.
    LogLevel {
        /// Something is broken.
        Error = "error",
        /// Something may break.
        Warn = "warn",
        /// Something happened that an operator wants to know.
        #[default]
        Info = "info",
        /// Single calls and decisions.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// The form of the log.
    LogFormat {
        /// Text for people.
        #[default]
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// A label of a gate.
struct Node(String);

impl FromValue for Node {
    const EXPECTED: &'static str = "1 to 128 letters, digits and signs without blanks in a string";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let valid =
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let refused = || format!("this is not a label: write {}", Self::EXPECTED);
        Some(valid.then(|| Self(text.to_owned())).ok_or_else(refused))
    }
}

impl Default for Server {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            listen: vec![local(8080)],
            control: local(8081),
            admin: None,
            metrics: local(9090),
            data_dir: "data".into(),
            threads: 0,
            node: None,
            secret: None,
            trusted_proxies: Vec::new(),
            drain: Millis::from_seconds(30),
            max_connections: 10_000,
            head_timeout: Millis::from_seconds(10),
            max_connections_per_address: 1_000,
            keepalive_timeout: Millis::from_seconds(75),
            keepalive_requests: 10_000,
            min_body_rate: 500,
            known_agents: None,
            private_agent_directories: false,
        }
    }
}

impl Server {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let at_default = default.listen.iter().map(|address| Located {
            at: section.at("listen"),
            value: *address,
        });
        let listen = section
            .located("listen")
            .unwrap_or_else(|| at_default.collect());
        let server = Self {
            control: section.value("control", default.control),
            admin: section.unless_empty("admin"),
            metrics: section.value("metrics", default.metrics),
            data_dir: Self::read_data_dir(&section),
            threads: section.number("threads", 0..=512, 0) as usize,
            node: section.unless_empty("node").map(|Node(node)| node),
            secret: section.unless_empty("secret"),
            trusted_proxies: section.list("trusted_proxies", default.trusted_proxies),
            drain: section.value("drain", default.drain),
            max_connections: section.number(
                "max_connections",
                1..=MAX_NUMBER,
                default.max_connections as u64,
            ) as usize,
            head_timeout: section.timeout("head_timeout", default.head_timeout),
            max_connections_per_address: section.number(
                "max_connections_per_address",
                0..=MAX_NUMBER,
                default.max_connections_per_address as u64,
            ) as usize,
            keepalive_timeout: section.timeout("keepalive_timeout", default.keepalive_timeout),
            keepalive_requests: section.number(
                "keepalive_requests",
                1..=u64::from(u32::MAX),
                u64::from(default.keepalive_requests),
            ) as u32,
            min_body_rate: section.number("min_body_rate", 0..=MAX_NUMBER, default.min_body_rate),
            known_agents: section
                .unless_empty("known_agents")
                .map(|path: PathBuf| section.reader().resolve(&path)),
            private_agent_directories: section.value(
                "private_agent_directories",
                default.private_agent_directories,
            ),
            listen: listen.iter().map(|located| located.value).collect(),
        };
        server.check_addresses(&section, listen);
        section.finish();
        server
    }

    pub(crate) fn read_data_dir(section: &Section<'_>) -> PathBuf {
        section
            .reader()
            .resolve(&section.value("data_dir", Self::default().data_dir))
    }

    /// Reports addresses that are asked for twice.
    fn check_addresses(&self, section: &Section<'_>, listen: Vec<Located<SocketAddr>>) {
        if section.is_empty_list("listen") {
            section.report(section.at("listen"), "listen: at least one address is needed: write an IP address and a port in a string, such as \"127.0.0.1:8080\"");
        }
        let named = |key: &'static str, value| Located {
            at: section.at(key),
            value: (key, value),
        };
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        let listen = listen.into_iter().map(|Located { at, value }| Located {
            at,
            value: ("listen", value),
        });
        let others = [
            Some(("control", self.control)),
            self.admin.map(|admin| ("admin", admin)),
            Some(("metrics", self.metrics)),
        ];
        let others = others
            .into_iter()
            .flatten()
            .map(|(key, value)| named(key, value));
        for Located {
            at,
            value: (key, address),
        } in listen.chain(others)
        {
            let first = taken.iter().find(|(_, other)| conflict(*other, address));
            if let Some((other, _)) = first {
                section.report(
                    at,
                    format!(
                        "{key}: {address} is taken by `{other}`: give each its own address or port"
                    ),
                );
            }
            taken.push((key, address));
        }
    }
}

/// Returns whether two listeners cannot both have their address.
fn conflict(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (any || one.ip() == other.ip())
}

impl Log {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let log = Self {
            level: section.value("level", default.level),
            format: section.value("format", default.format),
        };
        section.finish();
        log
    }
}
