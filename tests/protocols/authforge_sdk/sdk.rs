//! An SDK as the tests drive it, whichever it is.

use std::path::Path;

use serde_json::Value;

/// A copy of the software: what it is built with, and where it runs.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    pub(super) base_url: String,
    pub(super) app_id: String,
    pub(super) app_secret: String,
    pub(super) public_key: String,
    /// The id of the device.
    pub(super) device: String,
    /// The life of a session that it asks for, in seconds; `None`: it asks for none.
    pub(super) ttl: Option<u64>,
    /// Whether it sends heartbeats. Otherwise its background check looks at the end of the session alone.
    pub(super) heartbeats: bool,
    /// The seconds that it waits for an answer; `None`: as many as the SDK says.
    pub(super) timeout: Option<u64>,
}

/// The result of what an SDK does: what the gate signed, or the code by which the SDK tells what went wrong.
pub(super) type Said = Result<Value, String>;

/// A copy of the software that runs.
pub(super) trait Sdk: Send + Sized {
    /// Whether the SDK sends a request again when its connection is closed without an answer. The package for Python does so
    /// only when none comes in time.
    const REPEATS_WHEN_CUT: bool;
    /// The number of heartbeats that a test waits for: the crate sends one in ten seconds.
    const BEATS: u64;

    /// Starts a installation.
    fn start(installation: &Installation) -> Self;
    /// Logs in, which begins the background checks.
    fn login(&mut self, key: &str) -> Said;
    /// Validates a license without a session.
    fn validate(&mut self, key: &str) -> Said;
    /// Returns the signed part of the newest answer.
    fn session(&mut self) -> Value;
    /// Returns whether there is a session.
    fn is_authenticated(&mut self) -> bool;
    /// Returns the codes that the background checks reported.
    fn told(&mut self) -> Vec<String>;
    /// Bans its device, and with `revoke` its license.
    fn ban(&mut self, key: Option<&str>, revoke: bool) -> Result<(), String>;
    /// Has an offline file made, and logs in with it.
    fn activate(&mut self, key: &str, path: &Path) -> Result<(), String>;
    /// Logs in with an offline file.
    fn login_from_file(&mut self, path: &Path) -> Said;
    /// Returns the activation request of its device.
    fn request(&mut self) -> String;
}

/// Makes a test for each SDK of each function.
macro_rules! of_both {
    ($($(#[$attribute:meta])* $name:ident;)+) => {
        mod python {
            $($(#[$attribute])* #[test]
            fn $name() {
                super::$name::<super::super::python_sdk::PythonSdk>();
            })+
        }
        mod rust {
            $($(#[$attribute])* #[test]
            fn $name() {
                super::$name::<super::super::crate_sdk::CrateSdk>();
            })+
        }
    };
}
pub(super) use of_both;
