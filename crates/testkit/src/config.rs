//! A builder of `gateway.toml` for a test: the keys that the test is about, and free ports for the
//! rest.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The text of a configuration, without the ports and the folder that [`Gateway`](crate::Gateway)
/// chooses.
#[derive(Clone, Debug, Default)]
pub struct Config {
    control: Option<IpAddr>,
    server: Vec<String>,
    journal: Vec<String>,
    tables: Vec<String>,
    apps: Vec<App>,
}

/// An `[[app]]` of a configuration.
#[derive(Clone, Debug)]
pub struct App {
    name: String,
    lines: Vec<String>,
    tables: Vec<String>,
}

/// The listeners and the data folder of a gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoints<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) data_dir: &'a Path,
}

// === impl App ===

impl App {
    /// Makes an app with a name in front of an upstream, with every other key at its default.
    #[must_use]
    pub fn new(name: &str, upstream: &str) -> Self {
        Self::before(name, &[upstream])
    }

    /// Makes an app as [`new`](Self::new) does, in front of several upstreams.
    #[must_use]
    pub fn before(name: &str, upstreams: &[&str]) -> Self {
        let upstreams: Vec<_> = upstreams.iter().map(|upstream| quoted(upstream)).collect();
        let lines = vec![
            format!("name = {}", quoted(name)),
            format!("upstreams = [{}]", upstreams.join(", ")),
        ];
        Self {
            name: name.to_owned(),
            lines,
            tables: Vec::new(),
        }
    }

    /// Adds a line to the app's own table, such as `mode = "test"`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Adds an `[[app.route]]` for that path, with further lines such as `units = 5`.
    #[must_use]
    pub fn route(mut self, path: &str, lines: &[&str]) -> Self {
        self.tables.push(format!(
            "[[app.route]]\npath = {}\n{}",
            quoted(path),
            lines.join("\n")
        ));
        self
    }

    /// Adds a whole table that belongs to the app, such as `[app.health_check]` and its lines.
    #[must_use]
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push(text.to_owned());
        self
    }
}

// === impl Config ===

impl Config {
    /// Makes a configuration with one app, `api`, in front of an upstream.
    #[must_use]
    pub fn new(upstream: &str) -> Self {
        Self::default().app(App::new("api", upstream))
    }

    /// Adds an app.
    #[must_use]
    pub fn app(mut self, app: App) -> Self {
        self.apps.push(app);
        self
    }

    /// Adds a line to `[server]`.
    #[must_use]
    pub fn server(mut self, line: &str) -> Self {
        self.server.push(line.to_owned());
        self
    }

    /// Lets the control plane listen on this address instead of 127.0.0.1, on the port that is
    /// chosen for it.
    #[must_use]
    pub const fn control_on(mut self, address: IpAddr) -> Self {
        self.control = Some(address);
        self
    }

    /// Sets how durable a record is before its status line leaves: `disk` or `process`.
    #[must_use]
    pub fn durability(mut self, durability: &str) -> Self {
        self.journal
            .push(format!("durability = {}", quoted(durability)));
        self
    }

    /// Adds a line to `[journal]`.
    #[must_use]
    pub fn journal(mut self, line: &str) -> Self {
        self.journal.push(line.to_owned());
        self
    }

    /// Adds a whole table, such as a `[[plan]]` and its lines.
    #[must_use]
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push(text.to_owned());
        self
    }

    /// Returns the name of the first app.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn first_app(&self) -> &str {
        &self
            .apps
            .first()
            .expect("the configuration has an app")
            .name
    }

    pub(crate) fn to_toml(&self, endpoints: Endpoints<'_>) -> String {
        let mut text = String::new();
        let mut table = |header: &str, lines: &[String]| {
            writeln!(text, "{header}\n{}\n", lines.join("\n")).expect("a string can be written to");
        };
        let control = self.control.unwrap_or(endpoints.control.ip());
        let control = SocketAddr::new(control, endpoints.control.port());
        let mut server = vec![
            format!("listen = [\"{}\"]", endpoints.listen),
            format!("control = \"{control}\""),
            format!("metrics = \"{}\"", endpoints.metrics),
            format!(
                "data_dir = {}",
                quoted(&endpoints.data_dir.to_string_lossy())
            ),
        ];
        if !self.server.iter().any(|line| line.starts_with("threads")) {
            server.push("threads = 2".to_owned());
        }
        server.extend_from_slice(&self.server);
        table("[server]", &server);
        // Small segments: a start writes them whole, and tests start gates by the hundred.
        let mut journal = self.journal.clone();
        if !journal.iter().any(|line| line.starts_with("segment_bytes")) {
            journal.push("segment_bytes = \"1MiB\"".to_owned());
        }
        table("[journal]", &journal);
        for other in &self.tables {
            table(other, &[]);
        }
        for app in &self.apps {
            table("[[app]]", &app.lines);
            for other in &app.tables {
                table(other, &[]);
            }
        }
        text
    }
}

// A JSON string is a TOML basic string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
