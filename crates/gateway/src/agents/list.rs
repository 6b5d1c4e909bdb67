//! The list of agents that are known, and the file that replaces it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agents::{CurrentRecognizer, KnownAgents};
use config::{Config, Finding};
use gate::Agents;
use model::system::in_words;

/// The time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

/// Refuses a file of known agents that cannot be used.
pub(crate) fn judge(config: &Config) -> Option<Finding> {
    let message = read(config.server.known_agents.as_ref()?).err()?;
    Some(Finding {
        section: "server",
        key: "known_agents",
        message,
    })
}

/// Reads the file anew whenever it changes. A bad one leaves the list as it was. Never returns.
pub(super) async fn follow(
    path: PathBuf,
    known: Arc<CurrentRecognizer>,
    deciding: Option<Arc<Agents>>,
) {
    // Read at the start. What changed since is found by the first look.
    let mut seen = None;
    let mut last = Ok(());
    loop {
        let path = path.clone();
        let looked = tokio::task::spawn_blocking(move || look(&path, seen)).await;
        let Ok((stamp, found)) = looked else {
            return;
        };
        seen = stamp;
        match found {
            None => {}
            Some(Ok(list)) => {
                let agents = list.all().len();
                tracing::info!(agents, "the list of known agents was read");
                known.replace(list);
                if let Some(deciding) = &deciding {
                    deciding.trust_list();
                }
                last = Ok(());
            }
            Some(Err(reason)) => {
                if last != Err(reason.clone()) {
                    tracing::error!(%reason, "the list of known agents stays as it was");
                }
                last = Err(reason);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns the state of the file, and what it says if that is another state than the one that was
/// seen.
fn look(path: &Path, seen: Option<Stamp>) -> (Option<Stamp>, Option<Result<KnownAgents, String>>) {
    let stamp = std::fs::metadata(path).ok().map(Stamp::from);
    match stamp == seen && stamp.is_some() {
        true => (stamp, None),
        false => (stamp, Some(read(path))),
    }
}

/// Returns the agents of a file, or what is wrong with it.
pub(super) fn read(path: &Path) -> Result<KnownAgents, String> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|error| format!("{name}: {}", in_words(&error)))?;
    KnownAgents::read(&name, &text).map_err(|error| error.to_string())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than a list may have, so that a longer one is refused as such.
    let limit = KnownAgents::MAX_FILE_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

impl From<Metadata> for Stamp {
    fn from(metadata: Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: metadata.modified().ok(),
        }
    }
}
