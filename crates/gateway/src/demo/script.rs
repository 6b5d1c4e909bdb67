//! The texts that the demo prints.

use super::site::{Gate, Options, Site, command};
use crate::cli::{Error, Output};

/// Prints where everything is.
pub(super) fn greet(
    site: &Site,
    gate: &impl Gate,
    options: &Options,
    output: &mut Output,
) -> Result<(), Error> {
    output.heading("Tallygate in front of a sample API")?;
    output.line(&format!(
        "  sample API   http://{}   what you would put behind the gate",
        site.sample
    ))?;
    output.line(&format!("  gate         http://{}{}", site.gate, site.base))?;
    output.line(&format!(
        "  native API   http://{}/api/v1   asks for a management key",
        gate.control()
    ))?;
    output.line(&format!("  metrics      http://{}/metrics", gate.metrics()))?;
    output.line(&format!(
        "  license      {}   of the app `{}`",
        site.license.id, site.app
    ))?;
    if !options.once {
        output.line(&format!("  its key      {}", key(site)))?;
    }
    output.line("")?;
    output.flush()
}

/// Prints the ports of the file that are not the gate's, because another program listens there.
pub(super) fn list_taken_ports(
    taken: &[u16],
    gate: std::net::SocketAddr,
    output: &mut Output,
) -> Result<(), Error> {
    for port in taken {
        output.line(&format!(
            "  {port} is taken by another program, so the gate listens on {}",
            gate.port()
        ))?;
    }
    if !taken.is_empty() {
        output.line("")?;
    }
    output.flush()
}

/// Prints commands to paste.
pub(super) fn invite(site: &Site, options: &Options, output: &mut Output) -> Result<(), Error> {
    let url = |path: &str| format!("http://{}{}{path}", site.gate, site.base);
    let host = site
        .host
        .as_ref()
        .map(|host| format!(" -H 'Host: {host}'"))
        .unwrap_or_default();
    let with_key = format!("{host} -H '{}: {}'", site.key_header, key(site));
    let tallygate = command(options.config.as_deref());
    let id = site.license.id;
    let paste = [
        (
            "a call with a license: let in, recorded, billed",
            format!("curl -i {}{with_key}", url("/hello")),
        ),
        (
            "an answer that comes in parts",
            format!("curl -N {}{with_key}", url("/stream")),
        ),
        (
            "a call without a license: refused",
            format!("curl -i {}{host}", url("/hello")),
        ),
        (
            "what was used, and what it costs",
            format!("{tallygate} usage --license {id} --by route,status,outcome"),
        ),
        ("every call", format!("{tallygate} calls --license {id}")),
        (
            "take the license back",
            format!("{tallygate} license revoke {id}"),
        ),
        (
            "count everything again",
            format!("{tallygate} ledger verify"),
        ),
    ];
    output.heading("Try it in another terminal")?;
    for (what, line) in paste {
        output.line(&format!("  # {what}"))?;
        output.line(&format!("  {line}"))?;
    }
    output.line("")?;
    output.line(match options.temporary {
        true => "Ctrl-C ends it; its records and licenses are gone then (`tallygate init` writes a file whose gate keeps them).",
        false => "Ctrl-C ends it; records and licenses stay.",
    })?;
    output.flush()
}

fn key(site: &Site) -> &str {
    site.license.key.as_deref().unwrap_or_default()
}
