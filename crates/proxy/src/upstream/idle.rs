//! The connections to upstreams that a thread keeps open between calls.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::ticks;

/// The number of unused connections that a thread keeps at most.
pub(crate) const MAX_IDLE_SOCKETS: usize = 256;

/// The unused connections of one thread. They have no task and no timer.
#[derive(Debug, Default)]
pub(crate) struct IdleSockets {
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    /// Connections by address, those unused longest in front. An empty list stays until the next
    /// sweep, since the next call fills it again.
    by_address: HashMap<SocketAddr, VecDeque<Idle>>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    socket: TcpStream,
    since: u64,
    /// The ticks for which it may wait.
    limit: u64,
}

impl IdleSockets {
    /// Takes the connection to this address that was used last; `None`: none of them is still good.
    pub(crate) fn take(&self, address: &SocketAddr, now: u64) -> Option<TcpStream> {
        loop {
            let idle = self.sockets.lock().pop_newest(address)?;
            if idle.is_good(now) {
                return Some(idle.socket);
            }
        }
    }

    /// Keeps a connection for at most `limit` ticks. If there are too many, the one unused longest
    /// is closed.
    pub(crate) fn put(&self, address: SocketAddr, socket: TcpStream, now: u64, limit: u64) {
        let mut sockets = self.sockets.lock();
        if sockets.count >= MAX_IDLE_SOCKETS {
            sockets.pop_oldest();
        }
        let idle = Idle {
            socket,
            since: now,
            limit,
        };
        let waiting = sockets.by_address.entry(address).or_default();
        waiting.push_back(idle);
        sockets.count += 1;
    }

    /// Closes all connections, after a suspension of the thread whose length is not known.
    pub(crate) fn close_all(&self) {
        *self.sockets.lock() = Sockets::default();
    }

    /// Closes the connections that have waited too long, and those that the upstream closed.
    pub(crate) fn sweep(&self, now: u64) {
        let mut sockets = self.sockets.lock();
        sockets.by_address.retain(|_, waiting| {
            waiting.retain(|idle| idle.is_good(now));
            !waiting.is_empty()
        });
        sockets.count = sockets.by_address.values().map(VecDeque::len).sum();
    }
}

impl Sockets {
    fn pop_newest(&mut self, address: &SocketAddr) -> Option<Idle> {
        self.pop(address, VecDeque::pop_back)
    }

    fn pop_oldest(&mut self) -> Option<Idle> {
        let fronts = self.by_address.iter();
        let fronts = fronts.filter_map(|(address, waiting)| Some((address, waiting.front()?)));
        let (address, _) = fronts.min_by_key(|(_, idle)| idle.since)?;
        self.pop(&address.clone(), VecDeque::pop_front)
    }

    fn pop(
        &mut self,
        address: &SocketAddr,
        pop: fn(&mut VecDeque<Idle>) -> Option<Idle>,
    ) -> Option<Idle> {
        let idle = pop(self.by_address.get_mut(address)?)?;
        self.count -= 1;
        Some(idle)
    }
}

impl Idle {
    fn is_good(&self, now: u64) -> bool {
        !ticks::is_over(self.since, self.limit, now) && is_open(&self.socket)
    }
}

/// Returns whether a connection on which no bytes are expected is open and silent. Costs a system
/// call only if the kernel has reported something about it.
fn is_open(socket: &TcpStream) -> bool {
    let read = socket.try_read(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const FOR_LONG: u64 = 1_000;

    struct Upstream {
        listener: TcpListener,
        address: SocketAddr,
    }

    impl Upstream {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("a bound port");
            Self { listener, address }
        }

        /// Both ends of a connection: ours first.
        async fn connect(&self) -> (TcpStream, TcpStream) {
            let local = TcpStream::connect(self.address).await.expect("it listens");
            let (remote, _) = self.listener.accept().await.expect("it was connected to");
            (local, remote)
        }
    }

    fn port(socket: &TcpStream) -> u16 {
        socket.local_addr().expect("it is connected").port()
    }

    #[tokio::test]
    async fn the_connection_used_last_is_used_next_and_only_for_its_own_address() {
        let (one, other) = (Upstream::start().await, Upstream::start().await);
        let idle = IdleSockets::default();
        let (first, _first) = one.connect().await;
        let (second, _second) = one.connect().await;
        let ports = [port(&first), port(&second)];
        idle.put(one.address, first, 0, FOR_LONG);
        idle.put(one.address, second, 0, FOR_LONG);
        assert!(idle.take(&other.address, 0).is_none());
        let taken = [idle.take(&one.address, 0), idle.take(&one.address, 0)];
        let taken = taken.map(|socket| port(&socket.expect("two were put")));
        assert_eq!(taken, [ports[1], ports[0]]);
        assert!(idle.take(&one.address, 0).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_the_upstream_closed_or_wrote_to_is_not_used_again() {
        let upstream = Upstream::start().await;
        let idle = IdleSockets::default();
        let (closed, remote) = upstream.connect().await;
        drop(remote);
        let (written, mut remote) = upstream.connect().await;
        remote.write_all(b"?").await.expect("it is open");
        for heard in [&closed, &written] {
            heard.readable().await.expect("it is open");
        }
        idle.put(upstream.address, closed, 0, FOR_LONG);
        idle.put(upstream.address, written, 0, FOR_LONG);
        assert!(idle.take(&upstream.address, 0).is_none());
    }

    #[tokio::test]
    async fn connections_wait_for_as_long_as_their_app_keeps_them() {
        let upstream = Upstream::start().await;
        let idle = IdleSockets::default();
        let (brief, _brief) = upstream.connect().await;
        let (long, _long) = upstream.connect().await;
        let kept = port(&long);
        idle.put(upstream.address, brief, 0, 2);
        idle.put(upstream.address, long, 0, 9);
        idle.sweep(2);
        assert_eq!(idle.sockets.lock().count, 2, "not before its time is over");
        idle.sweep(3);
        assert_eq!(idle.sockets.lock().count, 1);
        let left = idle
            .take(&upstream.address, 3)
            .expect("one may wait longer");
        assert_eq!(port(&left), kept);
    }

    #[tokio::test]
    async fn a_connection_that_waited_too_long_is_not_used_before_it_is_swept_out() {
        let upstream = Upstream::start().await;
        let idle = IdleSockets::default();
        let (socket, _theirs) = upstream.connect().await;
        idle.put(upstream.address, socket, 0, 2);
        assert!(idle.take(&upstream.address, 3).is_none());
    }

    #[tokio::test]
    async fn a_sweep_closes_what_the_upstream_closed() {
        let upstream = Upstream::start().await;
        let idle = IdleSockets::default();
        let (closed, remote) = upstream.connect().await;
        drop(remote);
        closed.readable().await.expect("it is open here");
        idle.put(upstream.address, closed, 0, FOR_LONG);
        idle.sweep(0);
        assert!(idle.sockets.lock().by_address.is_empty());
    }

    #[tokio::test]
    async fn there_are_never_too_many() {
        let (one, other) = (Upstream::start().await, Upstream::start().await);
        let idle = IdleSockets::default();
        let mut remote = Vec::new();
        let mut last = 0;
        for _ in 0..=MAX_IDLE_SOCKETS {
            let (socket, their) = one.connect().await;
            last = port(&socket);
            remote.push(their);
            idle.put(one.address, socket, 0, FOR_LONG);
        }
        let (socket, _their) = other.connect().await;
        idle.put(other.address, socket, 0, FOR_LONG);
        assert_eq!(idle.sockets.lock().count, MAX_IDLE_SOCKETS);
        assert!(
            idle.take(&other.address, 0).is_some(),
            "the oldest gave way"
        );
        let newest = idle.take(&one.address, 0).map(|socket| port(&socket));
        assert_eq!(newest, Some(last), "the newest did not");
    }
}
