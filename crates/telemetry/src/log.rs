//! Logs: `tracing` to standard error, as text or JSON, with the `log` lines of libraries bridged
//! in.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    #[default]
    Text,
}

/// The level, the form and the mask of the log.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// A level (`info`) or filter directives (`info,proxy=debug`).
    pub level: String,
    /// The form of the lines.
    pub format: LogFormat,
    /// A function that takes secrets out of a line, as the last step before it is written; `None`:
    /// lines leave as they are.
    pub mask: Option<Mask>,
}

/// A function that takes secrets out of a text.
pub type Mask = fn(&str) -> Cow<'_, str>;

/// Standard error behind a mask. Each write has one whole line.
struct MaskedStderr(Option<Mask>);

impl Write for MaskedStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.0 {
            Some(mask) => {
                io::stderr().write_all(mask(&String::from_utf8_lossy(line)).as_bytes())?
            }
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Starts logging for the process. Later calls do nothing, so that tests may call it freely.
///
/// Pingora and the HTTP libraries log request lines and headers at `debug` and `trace`, and the
/// clients of stores their statements with the values in them; both may hold secrets. They are held
/// at `warn` whatever the level. Pingora's proxy, which names whole URLs in its errors, is
/// silenced: our proxy logs those errors itself, without what the caller sent.
///
/// # Errors
/// A level that is neither a level nor a filter.
pub fn start_logging(options: &LogOptions) -> Result<(), String> {
    let guarded = [
        "pingora_proxy=off",
        "pingora_core=error",
        "pingora_http=off",
        "pingora_pool=warn",
        "httparse=off",
        "h2=off",
        "hyper=warn",
        "hyper_util=warn",
        "rustls=warn",
        "axum=warn",
        "tower=warn",
        "tokio_postgres=warn",
        "deadpool=warn",
        "redis=warn",
    ];
    let mut filter = EnvFilter::try_new(&options.level)
        .map_err(|error| format!("`{}` is not a log level: {error}", options.level))?;
    for directive in guarded {
        filter = filter.add_directive(directive.parse().expect("the directives are constants"));
    }
    let mask = options.mask;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || MaskedStderr(mask));
    // An error here means that a subscriber is in place already.
    let _ = match options.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
    };
    Ok(())
}
