//! The sample API, in the place of what a seller would have had before the gate.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A small API on a port of its own.
pub(super) struct Sample {
    address: SocketAddr,
    stop: oneshot::Sender<Infallible>,
    serving: JoinHandle<io::Result<()>>,
}

/// The number of parts of the streamed answer, and the time between them.
const PARTS: usize = 5;
const PART_INTERVAL: Duration = Duration::from_millis(150);

impl Sample {
    /// Listens on this address, or on a free port if it is taken.
    pub(super) async fn start(wanted: Option<SocketAddr>) -> io::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = match TcpListener::bind(wanted.unwrap_or(free)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(free).await?,
        };
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let router = Router::new().fallback(answer);
        let serving = axum::serve(listener, router).with_graceful_shutdown(async {
            // Dropping the sender is the signal.
            let _ = stopped.await;
        });
        Ok(Self {
            address,
            stop,
            serving: tokio::spawn(serving.into_future()),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(self) {
        drop(self.stop);
        // Connections that the gate's pool still holds need not end by themselves.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.serving).await;
    }
}

/// Answers by the last segment of the path, whatever path the app is served below.
async fn answer(request: Request) -> Response {
    match request.uri().path().rsplit('/').next().unwrap_or_default() {
        "" | "hello" => json(StatusCode::OK, r#"{"message":"hello from the sample API"}"#),
        "reports" => json(StatusCode::OK, r#"{"reports":["2026-10","2026-11"]}"#),
        "stream" => parts("part", None).into_response(),
        "break" => parts("half", Some(1)).into_response(),
        "fail" => json(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"error":"the sample API failed"}"#,
        ),
        _ => json(
            StatusCode::NOT_FOUND,
            r#"{"error":"the sample API has no such page"}"#,
        ),
    }
}

fn json(status: StatusCode, body: &'static str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        format!("{body}\n"),
    )
        .into_response()
}

/// Returns a body of several parts that breaks off before part `breaks_at`.
fn parts(word: &'static str, breaks_at: Option<usize>) -> Body {
    Body::from_stream(stream::iter(0..PARTS).then(move |part| async move {
        if part > 0 {
            tokio::time::sleep(PART_INTERVAL).await;
        }
        if breaks_at == Some(part) {
            return Err(io::Error::other("the sample API breaks off"));
        }
        Ok(Bytes::from(format!("{word} {} of {PARTS}\n", part + 1)))
    }))
}
