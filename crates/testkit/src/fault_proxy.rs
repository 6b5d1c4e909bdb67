//! A TCP proxy with the faults of networks: it delays, cuts, goes silent, and loses answers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::port::Port;

/// The time between two checks of a connection whether it is cut or silent.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A proxy between a client and a server, which lets everything pass until a fault is switched on.
#[derive(Debug)]
pub struct FaultProxy {
    port: Port,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

/// The way in which an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The client's connection is closed without a byte of it.
    Cut,
    /// The client's connection stays open without a byte of it.
    Silence,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    /// The number of connections so far.
    connections: AtomicU64,
    /// The way in which the next answer is lost; `None`: it is not.
    loss: Mutex<Option<Loss>>,
    /// The number of answers that were lost so far.
    lost: AtomicU64,
    /// Whether new connections wait before they reach the server.
    holds_new: AtomicBool,
    /// The number of cuts so far. Connections of an earlier generation are cut.
    generation: AtomicU64,
    /// Whether new connections are closed at once.
    refuses: AtomicBool,
    /// Whether nothing passes and nothing is closed.
    is_silent: AtomicBool,
    /// The delay of all bytes in each direction, in milliseconds.
    delay: AtomicU64,
    is_over: AtomicBool,
}

impl FaultProxy {
    /// Starts a proxy in front of a server.
    ///
    /// # Panics
    /// When the proxy cannot listen.
    #[must_use]
    pub fn before(target: SocketAddr) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(port.addr()).expect("the port is free");
        let state = Arc::new(State {
            target,
            connections: AtomicU64::new(0),
            loss: Mutex::new(None),
            lost: AtomicU64::new(0),
            holds_new: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            delay: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let shared = state.clone();
        let accepting = std::thread::spawn(move || accept(&listener, &shared));
        Self {
            port,
            state,
            accepting: Some(accepting),
        }
    }

    /// Returns the address of the proxy.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the number of connections that clients made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Loses the next answer once its first bytes are here: the server has done the work and said
    /// so, and the client learns nothing of it. From then on new connections wait until
    /// [`heal`](Self::heal), so that the server can be ended and started again in between.
    pub fn lose_next_answer(&self, how: Loss) {
        *self.state.loss() = Some(how);
    }

    /// Returns the number of answers that were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// Lets everything pass, at once.
    pub fn heal(&self) {
        self.state.holds_new.store(false, Ordering::SeqCst);
        self.state.refuses.store(false, Ordering::SeqCst);
        self.state.is_silent.store(false, Ordering::SeqCst);
        self.state.delay.store(0, Ordering::SeqCst);
    }

    /// Delays everything by so long in each direction.
    pub fn delay(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.state.delay.store(millis, Ordering::SeqCst);
    }

    /// Cuts all connections, and every new one.
    pub fn cut(&self) {
        self.state.refuses.store(true, Ordering::SeqCst);
        self.state.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Leaves connections half open: both sides believe that they are open, new ones are made, and
    /// nothing arrives. Bytes that are sent meanwhile arrive after [`heal`](Self::heal).
    pub fn silence(&self) {
        self.state.is_silent.store(true, Ordering::SeqCst);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.addr()));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl State {
    fn loss(&self) -> MutexGuard<'_, Option<Loss>> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_loss(&self) -> Option<Loss> {
        self.loss().take()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming() {
        state.connections.fetch_add(1, Ordering::SeqCst);
        while state.holds_new.load(Ordering::SeqCst) && !state.is_over() {
            std::thread::sleep(POLL_INTERVAL);
        }
        if state.is_over() {
            return;
        }
        if state.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(state.target)) else {
            continue;
        };
        let pair = |stream: &TcpStream| stream.try_clone();
        let (Ok(client_too), Ok(server_too)) = (pair(&client), pair(&server)) else {
            continue;
        };
        let generation = state.generation.load(Ordering::SeqCst);
        let ways = [(client, server, false), (server_too, client_too, true)];
        for (from, to, is_answer) in ways {
            let state = state.clone();
            std::thread::spawn(move || {
                // Both sides are closed, however it ends.
                let _ = pass(&from, &to, &state, generation, is_answer);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}

fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    state: &State,
    generation: u64,
    is_answer: bool,
) -> io::Result<()> {
    from.set_read_timeout(Some(POLL_INTERVAL))?;
    from.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    let stands = || state.generation.load(Ordering::SeqCst) == generation && !state.is_over();
    let silent = || state.is_silent.load(Ordering::SeqCst);
    while stands() {
        if silent() {
            std::thread::sleep(POLL_INTERVAL);
            continue;
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if is_timeout(&error) => continue,
            Err(error) => return Err(error),
        };
        let loss = if is_answer { state.take_loss() } else { None };
        if let Some(how) = loss {
            state.holds_new.store(true, Ordering::SeqCst);
            state.lost.fetch_add(1, Ordering::SeqCst);
            // The client's own end of a silent connection is noticed by the other direction.
            while how == Loss::Silence && stands() {
                std::thread::sleep(POLL_INTERVAL);
            }
            return Ok(());
        }
        let delay = state.delay.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(delay));
        while silent() && stands() {
            std::thread::sleep(POLL_INTERVAL);
        }
        // Bytes that were read before the cut and not passed on are lost with it.
        if !stands() {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
    }
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a server that sends everything back.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        addr
    }

    fn connect(proxy: &FaultProxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.addr()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        stream
    }

    fn ask(mut stream: &TcpStream) -> io::Result<u8> {
        stream.write_all(b"x")?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    #[test]
    fn what_is_silent_arrives_when_it_is_healed_and_what_is_cut_never() {
        let proxy = FaultProxy::before(echo());
        let stream = connect(&proxy);
        assert_eq!(ask(&stream).unwrap(), b'x');
        proxy.silence();
        assert!(is_timeout(&ask(&stream).unwrap_err()));
        proxy.heal();
        stream.set_read_timeout(None).unwrap();
        let mut answer = [0];
        (&stream).read_exact(&mut answer).unwrap();
        proxy.cut();
        assert!(ask(&stream).is_err());
        assert!(ask(&connect(&proxy)).is_err());
        proxy.heal();
        assert_eq!(ask(&connect(&proxy)).unwrap(), b'x');
    }

    #[test]
    fn an_answer_is_lost_once_and_whoever_comes_then_waits_until_it_is_healed() {
        for how in [Loss::Cut, Loss::Silence] {
            let proxy = FaultProxy::before(echo());
            let stream = connect(&proxy);
            assert_eq!(ask(&stream).unwrap(), b'x');
            proxy.lose_next_answer(how);
            let error = ask(&stream).unwrap_err();
            assert_eq!(is_timeout(&error), how == Loss::Silence, "{error}");
            assert_eq!(proxy.lost(), 1);
            let next = connect(&proxy);
            assert!(is_timeout(&ask(&next).unwrap_err()));
            proxy.heal();
            next.set_read_timeout(None).unwrap();
            let mut answer = [0];
            (&next).read_exact(&mut answer).unwrap();
            assert_eq!((answer[0], proxy.connections()), (b'x', 2));
        }
    }

    #[test]
    fn what_is_delayed_takes_longer() {
        let proxy = FaultProxy::before(echo());
        let stream = connect(&proxy);
        stream.set_read_timeout(None).unwrap();
        proxy.delay(Duration::from_millis(50));
        let begun = std::time::Instant::now();
        assert_eq!(ask(&stream).unwrap(), b'x');
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}
