//! The types that a single value of the file can be read as.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;
use model::{AccountName, AppName, Currency, HostPattern, Interval, Method, Money, Outcome};
use model::{ParentPath, ParseNetworkError, PlanName, RateLimit};

/// A type that a single value can be read as.
pub(crate) trait FromValue: Sized {
    /// The text after "write" in messages: what is allowed.
    const EXPECTED: &'static str;

    /// Whether the file writes the value as a string. Others are a string only to name an
    /// environment variable.
    const IS_TEXT: bool = true;

    /// Whether the value is a URL that may name a user and a password.
    const IS_URL: bool = false;

    /// Reads a string, or says why it cannot; `None` if a string is not allowed at all.
    fn from_text(text: &str) -> Option<Result<Self, String>>;

    /// Reads a whole number; `None` if one is not allowed at all.
    fn from_integer(_number: i128) -> Option<Result<Self, String>> {
        None
    }

    /// Reads `true` or `false`; `None` if these are not allowed.
    fn from_boolean(_flag: bool) -> Option<Self> {
        None
    }
}

/// Reads a type by its `FromStr`, whose error says what is allowed.
macro_rules! from_text {
    ($($type:ty, $expected:literal;)*) => {$(
        impl $crate::value::FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Result<Self, String>> {
                Some(text.parse().map_err(|error: <$type as std::str::FromStr>::Err| error.to_string()))
            }
        }
    )*};
}
pub(crate) use from_text;

from_text! {
    AccountName, "the name of an account in a string";
    AppName, "the name of an app in a string";
    HostPattern, "a host in a string, such as \"api.example.com\"";
    Interval, "a duration in a string, such as \"72h\"";
    Money, "a decimal number in a string, such as \"0.01\"";
    ParentPath, "a path in a string, such as \"/v1/reports\"";
    PlanName, "the name of a plan in a string";
    RateLimit, "calls and a duration in a string, such as \"100/1h\"";
}

/// Declares an enum that the file names by words; one of them is the default.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        model::word_enum! {
            $(#[$doc])*
            #[derive(Default)]
            $name { $($(#[$variant_doc])* $variant => $word,)* }
        }

        impl $crate::value::FromValue for $name {
            const EXPECTED: &'static str = $crate::value::alternatives!($($word),*);

            fn from_text(text: &str) -> Option<Result<Self, String>> {
                let not_a_word = || $crate::value::not_a_word(text, Self::EXPECTED);
                Some(Self::parse(text).ok_or_else(not_a_word))
            }
        }
    };
}
pub(crate) use words;

/// Makes `"one", "two" or "three"`, as a literal.
macro_rules! alternatives {
    ($only:literal) => { concat!("\"", $only, "\"") };
    ($first:literal, $last:literal) => { concat!("\"", $first, "\" or \"", $last, "\"") };
    ($first:literal, $($rest:literal),+) => {
        concat!("\"", $first, "\", ", $crate::value::alternatives!($($rest),+))
    };
}
pub(crate) use alternatives;

pub(crate) fn not_a_word(text: &str, expected: &str) -> String {
    format!("`{}` is not allowed here: write {expected}", clip(text))
}

pub(crate) fn clip(text: &str) -> String {
    model::quoted(text, 80)
}

/// A currency that prices can be in. Books may hold others, from earlier times.
impl FromValue for Currency {
    const EXPECTED: &'static str = "a currency in a string, such as \"EUR\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let currency = text.parse::<Self>().map_err(|error| error.to_string());
        Some(currency.and_then(|currency| match currency.minor_digits() {
            Some(_) => Ok(currency),
            None => Err(format!(
                "`{currency}` is not a currency that anybody pays with: write a code of ISO 4217, such as \"EUR\""
            )),
        }))
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "true or false";
    const IS_TEXT: bool = false;

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        text.parse().ok().map(Ok)
    }

    fn from_boolean(flag: bool) -> Option<Self> {
        Some(flag)
    }
}

impl FromValue for i128 {
    const EXPECTED: &'static str = "a whole number";
    const IS_TEXT: bool = false;

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        text.parse().ok().map(Ok)
    }

    fn from_integer(number: i128) -> Option<Result<Self, String>> {
        Some(Ok(number))
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "a string";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(Ok(text.to_owned()))
    }
}

impl FromValue for PathBuf {
    const EXPECTED: &'static str = "a path in a string";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        if text.is_empty() || text.contains('\0') {
            return Some(Err(
                "this is not a path: write one, such as \"data\"".to_owned()
            ));
        }
        Some(Ok(text.into()))
    }
}

impl FromValue for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and a port in a string, such as \"127.0.0.1:8080\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let refused = |_| {
            format!(
                "`{}` is not an address: write {}",
                clip(text),
                Self::EXPECTED
            )
        };
        Some(text.parse().map_err(refused))
    }
}

impl FromValue for IpNet {
    const EXPECTED: &'static str = "a network or an IP address in a string, such as \"10.0.0.0/8\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let refused = |error| match error {
            ParseNetworkError::NotOne => format!(
                "`{}` is not a network: write {}",
                clip(text),
                Self::EXPECTED
            ),
            ParseNetworkError::HostBits { .. } => format!("`{}`: {error}", clip(text)),
        };
        Some(model::parse_network(text).map_err(refused))
    }
}

impl FromValue for HeaderName {
    const EXPECTED: &'static str = "the name of a header in a string, such as \"X-Api-Key\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let refused = |_| {
            format!(
                "`{}` is not the name of a header: write {}",
                clip(text),
                Self::EXPECTED
            )
        };
        Some(text.parse().map_err(refused))
    }
}

impl FromValue for Method {
    const EXPECTED: &'static str =
        "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS or TRACE in a string";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let named = Self::parse(text).filter(|method| *method != Self::Other);
        Some(named.ok_or_else(|| not_a_word(text, Self::EXPECTED)))
    }
}

/// Outcomes that a bill may count. A call that was refused, or that had no status, is never billed.
impl FromValue for Outcome {
    const EXPECTED: &'static str = alternatives!(
        "delivered",
        "client_gone",
        "interrupted",
        "upstream_failed",
        "gateway_failed"
    );

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let named =
            Self::parse(text).filter(|outcome| !matches!(outcome, Self::Refused | Self::Unknown));
        Some(named.ok_or_else(|| not_a_word(text, Self::EXPECTED)))
    }
}
