//! Checks of a server: its version, its role, its eviction policy, and the rights of the user.

use std::collections::HashMap;
use std::sync::Arc;

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind, cmd};

use crate::error::Error;
use crate::link::Link;

/// The oldest version of Redis that can be used: it speaks the third version of the protocol.
const OLDEST: &str = "6.2";

/// The reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server does not answer; that may pass by itself.
    Away(String),
    /// The user or the password is wrong.
    Denied(String),
    /// The user lacks these rights, as `ACL SETUSER` names them.
    NotPermitted(String),
    /// The server has this version, which is too old.
    TooOld(String),
    /// Something else is wrong that only the operator can mend.
    Unfit(String),
}

/// The parts of `INFO` that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) in_cluster: bool,
    pub(crate) is_replica: bool,
    /// The policy by which the server evicts keys when its memory is full; `None`: it does not.
    pub(crate) evicts: Option<String>,
}

impl Report {
    fn parse(info: &str) -> Self {
        let mut report = Self::default();
        for line in info.lines() {
            match line.trim_end().split_once(':') {
                Some(("redis_version", version)) => version.clone_into(&mut report.version),
                Some(("cluster_enabled", flag)) => report.in_cluster = flag == "1",
                Some(("role", role)) => report.is_replica = role == "slave",
                // A server without a limit on its memory evicts nothing yet, but the limit may be
                // set any day.
                Some(("maxmemory_policy", word)) if word != "noeviction" => {
                    report.evicts = Some(word.to_owned());
                }
                _ => {}
            }
        }
        report
    }

    /// Checks that the server can be used.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let numbers = |version: &str| {
            let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
            (parts.next().flatten(), parts.next().flatten())
        };
        if self.version.is_empty() {
            return Err(Fault::Unfit("it does not say its version".to_owned()));
        }
        if numbers(&self.version) < numbers(OLDEST) {
            return Err(Fault::TooOld(self.version.clone()));
        }
        if self.is_replica {
            let reason = "it is a replica at present, which takes no writes: name its master, or its Sentinels";
            return Err(Fault::Away(reason.to_owned()));
        }
        Ok(())
    }
}

/// Returns the policy by which a server, or one of a Cluster's masters, evicts keys when its memory
/// is full; `None`: none does.
pub(crate) async fn eviction(link: &mut Link) -> Result<Option<String>, RedisError> {
    match link {
        Link::Single(_) => Ok(look(link).await?.evicts),
        Link::Cluster(link) => {
            let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            let value = link.route_command(cmd("INFO"), all).await?;
            let texts = HashMap::<String, String>::from_redis_value(value)?;
            Ok(texts.values().find_map(|text| Report::parse(text).evicts))
        }
    }
}

/// Asks a server for its `INFO`; in a Cluster, any of its masters.
pub(crate) async fn look(link: &mut Link) -> Result<Report, RedisError> {
    let info = cmd("INFO");
    let text = match link {
        Link::Single(link) => info.query_async::<String>(link).await?,
        Link::Cluster(link) => {
            let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
            let value = link.route_command(info, any).await?;
            String::from_redis_value(value)?
        }
    };
    Ok(Report::parse(&text))
}

/// Returns whether an error says that the user lacks a right.
fn is_not_permitted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.code() == Some("NOPERM")
        || error.to_string().contains("NOPERM")
}

/// Returns the right that a refusal is about, as `ACL SETUSER` names it.
fn right_of(text: &str) -> String {
    match text.split_once('\'') {
        Some((_, rest)) if text.contains("command") => {
            format!(
                "+{}",
                rest.split('\'').next().unwrap_or(rest).to_lowercase()
            )
        }
        _ if text.contains("channel") => "&tg:*".to_owned(),
        _ if text.contains("key") => "~tg:*".to_owned(),
        _ => text.to_owned(),
    }
}

/// Checks that the user of a connection has every right that is ever needed. All that are missing
/// are reported together, so that the operator adds them at once. Leaves nothing behind.
///
/// # Errors
/// [`Fault::NotPermitted`] with the missing rights. Any other failure shows when the command is
/// needed.
pub(crate) async fn check_rights(link: &mut Link, key: &str, channel: &str) -> Result<(), Fault> {
    const UNKNOWN: &str = "0000000000000000000000000000000000000000";
    let one = |name: &str, arguments: &[&str]| {
        let mut command = cmd(name);
        command.arg(arguments);
        command
    };
    let trials = [
        one("PING", &[]),
        one("TIME", &[]),
        one("GET", &[key]),
        one("SET", &[key, "", "PX", "1"]),
        one("DEL", &[key]),
        one("HSET", &[key, "a", "b"]),
        one("HGETALL", &[key]),
        one("PEXPIRE", &[key, "1000"]),
        one("PTTL", &[key]),
        one("HDEL", &[key, "a"]),
        // A script that nobody loaded is not run; this only asks whether it may be.
        one("EVALSHA", &[UNKNOWN, "1", key]),
        one("EVAL", &["return 0", "1", key]),
        one("SCRIPT", &["LOAD", "return 0"]),
        one("PUBLISH", &[channel, ""]),
    ];
    let mut missing: Vec<String> = Vec::new();
    for trial in trials {
        let answer = trial.query_async::<redis::Value>(link).await;
        let Some(error) = answer.err().filter(is_not_permitted) else {
            continue;
        };
        let right = right_of(&error.to_string());
        if !missing.contains(&right) {
            missing.push(right);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Fault::NotPermitted(missing.join(" ")))
}

impl Fault {
    /// Returns the fault as an error of the start; `None`: it may pass by itself.
    pub(crate) fn fatal(self, server: &str) -> Option<Error> {
        let server = server.to_owned();
        match self {
            Self::Away(_) => None,
            Self::Denied(reason) => Some(Error::Denied { server, reason }),
            Self::NotPermitted(rights) => Some(Error::NotPermitted { server, rights }),
            Self::TooOld(found) => Some(Error::TooOld {
                server,
                found,
                oldest: OLDEST,
            }),
            Self::Unfit(reason) => Some(Error::Unfit { server, reason }),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(reason) | Self::Denied(reason) | Self::Unfit(reason) => f.write_str(reason),
            Self::TooOld(version) => write!(f, "it is Redis {version}"),
            Self::NotPermitted(rights) => write!(f, "the user lacks the rights {rights}"),
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        // The clients wrap the answer of a server in texts of their own; only its code is left of
        // it.
        let says = |code: &str| error.code() == Some(code) || text.contains(code);
        match error.kind() {
            ErrorKind::RESP3NotSupported => Self::TooOld("before 6.0".to_owned()),
            _ if is_not_permitted(&error) => Self::NotPermitted(right_of(&text)),
            ErrorKind::AuthenticationFailed => Self::Denied(text),
            _ if says("WRONGPASS") || says("NOAUTH") => Self::Denied(text),
            _ if says("cluster support disabled") => {
                Self::Unfit("it is no Cluster: name one server, not a list".to_owned())
            }
            _ if says("DB index is out of range") || says("SELECT is not allowed") => {
                Self::Unfit(format!("it has no such database: {text}"))
            }
            ErrorKind::MasterNameNotFoundBySentinel => {
                Self::Unfit("its Sentinels know no master of this name".to_owned())
            }
            ErrorKind::InvalidClientConfig => Self::Unfit(text),
            ErrorKind::Parse => Self::Unfit(format!("its answer is not that of a Redis: {text}")),
            _ => Self::Away(in_words(&error).unwrap_or(text)),
        }
    }
}

/// Returns the error of the operating system in words of ours; `None`: the error is not the
/// system's.
fn in_words(error: &RedisError) -> Option<String> {
    // The client shares what it keeps of the system's error.
    let cause = std::error::Error::source(error)?;
    let shared = cause.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let of_system = shared.downcast_ref::<std::io::Error>()?;
    Some(model::system::in_words(of_system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_right_that_is_missing() {
        for (text, right) in [
            (
                "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
                "+evalsha",
            ),
            (
                "NOPERM: User tallygate has no permissions to run the 'script|load' command",
                "+script|load",
            ),
            (
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                "~tg:*",
            ),
            ("NOPERM No permissions to access a channel", "&tg:*"),
        ] {
            assert_eq!(right_of(text), right, "{text}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_told_of_in_words() {
        let refused = std::io::Error::from_raw_os_error(111);
        let fault = Fault::from(RedisError::from(refused));
        assert_eq!(fault, Fault::Away("nobody listens there".to_owned()));
    }

    #[test]
    fn a_server_is_judged_by_what_it_says_of_itself() {
        let report = Report::parse(
            "# Server\r\nredis_version:7.0.15\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\n",
        );
        assert_eq!((report.evicts.as_deref(), report.check()), (None, Ok(())));
        let full =
            Report::parse("redis_version:7.2.4\nmaxmemory:100\nmaxmemory_policy:volatile-lru\n");
        assert_eq!(full.evicts.as_deref(), Some("volatile-lru"));
        let old = Report::parse("redis_version:6.0.16\n");
        assert_eq!(old.check(), Err(Fault::TooOld("6.0.16".to_owned())));
        let replica = Report::parse("redis_version:7.0.15\nrole:slave\n");
        assert!(matches!(replica.check(), Err(Fault::Away(_))));
        assert!(matches!(Report::parse("").check(), Err(Fault::Unfit(_))));
    }
}
