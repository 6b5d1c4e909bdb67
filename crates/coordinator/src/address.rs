//! The address of a Redis: one server, the master that Sentinels name, or a Cluster.

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
};

use crate::error::Error;

/// The address of a Redis, read from its URLs.
#[derive(Clone)]
pub(crate) enum Address {
    /// The address of one server. If it turns out to be part of a Cluster, it is used as such.
    Single(ConnectionInfo),
    /// The master that these Sentinels know by this name.
    Sentinels {
        sentinels: Vec<ConnectionInfo>,
        service: String,
        /// The login of the master.
        login: RedisConnectionInfo,
        tls: bool,
    },
    /// The addresses of some servers of a Cluster, which name the others.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// Reads the URLs. No message of an error repeats one, since it may hold a password.
    pub(crate) fn parse(urls: &[String]) -> Result<Self, Error> {
        match urls {
            [] => Err(Error::Url(
                "there is none: write \"redis://host:port\"".to_owned(),
            )),
            [url] if is_sentinel(url) => Self::sentinels(url),
            [url] => Ok(Self::Single(server(url)?)),
            urls if urls.iter().any(|url| is_sentinel(url)) => Err(Error::Url(
                "write all Sentinels into one URL: \"redis+sentinel://host1:port,host2:port/name\""
                    .to_owned(),
            )),
            urls => {
                let servers: Result<_, _> = urls.iter().map(|url| server(url)).collect();
                Ok(Self::Cluster(servers?))
            }
        }
    }

    /// Reads `redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/database]`.
    fn sentinels(url: &str) -> Result<Self, Error> {
        const FORM: &str =
            "write \"redis+sentinel://user:password@host1:26379,host2:26379/name/database\"";
        let wrong = |what: &str| Error::Url(format!("{what}: {FORM}"));
        let tls = url.starts_with("rediss");
        let (_, rest) = url.split_once("://").ok_or_else(|| wrong("no URL"))?;
        let (authority, path) = rest
            .split_once('/')
            .ok_or_else(|| wrong("the name of the service is missing"))?;
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err(wrong("the name of the service is missing"));
        }
        let scheme = if tls { "rediss" } else { "redis" };
        let plain = |host: &str| {
            let port = if has_port(host) { "" } else { ":26379" };
            server(&format!("{scheme}://{host}{port}"))
        };
        let sentinels: Result<Vec<_>, _> = hosts.split(',').map(plain).collect();
        let master = server(&format!("{scheme}://{login}@sentinel/{database}"))?;
        Ok(Self::Sentinels {
            sentinels: sentinels.map_err(|_| wrong("a host is not one"))?,
            service: service.to_owned(),
            login: master.redis_settings().clone(),
            tls,
        })
    }

    /// Returns a name for messages: hosts and ports, no user and no password.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Single(server) => server.addr().to_string(),
            Self::Sentinels {
                sentinels, service, ..
            } => format!("{service} of the sentinels {}", names(sentinels)),
            Self::Cluster(servers) => format!("the cluster {}", names(servers)),
        }
    }
}

fn names(servers: &[ConnectionInfo]) -> String {
    let names: Vec<_> = servers
        .iter()
        .map(|server| server.addr().to_string())
        .collect();
    names.join(", ")
}

fn is_sentinel(url: &str) -> bool {
    url.starts_with("redis+sentinel://") || url.starts_with("rediss+sentinel://")
}

fn has_port(host: &str) -> bool {
    let after_address = host.rsplit(']').next().unwrap_or(host);
    after_address.contains(':')
}

/// Reads the URL of one server. Answers come in the third version of the protocol, which carries
/// pushes.
fn server(url: &str) -> Result<ConnectionInfo, Error> {
    let info = url.into_connection_info().map_err(|_| {
        let reason =
            "this is not the URL of a Redis: write \"redis://user:password@host:port/database\"";
        Error::Url(reason.to_owned())
    })?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        let reason = "`#insecure` takes away what TLS is for: remove it";
        return Err(Error::Url(reason.to_owned()));
    }
    let login = info.redis_settings().clone();
    Ok(info.set_redis_settings(login.set_protocol(ProtocolVersion::RESP3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(urls: &[&str]) -> Result<Address, Error> {
        let urls: Vec<_> = urls.iter().map(|url| (*url).to_owned()).collect();
        Address::parse(&urls)
    }

    #[test]
    fn a_server_its_sentinels_and_a_cluster_are_told_apart_and_named_without_passwords() {
        let name = |urls: &[&str]| parse(urls).unwrap().name();
        assert_eq!(name(&["redis://u:hunter2@r:7000/3"]), "r:7000");
        assert_eq!(
            name(&["redis+sentinel://u:hunter2@a,b:7001/main/2"]),
            "main of the sentinels a:26379, b:7001"
        );
        assert_eq!(
            name(&["redis://:hunter2@a:1", "redis://:hunter2@b:2"]),
            "the cluster a:1, b:2"
        );
    }

    #[test]
    fn the_login_of_a_sentinel_url_is_that_of_the_master() {
        let parsed = parse(&["redis+sentinel://u:hunter2@a,b:7001/main/2"]).unwrap();
        let Address::Sentinels {
            service,
            login,
            sentinels,
            tls,
        } = parsed
        else {
            panic!("not a sentinel");
        };
        assert_eq!((service.as_str(), login.db(), tls), ("main", 2, false));
        assert_eq!(login.username(), Some("u"));
        assert_eq!(login.password(), Some("hunter2"));
        let open = |info: &ConnectionInfo| info.redis_settings().password().is_none();
        assert!(sentinels.iter().all(open));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for urls in [
            &["http://:hunter2@r"][..],
            &["redis://:hunter2@r:99999"],
            &["redis://:hunter2@r/none"],
            &["redis+sentinel://:hunter2@a"],
            &["redis+sentinel://:hunter2@a,:x/main"],
            &["rediss://:hunter2@a/0#insecure"],
            &["redis+sentinel://:hunter2@a/x", "redis://b"],
            &[],
        ] {
            let message = parse(urls).err().expect("refused").to_string();
            assert!(message.starts_with("[redis] url: "), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
