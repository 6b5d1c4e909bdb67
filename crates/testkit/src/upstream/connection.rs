//! A connection of the scripted upstream: it reads a request, acts, and begins again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::list::ServedRequest;
use super::shared::Shared;
use crate::script::{Behaviour, Disconnect, DisconnectAt};
use crate::wire::{self, Framing, Head};

// The greatest number of bytes of a body that is kept for the echo. The rest is only counted.
const MAX_KEPT_BODY: usize = 64 * 1024;

/// Whether the connection can carry another request.
#[derive(PartialEq, Eq)]
enum Next {
    KeepAlive,
    End,
}

struct Peer {
    stream: TcpStream,
    // Bytes that were read and not used yet.
    buffer: Vec<u8>,
    shared: Arc<Shared>,
}

struct Exchange {
    head: Head,
    method: String,
    target: String,
    sequence: usize,
    body: Vec<u8>,
    // Subscribed before the test can know of the request, so that no release is missed.
    releases: watch::Receiver<u64>,
}

/// Serves a connection until either side ends it. Errors mean that the other side has left, and end
/// it too.
pub(super) async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let limit = shared.close_after.unwrap_or(usize::MAX);
    let mut peer = Peer {
        stream,
        buffer: Vec::with_capacity(4096),
        shared,
    };
    for _ in 0..limit {
        match peer.serve_request(number).await {
            Ok(Next::KeepAlive) => {}
            Ok(Next::End) | Err(_) => return,
        }
    }
}

impl Peer {
    async fn serve_request(&mut self, connection: usize) -> io::Result<Next> {
        let Some(head) = self.read_head().await? else {
            return Ok(Next::End);
        };
        let (method, target) = head.method_and_target().ok_or(io::ErrorKind::InvalidData)?;
        let (method, target) = (method.to_owned(), target.to_owned());
        let releases = self.shared.releases.subscribe();
        let sequence = self.shared.list.arrived(ServedRequest {
            connection,
            call_id: head.header("tallygate-call-id").map(str::to_owned),
            method: method.clone(),
            target: target.clone(),
            headers: head.headers.clone(),
            ..ServedRequest::default()
        });
        let behaviour = Behaviour::of_target(&target);
        let mut exchange = Exchange {
            head,
            method,
            target,
            sequence,
            body: Vec::new(),
            releases,
        };
        let is_early = matches!(
            behaviour,
            Behaviour::Early { .. }
                | Behaviour::HoldMidBody { early: true }
                | Behaviour::Raw { early: true, .. }
        );
        let mut breaks = self.shared.breaks.subscribe();
        let serving = async {
            if !is_early {
                self.read_body(&mut exchange).await?;
            }
            self.perform(behaviour, &mut exchange).await
        };
        tokio::select! {
            next = serving => next,
            _ = breaks.changed() => Ok(Next::End),
        }
    }

    async fn read_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(length) = wire::find_head(&self.buffer) {
                let head =
                    Head::parse(&self.buffer[..length]).map_err(|_| io::ErrorKind::InvalidData)?;
                self.buffer.drain(..length);
                return Ok(Some(head));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read_body(&mut self, exchange: &mut Exchange) -> io::Result<()> {
        let framing = exchange.head.request_framing();
        if framing == Framing::Length(0) {
            return Ok(());
        }
        if exchange
            .head
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            self.stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await?;
        }
        let total = match framing {
            Framing::Length(length) => self.read_counted(exchange, length).await?,
            Framing::Chunked | Framing::UntilClose => self.read_chunked(exchange).await?,
        };
        self.shared
            .list
            .change(exchange.sequence, |served| served.body_bytes = total);
        Ok(())
    }

    async fn read_counted(&mut self, exchange: &mut Exchange, length: u64) -> io::Result<u64> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() && self.stream.read_buf(&mut self.buffer).await? == 0 {
                self.shared.list.change(exchange.sequence, |served| {
                    served.body_bytes = length - left
                });
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let kept = taken.min(MAX_KEPT_BODY - exchange.body.len());
            exchange.body.extend_from_slice(&self.buffer[..kept]);
            self.buffer.drain(..taken);
            left -= taken as u64;
        }
        Ok(length)
    }

    async fn read_chunked(&mut self, exchange: &mut Exchange) -> io::Result<u64> {
        loop {
            let parsed =
                wire::parse_chunked(&self.buffer).map_err(|_| io::ErrorKind::InvalidData)?;
            if let Some((length, mut body)) = parsed {
                let total = body.len() as u64;
                self.buffer.drain(..length);
                body.truncate(MAX_KEPT_BODY);
                exchange.body = body;
                return Ok(total);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn perform(&mut self, behaviour: Behaviour, exchange: &mut Exchange) -> io::Result<Next> {
        match behaviour {
            Behaviour::Answer {
                status,
                headers,
                bytes,
                after,
            } => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                self.answer(exchange, status, &headers, &filler(bytes))
                    .await
            }
            Behaviour::Echo => {
                self.answer(exchange, 200, &json_type(), &echo(exchange))
                    .await
            }
            Behaviour::Informational { status } => {
                let head = format!("HTTP/1.1 {status} Wait\r\nLink: </style.css>\r\n\r\n");
                self.stream.write_all(head.as_bytes()).await?;
                self.answer(exchange, 200, &[], &filler(3)).await
            }
            Behaviour::Early { status } => {
                let close = [("Connection".to_owned(), "close".to_owned())];
                self.answer(exchange, status, &close, b"too large\n")
                    .await?;
                Ok(Next::End)
            }
            Behaviour::LastAnswer => {
                let close = [("Connection".to_owned(), "close".to_owned())];
                self.answer(exchange, 200, &close, &filler(3)).await?;
                Ok(Next::End)
            }
            Behaviour::Stream { chunks, bytes, gap } => {
                self.stream_chunks(exchange, chunks, bytes, gap).await
            }
            Behaviour::Drip { bytes, gap } => self.drip(exchange, bytes, gap).await,
            Behaviour::DripHead { bytes, gap } => {
                self.stream
                    .write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    .await?;
                for _ in 0..bytes {
                    tokio::time::sleep(gap).await;
                    self.stream.write_all(b"x").await?;
                }
                self.begin(exchange, 200, "\r\nContent-Length: 0\r\n\r\n")
                    .await?;
                self.done(exchange);
                Ok(Next::KeepAlive)
            }
            Behaviour::UntilClose { bytes } => {
                self.begin(
                    exchange,
                    200,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
                )
                .await?;
                self.stream.write_all(&filler(bytes)).await?;
                self.done(exchange);
                Ok(Next::End)
            }
            Behaviour::Hold => {
                self.wait_for_release(exchange).await?;
                self.answer(exchange, 200, &[], &filler(3)).await
            }
            Behaviour::HoldMidBody { .. } => {
                self.begin(
                    exchange,
                    200,
                    "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n",
                )
                .await?;
                self.stream.write_all(&filler(1000)).await?;
                self.wait_for_release(exchange).await?;
                self.stream.write_all(&filler(1000)).await?;
                self.done(exchange);
                Ok(Next::KeepAlive)
            }
            Behaviour::Hang => self.wait_until_left().await,
            Behaviour::Disconnect { how, at } => self.break_off(exchange, how, at).await,
            Behaviour::Garbage => {
                self.stream
                    .write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
                    .await?;
                Ok(Next::End)
            }
            Behaviour::Upgrade => self.upgrade(exchange).await,
            Behaviour::Raw { bytes, close, .. } => {
                self.stream.write_all(&bytes).await?;
                self.done(exchange);
                Ok(if close { Next::End } else { Next::KeepAlive })
            }
        }
    }

    async fn answer(
        &mut self,
        exchange: &Exchange,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Next> {
        let bodiless = matches!(status, 204 | 304);
        let mut bytes = Vec::with_capacity(256 + body.len());
        bytes.extend_from_slice(format!("HTTP/1.1 {status} Scripted\r\n").as_bytes());
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if (300..400).contains(&status) && status != 304 {
            bytes.extend_from_slice(b"Location: /elsewhere\r\n");
        }
        if !bodiless {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if !bodiless && exchange.method != "HEAD" {
            bytes.extend_from_slice(body);
        }
        self.shared
            .list
            .change(exchange.sequence, |served| served.status = Some(status));
        self.stream.write_all(&bytes).await?;
        self.done(exchange);
        Ok(Next::KeepAlive)
    }

    async fn stream_chunks(
        &mut self,
        exchange: &Exchange,
        chunks: usize,
        bytes: usize,
        gap: Duration,
    ) -> io::Result<Next> {
        self.begin(
            exchange,
            200,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await?;
        let mut chunk = format!("{bytes:x}\r\n").into_bytes();
        chunk.extend(filler(bytes));
        chunk.extend(b"\r\n");
        for _ in 0..chunks {
            tokio::time::sleep(gap).await;
            self.stream.write_all(&chunk).await?;
        }
        self.stream.write_all(b"0\r\n\r\n").await?;
        self.done(exchange);
        Ok(Next::KeepAlive)
    }

    async fn drip(&mut self, exchange: &Exchange, bytes: usize, gap: Duration) -> io::Result<Next> {
        self.begin(
            exchange,
            200,
            &format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n"),
        )
        .await?;
        for _ in 0..bytes {
            tokio::time::sleep(gap).await;
            self.stream.write_all(b"x").await?;
        }
        self.done(exchange);
        Ok(Next::KeepAlive)
    }

    async fn break_off(
        &mut self,
        exchange: &Exchange,
        how: Disconnect,
        at: DisconnectAt,
    ) -> io::Result<Next> {
        match at {
            DisconnectAt::BeforeHead => {}
            DisconnectAt::MidHead => {
                self.stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Le")
                    .await?
            }
            DisconnectAt::MidBody => {
                self.begin(
                    exchange,
                    200,
                    "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n",
                )
                .await?;
                self.stream.write_all(&filler(1000)).await?;
                self.wait_until_read().await;
            }
            DisconnectAt::MidChunks => {
                self.begin(
                    exchange,
                    200,
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                )
                .await?;
                self.stream.write_all(b"3\r\nabc\r\n").await?;
            }
        }
        if how == Disconnect::Reset {
            self.stream.set_zero_linger()?;
        }
        Ok(Next::End)
    }

    // Waits until the other side has read the head. A reset throws away bytes that were not read
    // yet.
    async fn wait_until_read(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn upgrade(&mut self, exchange: &Exchange) -> io::Result<Next> {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        self.begin(exchange, 101, head).await?;
        let mut chunk = std::mem::take(&mut self.buffer);
        loop {
            self.stream.write_all(&chunk).await?;
            chunk.clear();
            if self.stream.read_buf(&mut chunk).await? == 0 {
                self.done(exchange);
                return Ok(Next::End);
            }
        }
    }

    // Waits until the test releases the request, or the other side leaves.
    async fn wait_for_release(&mut self, exchange: &mut Exchange) -> io::Result<()> {
        tokio::select! {
            _ = exchange.releases.changed() => Ok(()),
            _ = Self::read_until_left(&mut self.stream, &mut self.buffer) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn wait_until_left(&mut self) -> io::Result<Next> {
        Self::read_until_left(&mut self.stream, &mut self.buffer).await?;
        Ok(Next::End)
    }

    async fn read_until_left(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
        while stream.read_buf(buffer).await? > 0 {}
        Ok(())
    }

    async fn begin(&mut self, exchange: &Exchange, status: u16, head: &str) -> io::Result<()> {
        self.shared
            .list
            .change(exchange.sequence, |served| served.status = Some(status));
        self.stream.write_all(head.as_bytes()).await
    }

    fn done(&self, exchange: &Exchange) {
        self.shared
            .list
            .change(exchange.sequence, |served| served.complete = true);
    }
}

fn filler(bytes: usize) -> Vec<u8> {
    let mut body = vec![b'x'; bytes];
    if let Some(last) = body.last_mut() {
        *last = b'\n';
    }
    body
}

fn json_type() -> [(String, String); 1] {
    [("Content-Type".to_owned(), "application/json".to_owned())]
}

fn echo(exchange: &Exchange) -> Vec<u8> {
    json!({
        "method": exchange.method,
        "target": exchange.target,
        "headers": exchange.head.headers,
        "body": String::from_utf8_lossy(&exchange.body),
    })
    .to_string()
    .into_bytes()
}
