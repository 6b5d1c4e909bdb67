//! `tallygate demo`: a sample API and the gate in one process, and a tour of what the gate does.

mod sample;
mod script;
mod site;
mod tour;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use ::config::{Config, Upstream};
use api_types::{CreateLicense, License, LicenseSpec};
use model::{AppName, Limits, RateLimit};

use self::site::Site;
pub(crate) use self::site::{Gate, Options};
use crate::cli::{Client, Error, Output, Target};
use crate::run::signals::stop_signal;

/// Runs the demo to its end: Ctrl-C, or with `once` the last call of the tour.
///
/// The sample API takes the place of the first app's upstreams. Ports that are taken are replaced by free ones. Must be
/// called within a tokio runtime that can do several things at once.
pub(crate) async fn run<G: Gate>(
    mut config: Config,
    options: Options,
    start: impl AsyncFnOnce(Config) -> Result<G, Error>,
) -> Result<ExitCode, Error> {
    let mut output = Output::standard();
    let wanted = config
        .apps
        .first()
        .and_then(|app| app.upstreams.first())
        .and_then(address);
    let sample = sample::Sample::start(wanted)
        .await
        .map_err(Error::Runtime)?;
    let taken = take_free_ports(&mut config);
    let app = config.apps.first_mut();
    let app = app.ok_or_else(|| Error::Config("the configuration has no app".to_owned()))?;
    let upstream = format!("http://{}", sample.address()).parse();
    app.upstreams = vec![upstream.expect("an address is an upstream")];
    let app = app.clone();
    let client = Client::new(Target::of_data_dir(&config.server.data_dir))?;

    let gate = start(config).await?;
    let license = mint(&client, &app.name, "demo").await?;
    let site = Site {
        client,
        key_header: app
            .license_headers
            .first()
            .map_or_else(String::new, |name| capitalised(name.as_str())),
        host: app
            .hosts
            .first()
            .map(|host| host.to_string().replace('*', "demo")),
        base: app
            .paths
            .first()
            .map_or("", |path| path.as_str().trim_end_matches('/'))
            .to_owned(),
        app: app.name,
        sample: sample.address(),
        gate: gate.listen(),
        license,
    };
    script::greet(&site, &gate, &options, &mut output)?;
    script::list_taken_ports(&taken, site.gate, &mut output)?;
    let result = if options.once {
        tour::take(&site, &mut output).await
    } else {
        script::invite(&site, &options, &mut output)?;
        stop_signal().await;
        Ok(())
    };
    gate.stop().await;
    sample.stop().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// Makes a license whose rate limit is above that of its plan, for a tour is faster than a
/// customer.
async fn mint(client: &Client, app: &AppName, label: &str) -> Result<License, Error> {
    let rate_limit: RateLimit = "1000/1m".parse().expect("a rate limit");
    let request = CreateLicense {
        spec: LicenseSpec {
            label: Some(label.to_owned()),
            limits: Limits {
                rate_limits: vec![rate_limit],
                ..Limits::default()
            },
            ..LicenseSpec::default()
        },
        ..CreateLicense::of_app(app.clone())
    };
    client.post("/licenses", &request).await
}

/// Returns a header's name as people write it; its case does not matter.
fn capitalised(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

/// Returns the address of an upstream on this host; `None` for any other.
fn address(upstream: &Upstream) -> Option<SocketAddr> {
    let host = upstream.host.trim_matches(['[', ']']);
    let ip = if host == "localhost" {
        Ipv4Addr::LOCALHOST.into()
    } else {
        host.parse().ok()?
    };
    Some(SocketAddr::new(ip, upstream.port)).filter(|address| address.ip().is_loopback())
}

/// Replaces the ports that another program listens on by free ones, and returns those of calls.
fn take_free_ports(config: &mut Config) -> Vec<u16> {
    let server = &mut config.server;
    let is_taken =
        |address: &&SocketAddr| address.port() != 0 && TcpListener::bind(**address).is_err();
    let taken = server.listen.iter().filter(is_taken);
    let taken = taken.map(SocketAddr::port).collect();
    let others = [&mut server.control, &mut server.metrics]
        .into_iter()
        .chain(&mut server.admin);
    for address in server.listen.iter_mut().chain(others) {
        if TcpListener::bind(*address).is_err() {
            address.set_port(0);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_takes_the_place_of_an_upstream_on_this_host_only() {
        let of = |text: &str| address(&text.parse().expect("an upstream"));
        assert_eq!(
            of("http://127.0.0.1:9000"),
            Some(([127, 0, 0, 1], 9000).into())
        );
        assert_eq!(of("http://localhost:81"), Some(([127, 0, 0, 1], 81).into()));
        assert!(of("http://[::1]:81").is_some());
        assert_eq!(of("http://192.0.2.1:81"), None);
        assert_eq!(of("http://api.example.com"), None);
    }

    #[test]
    fn a_header_is_shown_as_people_write_it() {
        assert_eq!(
            capitalised("apifew-user-license-key"),
            "Apifew-User-License-Key"
        );
        assert_eq!(capitalised("x--y"), "X--Y");
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut config = Config::default();
        config.server.metrics = taken.local_addr().expect("bound");
        config.server.listen = vec![config.server.metrics];
        assert_eq!(
            take_free_ports(&mut config),
            [taken.local_addr().expect("bound").port()]
        );
        assert_eq!(config.server.metrics.port(), 0);
        assert_eq!(config.server.listen[0].port(), 0);
    }
}
