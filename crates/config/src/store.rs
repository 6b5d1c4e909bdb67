//! `[store]` and `[redis]`: the store of licenses and rollups, and its cache.

use crate::duration::Millis;
use crate::reader::Section;
use crate::secret::Secret;
use crate::value::FromValue;

/// `[store]`: the store of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The kind of store, with its URL \[SQLite in `data_dir`\].
    pub url: StoreUrl,
    /// PostgreSQL: the most connections \[8\].
    pub connections: usize,
    /// PostgreSQL: the longest time that making a connection may take \[2 s\].
    pub connect_timeout: Millis,
    /// PostgreSQL: the longest time that a statement may take for which somebody waits \[2 s\].
    pub timeout: Millis,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: StoreUrl::Sqlite,
            connections: 8,
            connect_timeout: Millis::from_seconds(2),
            timeout: Millis::from_seconds(2),
        }
    }
}

/// A store of record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreUrl {
    /// SQLite in `data_dir`: one node, nothing to install.
    #[default]
    Sqlite,
    /// PostgreSQL, for a fleet; its URL may hold a password.
    Postgres(Secret),
}

/// `[redis]`: the cache of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The URLs, several for a Cluster; empty: no Redis is used \[none\]. They may hold passwords.
    pub urls: Vec<Secret>,
    /// The longest time that a command may take, 1 ms to 10 s \[100 ms\].
    pub timeout: Millis,
    /// The longest time that making a connection may take, up to a minute \[1 s\].
    pub connect_timeout: Millis,
    /// The time that a snapshot is kept in Redis \[1 h\].
    pub keep: Millis,
    /// The time between two exchanges of counts that gates share, 1 ms to 10 s \[100 ms\].
    pub exchange: Millis,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            timeout: Millis::from_millis(100),
            connect_timeout: Millis::from_seconds(1),
            keep: Millis::from_seconds(3_600),
            exchange: Millis::from_millis(100),
        }
    }
}

/// The URL of a Redis.
struct RedisUrl(Secret);

impl Store {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let store = Self {
            url: section.value("url", default.url),
            connections: section.number("connections", 2..=1_000, default.connections as u64)
                as usize,
            connect_timeout: section.timeout("connect_timeout", default.connect_timeout),
            timeout: section.timeout("timeout", default.timeout),
        };
        section.finish();
        store
    }
}

impl Redis {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let urls: Vec<RedisUrl> = section.one_or_list("url");
        let redis = Self {
            urls: urls.into_iter().map(|RedisUrl(url)| url).collect(),
            timeout: section.timeout("timeout", default.timeout),
            connect_timeout: section.timeout("connect_timeout", default.connect_timeout),
            keep: section.timeout("keep", default.keep),
            exchange: section.timeout("exchange", default.exchange),
        };
        for (key, time, most) in [
            ("timeout", redis.timeout, Millis::from_seconds(10)),
            ("exchange", redis.exchange, Millis::from_seconds(10)),
            (
                "connect_timeout",
                redis.connect_timeout,
                Millis::from_seconds(60),
            ),
        ] {
            if time > most {
                let message = format!("{key}: {time} is not allowed here: write 1ms to {most}");
                section.report(section.at(key), message);
            }
        }
        section.finish();
        redis
    }
}

/// Returns whether a text is a URL of one of these schemes with a host.
pub(crate) fn is_url(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    // The URL of a Unix socket has a path and no host.
    let host = !host.is_empty() || (scheme == "redis+unix" && rest.len() > 1);
    schemes.contains(&scheme) && host && plain
}

const STRAY_SIGN_MESSAGE: &str = "a user or a password in this URL has one of `@`, `/`, `?` and `#` as it is, which ends it: percent-encode it (`%40`, `%2F`, `%3F`, `%23`), or write `${NAME|url}` and set NAME in the environment";

/// Returns whether a sign that ends a part of a URL stands in its user or password. A password is
/// followed by an `@`. So if one comes after the first sign that ends the authority, or a second
/// one before it, the text read as host, path or parameter may be a part of the password, and would
/// be looked up or shown. An `@` that is meant there is written `%40`.
fn has_stray_sign(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    // The path of a Unix socket may have an `@` of its own.
    if scheme == "redis+unix" {
        return false;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    authority.matches('@').count() > 1 || after.contains('@')
}

// The text of a URL may hold a password: no message repeats it.
impl FromValue for StoreUrl {
    const EXPECTED: &'static str = "\"sqlite\" or \"postgres://user:password@host/database\"";
    const IS_URL: bool = true;

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(match text {
            "sqlite" => Ok(Self::Sqlite),
            url if has_stray_sign(url) => Err(STRAY_SIGN_MESSAGE.to_owned()),
            url if is_url(url, &["postgres", "postgresql"]) => {
                Ok(Self::Postgres(url.to_owned().into()))
            }
            _ => Err(format!("this is not a store: write {}", Self::EXPECTED)),
        })
    }
}

impl FromValue for RedisUrl {
    const EXPECTED: &'static str =
        "\"redis://host:port\", \"rediss://host:port\" or \"redis+sentinel://host:port/name\"";
    const IS_URL: bool = true;

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let schemes = [
            "redis",
            "rediss",
            "redis+unix",
            "redis+sentinel",
            "rediss+sentinel",
        ];
        if has_stray_sign(text) {
            return Some(Err(STRAY_SIGN_MESSAGE.to_owned()));
        }
        let valid = is_url(text, &schemes).then(|| Self(text.to_owned().into()));
        Some(
            valid
                .ok_or_else(|| format!("this is not the URL of a Redis: write {}", Self::EXPECTED)),
        )
    }
}
