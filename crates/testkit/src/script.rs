//! The behaviours of the scripted upstream, chosen by a request's path. The table is in the docs of
//! `upstream`.

use std::time::Duration;

/// A scripted behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// A whole answer with a Content-Length, after a pause.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        bytes: usize,
        after: Duration,
    },
    /// A chunked answer, with a pause before each chunk.
    Stream {
        chunks: usize,
        bytes: usize,
        gap: Duration,
    },
    /// A body of known length, one byte at a time.
    Drip { bytes: usize, gap: Duration },
    /// A head that comes a byte at a time.
    DripHead { bytes: usize, gap: Duration },
    /// A body that ends with the connection.
    UntilClose { bytes: usize },
    /// An informational answer first, then 200.
    Informational { status: u16 },
    /// The request as JSON.
    Echo,
    /// An answer before the request's body was read, then the connection is closed.
    Early { status: u16 },
    /// 200 and `Connection: close`.
    LastAnswer,
    /// Nothing until the test releases it; then 200.
    Hold,
    /// The head and half the body, and the rest when the test releases it.
    HoldMidBody {
        /// Whether this happens before the request's body was read.
        early: bool,
    },
    /// Nothing, until the other side leaves.
    Hang,
    /// The connection breaks before or within the answer.
    Disconnect { how: Disconnect, at: DisconnectAt },
    /// Bytes that are not HTTP.
    Garbage,
    /// 101, then every byte comes back.
    Upgrade,
    /// These bytes, as they are.
    Raw {
        bytes: Vec<u8>,
        close: bool,
        /// Whether this happens before the request's body was read.
        early: bool,
    },
}

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    Close,
    Reset,
}

/// The place in an answer where a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisconnectAt {
    BeforeHead,
    MidHead,
    /// After 1,000 of 10,000 declared bytes.
    MidBody,
    /// After one chunk, without the last.
    MidChunks,
}

impl Behaviour {
    /// Returns the behaviour that the first known word of a path asks for; a 200 if there is none.
    pub(crate) fn of_target(target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        while let Some(segment) = segments.next() {
            let rest: Vec<&str> = segments.clone().collect();
            if let Some(behaviour) = Self::of_word(segment, &rest) {
                return behaviour;
            }
        }
        Self::answer(200, Vec::new(), 3)
    }

    fn of_word(word: &str, rest: &[&str]) -> Option<Self> {
        let number = |at: usize, default: usize| {
            rest.get(at)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let milliseconds = |at: usize| Duration::from_millis(number(at, 0) as u64);
        let status = || u16::try_from(number(0, 200)).unwrap_or(200);
        let disconnecting = |how, at| Some(Self::Disconnect { how, at });
        match word {
            "status" => Some(Self::answer(status(), Vec::new(), number(1, 3))),
            "bytes" => Some(Self::answer(200, Vec::new(), number(0, 0))),
            "delay" => {
                let after = milliseconds(0);
                Some(Self::Answer {
                    status: 200,
                    headers: Vec::new(),
                    bytes: 3,
                    after,
                })
            }
            "units" => Some(Self::answer(
                200,
                vec![("X-Units".into(), rest.first()?.to_string())],
                3,
            )),
            "header" => {
                let value = rest.get(1).copied().unwrap_or_default();
                Some(Self::answer(
                    200,
                    vec![(rest.first()?.to_string(), value.to_owned())],
                    3,
                ))
            }
            "stream" => Some(Self::Stream {
                chunks: number(0, 3),
                bytes: number(1, 10),
                gap: milliseconds(2),
            }),
            "slow-body" => Some(Self::Drip {
                bytes: number(0, 10),
                gap: milliseconds(1),
            }),
            "slow-head" => Some(Self::DripHead {
                bytes: number(0, 10),
                gap: milliseconds(1),
            }),
            "until-close" => Some(Self::UntilClose {
                bytes: number(0, 10),
            }),
            "informational" => Some(Self::Informational { status: status() }),
            "echo" => Some(Self::Echo),
            "early-413" => Some(Self::Early { status: 413 }),
            "last-answer" => Some(Self::LastAnswer),
            "hold" => Some(Self::Hold),
            "hold-mid-body" => Some(Self::HoldMidBody { early: false }),
            "early-hold-mid-body" => Some(Self::HoldMidBody { early: true }),
            "hang" => Some(Self::Hang),
            "reset-before-head" => disconnecting(Disconnect::Reset, DisconnectAt::BeforeHead),
            "close-before-head" => disconnecting(Disconnect::Close, DisconnectAt::BeforeHead),
            "close-mid-head" => disconnecting(Disconnect::Close, DisconnectAt::MidHead),
            "reset-mid-body" => disconnecting(Disconnect::Reset, DisconnectAt::MidBody),
            "close-mid-body" => disconnecting(Disconnect::Close, DisconnectAt::MidBody),
            "cut-chunked" => disconnecting(Disconnect::Close, DisconnectAt::MidChunks),
            "garbage" => Some(Self::Garbage),
            "upgrade" => Some(Self::Upgrade),
            "raw" | "early-raw" => Some(Self::Raw {
                bytes: bytes_of_hex(rest.first()?)?,
                close: rest.get(1) == Some(&"close"),
                early: word == "early-raw",
            }),
            _ => None,
        }
    }

    fn answer(status: u16, headers: Vec<(String, String)>, bytes: usize) -> Self {
        Self::Answer {
            status,
            headers,
            bytes,
            after: Duration::ZERO,
        }
    }
}

/// Returns the path that makes a scripted upstream answer with these bytes and nothing else.
#[must_use]
pub fn raw_answer(bytes: &str) -> String {
    let digits: String = bytes.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("/raw/{digits}")
}

fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_word_of_a_path_decides() {
        assert_eq!(
            Behaviour::of_target("/paid/v1/status/418?x=1"),
            Behaviour::answer(418, Vec::new(), 3)
        );
        assert_eq!(
            Behaviour::of_target(&raw_answer("HTTP")),
            Behaviour::Raw {
                bytes: b"HTTP".to_vec(),
                close: false,
                early: false
            }
        );
        assert_eq!(
            Behaviour::of_target("/nothing/known"),
            Behaviour::answer(200, Vec::new(), 3)
        );
        assert_eq!(
            Behaviour::of_target("/stream/5/100/20"),
            Behaviour::Stream {
                chunks: 5,
                bytes: 100,
                gap: Duration::from_millis(20)
            }
        );
    }
}
