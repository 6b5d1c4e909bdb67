//! Symbols: the journal's dictionary of texts that records name by number.

use crate::id::PlanRevisionId;
use crate::name::{AccountName, AppName, PlanName};

/// The meaning of a symbol number in records. It is written to the journal as text, so that a
/// segment can be read alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// An app with the account that sells it.
    App {
        /// The account.
        account: AccountName,
        /// The app.
        app: AppName,
    },
    /// The declared path of a route, `/` where the app declares none.
    Route(String),
    /// A revision of a plan.
    Plan {
        /// The plan's name.
        name: PlanName,
        /// The revision.
        revision: PlanRevisionId,
    },
    /// The word for a unit, such as `token` or `second`.
    Unit(String),
}

impl Symbol {
    /// The number that stands for no symbol.
    pub const NONE: u32 = 0;

    /// Returns the text that the journal keeps.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::App { account, app } => format!("app\t{account}\t{app}"),
            Self::Route(path) => format!("route\t{path}"),
            Self::Plan { name, revision } => format!("plan\t{name}\t{revision}"),
            Self::Unit(word) => format!("unit\t{word}"),
        }
    }

    /// Reads a text that [`Symbol::encode`] wrote; `None` for any other.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (kind, rest) = text.split_once('\t')?;
        match kind {
            "app" => {
                let (account, app) = rest.split_once('\t')?;
                Some(Self::App {
                    account: account.parse().ok()?,
                    app: app.parse().ok()?,
                })
            }
            "route" => Some(Self::Route(rest.to_owned())),
            "unit" => Some(Self::Unit(rest.to_owned())),
            "plan" => {
                let (name, revision) = rest.split_once('\t')?;
                Some(Self::Plan {
                    name: name.parse().ok()?,
                    revision: revision.parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_survive_their_text() {
        let symbols = [
            Symbol::App {
                account: AccountName::default(),
                app: "api".parse().expect("valid"),
            },
            Symbol::Route("/v1/reports".to_owned()),
            Symbol::Plan {
                name: "pro".parse().expect("valid"),
                revision: PlanRevisionId::from_u128(7),
            },
        ];
        for symbol in symbols {
            assert_eq!(Symbol::decode(symbol.encode().as_bytes()), Some(symbol));
        }
        for bad in [
            &b""[..],
            b"app",
            b"app\tx",
            b"plan\tpro\trev_1",
            b"\xff\t",
            b"cat\tx",
        ] {
            assert_eq!(Symbol::decode(bad), None);
        }
    }
}
