//! A small balancer in front of gates. It sends calls to gates whose `/readyz` says 200, each on a
//! connection of its own, and sends a call elsewhere only while no byte of an answer has come.
//!
//! Requests have no body. A call that was sent twice although its first gate took it shows in the
//! upstream's list.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{CALL_ID_HEADER, Connection, NoResponse, Request, Response};
use crate::eventually::test_timeout;
use crate::gateway::Gateway;
use crate::port::Port;
use crate::wire::Head;

/// The time between two checks whether the gates are ready.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A balancer that runs until it is dropped.
#[derive(Debug)]
pub struct Balancer {
    port: Port,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    gates: Vec<Backend>,
    next: AtomicUsize,
    resent: AtomicUsize,
    is_over: AtomicBool,
}

/// A gate, as the balancer sees it.
#[derive(Debug)]
struct Backend {
    addr: SocketAddr,
    metrics: SocketAddr,
    is_ready: AtomicBool,
}

impl Balancer {
    /// Starts a balancer in front of these gates, whether they run or not.
    ///
    /// # Panics
    /// When the balancer cannot listen.
    #[must_use]
    pub fn before(gates: &[Gateway]) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(port.addr()).expect("the port is free");
        let behind = gates.iter().map(|gate| Backend {
            addr: gate.addr(),
            metrics: gate.metrics_addr(),
            is_ready: AtomicBool::new(gate.is_ready()),
        });
        let state = Arc::new(State {
            gates: behind.collect(),
            next: AtomicUsize::new(0),
            resent: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let (accepting, checking) = (Arc::clone(&state), Arc::clone(&state));
        let threads = vec![
            std::thread::spawn(move || accept(&listener, &accepting)),
            std::thread::spawn(move || checking.check_readiness()),
        ];
        Self {
            port,
            state,
            threads,
        }
    }

    /// Returns the address that callers connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the number of calls that were sent to another gate since the first one closed its
    /// connection without a byte of an answer.
    #[must_use]
    pub fn resent(&self) -> usize {
        self.state.resent.load(Ordering::SeqCst)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.addr()));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    fn check_readiness(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            for gate in &self.gates {
                let request = Request::get("/readyz").header("Connection", "close");
                let asked = Connection::open(gate.metrics).ok();
                let answer = asked.and_then(|mut asked| asked.call(&request).ok());
                let is_ready = answer.is_some_and(|answer| answer.status == 200);
                gate.is_ready.store(is_ready, Ordering::SeqCst);
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
    }

    /// Returns the answer of a gate that is ready; `None` if none gave one in time.
    fn answer(&self, request: &[u8], method: &str) -> Option<Response> {
        let deadline = Instant::now() + test_timeout();
        while Instant::now() < deadline && !self.is_over.load(Ordering::SeqCst) {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let gate = &self.gates[at % self.gates.len()];
            let ready = gate.is_ready.load(Ordering::SeqCst);
            let open = ready.then(|| Connection::open(gate.addr).ok()).flatten();
            let Some(mut open) = open else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let sent = open.send(request).map_err(|_| NoResponse::Closed);
            match sent.and_then(|()| open.read_response(method)) {
                Ok(response) => return Some(response),
                Err(NoResponse::Closed) => {
                    self.resent.fetch_add(1, Ordering::SeqCst);
                }
                Err(NoResponse::TimedOut | NoResponse::Malformed(_)) => return None,
            }
        }
        None
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming() {
        if state.is_over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client.and_then(Connection::from_stream) else {
            continue;
        };
        let state = Arc::clone(state);
        std::thread::spawn(move || serve(client, &state));
    }
}

/// Serves one connection of a caller for as long as its calls are answered whole.
fn serve(mut client: Connection, state: &State) {
    while let Ok(head) = client.read_head() {
        let method = head.first_line.split(' ').next().unwrap_or("GET");
        let Some(response) = state.answer(&request_of(&head), method) else {
            return;
        };
        if client.send(&answer_of(&response)).is_err() || !response.complete {
            return;
        }
    }
}

fn request_of(head: &Head) -> Vec<u8> {
    let mut text = format!("{}\r\n", head.first_line);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Returns the parts of an answer that the caller needs. A body that was cut stays shorter than its
/// length says.
fn answer_of(response: &Response) -> Vec<u8> {
    let mut length = response.body.len();
    if !response.complete {
        length += 1;
    }
    let mut text = format!(
        "{}\r\nContent-Length: {length}\r\n",
        response.head.first_line
    );
    for name in [CALL_ID_HEADER, "Content-Type"] {
        if let Some(value) = response.header(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&response.body);
    bytes
}
