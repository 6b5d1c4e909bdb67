//! A receiver of webhooks on a port of its own. It keeps what it was sent, and answers as it is
//! told. It runs in the test's process, so that killing the gate cannot touch what it keeps.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::eventually::{test_timeout, wait_for};
use crate::wire::{self, Framing, Head};

/// How a receiver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It reads, and answers with a status and a body.
    Answer(u16, String),
    /// It reads, and answers 200 with the `challenge` of the body.
    Challenge,
    /// It reads, and never answers.
    Hang,
    /// It reads, and answers when it is told another manner, in that one.
    Hold,
    /// It answers 200 with a body that comes a byte at a time and does not end.
    Drip,
    /// It redirects to a URL.
    Redirect(String),
    /// It answers 200 before it has read the body, which it never reads.
    Unread,
    /// It ends the connection without an answer.
    Close,
    /// It answers with a head that never ends.
    EndlessHead,
}

/// What a receiver was sent.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it was there whole.
    pub at: Instant,
    /// Path and query.
    pub target: String,
    /// The headers, with their names as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A running receiver. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    /// The manners by path; that of "" is for all others.
    manners: Mutex<HashMap<String, Manner>>,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Receiver {
    /// Starts a receiver on a free port, which answers 200.
    ///
    /// # Panics
    /// When no port can be bound.
    #[must_use]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let addr = listener.local_addr().expect("it is bound");
        let answer = Manner::Answer(200, String::new());
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            manners: Mutex::new(HashMap::from([(String::new(), answer)])),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("receiver".into())
            .spawn(move || serve(listener, &serving, stopped))
            .expect("a thread can be started");
        Self {
            addr,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Returns the address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Makes it answer so from now on, on every path without a manner of its own.
    pub fn behave(&self, manner: Manner) {
        self.behave_at("", manner);
    }

    /// Makes it answer so from now on, on one path.
    pub fn behave_at(&self, path: &str, manner: Manner) {
        locked(&self.shared.manners).insert(path.to_owned(), manner);
    }

    /// Returns what it was sent, in the order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        locked(&self.shared.received).clone()
    }

    /// Returns how many messages it was sent.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.shared.received).len()
    }

    /// Returns the most connections that were open at one time.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.shared.most.load(Ordering::Acquire)
    }

    /// Waits until it was sent so many messages, and returns all.
    ///
    /// # Panics
    /// When they do not come in time.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let arrived = wait_for(test_timeout(), || (self.count() >= count).then_some(()));
        assert!(
            arrived.is_some(),
            "{} of {count} messages reached the receiver",
            self.count()
        );
        self.received()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the receiver's thread panicked");
        }
    }
}

impl Received {
    /// Returns a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::header(&self.headers, name)
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

impl Shared {
    fn manner_at(&self, target: &str) -> Manner {
        let manners = locked(&self.manners);
        manners.get(target).unwrap_or(&manners[""]).clone()
    }
}

/// Returns the challenge in a body; nothing where there is none.
fn challenge_in(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    body["challenge"].as_str().unwrap_or("").to_owned()
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
        let accepting = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let shared = Arc::clone(shared);
                    let open = shared.open.fetch_add(1, Ordering::AcqRel) + 1;
                    shared.most.fetch_max(open, Ordering::AcqRel);
                    tokio::spawn(async move {
                        // An error means that the sender has left.
                        let _ = connection(stream, &shared).await;
                        shared.open.fetch_sub(1, Ordering::AcqRel);
                    });
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            // An error says that the handle was dropped, which means the same.
            _ = stopped => {}
        }
    });
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut buffer = Vec::new();
    let length = loop {
        if let Some(length) = wire::find_head(&buffer) {
            break length;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    };
    let head = Head::parse(&buffer[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
    let (_, target) = head.method_and_target().ok_or(io::ErrorKind::InvalidData)?;
    let mut received = Received {
        at: Instant::now(),
        target: target.to_owned(),
        headers: head.headers.clone(),
        body: buffer.split_off(length),
    };
    let mut manner = shared.manner_at(target);
    if manner != Manner::Unread {
        let Framing::Length(length) = head.request_framing() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        while (received.body.len() as u64) < length {
            if stream.read_buf(&mut received.body).await? == 0 {
                return Ok(());
            }
        }
        received.at = Instant::now();
    }
    let said = String::from_utf8_lossy(&received.body).into_owned();
    locked(&shared.received).push(received);
    while manner == Manner::Hold {
        tokio::time::sleep(Duration::from_millis(5)).await;
        manner = shared.manner_at(target);
    }
    let challenge = match manner {
        Manner::Challenge => challenge_in(&said),
        _ => String::new(),
    };
    answer(&mut stream, manner, &challenge).await
}

async fn answer(stream: &mut TcpStream, manner: Manner, challenge: &str) -> io::Result<()> {
    let whole = |status: u16, headers: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
    };
    let text = match manner {
        Manner::Answer(status, body) => whole(status, "", &body),
        Manner::Challenge => whole(200, "", challenge),
        Manner::Redirect(url) => whole(302, &format!("Location: {url}\r\n"), ""),
        Manner::Unread => whole(200, "", ""),
        Manner::Close => return Ok(()),
        Manner::Hang | Manner::Hold => return until_left(stream).await,
        Manner::Drip => {
            return drip(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        }
        Manner::EndlessHead => return drip(stream, "HTTP/1.1 200 OK\r\nX-Endless: ").await,
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

async fn until_left(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Writes a beginning, and then a byte at a time until the sender leaves.
async fn drip(stream: &mut TcpStream, beginning: &str) -> io::Result<()> {
    stream.write_all(beginning.as_bytes()).await?;
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
