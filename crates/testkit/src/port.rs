//! Ports that no other test, in this process or another, is given at the same time.
//!
//! The gate binds its listeners itself and does not report the port that it got, so a test must
//! know a free one beforehand. Binding port 0 and letting go is a race. Here a port is a locked
//! file, held for as long as it is in use. The range lies below the kernel's ephemeral one, so that
//! no outgoing connection takes a port between the choice and the bind.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 16_000;
const COUNT: u32 = 16_000;

/// A free TCP port of 127.0.0.1, kept from all other tests until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // The lock lives as long as the open file.
    _lock: File,
}

impl Port {
    /// Takes a port that nothing listens on and no other test holds.
    ///
    /// # Panics
    /// When the whole range is taken or the lock files cannot be made.
    #[must_use]
    pub fn take() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = lock_folder();
        // Processes start at different places, so that they rarely meet.
        let start = std::process::id().wrapping_mul(37);
        for _ in 0..COUNT {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = u16::try_from(FIRST + offset).expect("the range ends below 65,536");
            let lock =
                File::create(folder.join(number.to_string())).expect("a lock file can be made");
            if lock.try_lock().is_ok() && is_free(number) {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// Returns the number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns the port as an address of 127.0.0.1.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

fn lock_folder() -> PathBuf {
    let folder = std::env::temp_dir().join("tallygate-test-ports");
    fs::create_dir_all(&folder).expect("the folder of lock files can be made");
    folder
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_at_a_time() {
        let ports: Vec<Port> = (0..50).map(|_| Port::take()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let port = Port::take();
        let listener = TcpListener::bind(port.addr()).unwrap();
        assert!(!is_free(port.number()));
        drop(listener);
        assert!(is_free(port.number()));
    }
}
