//! A private S3 server: `moto`, in the Python environment that `make test` sets up.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Connection, Request, Response};
use crate::eventually::{test_timeout, wait_for};
use crate::port::Port;
use crate::python;

/// A server that belongs to one test, with one bucket. Its data are in memory, and gone when it is
/// dropped.
#[derive(Debug)]
pub struct ObjectServer {
    folder: TempDir,
    port: Port,
    child: Child,
}

impl ObjectServer {
    /// The name of the bucket.
    pub const BUCKET: &str = "ledgers";

    /// Starts a server and creates the bucket.
    ///
    /// # Panics
    /// When `moto` is not installed, or does not answer in time.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tallygate-objects-")
            .tempdir()
            .expect("a temporary folder can be made");
        let port = Port::take();
        let log = File::create(folder.path().join("log")).expect("a file can be made");
        let child = Command::new(python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(port.number().to_string())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be shared"))
            .stdout(log)
            .spawn()
            .expect("python is installed");
        let server = Self {
            folder,
            port,
            child,
        };
        let path = format!("/{}", Self::BUCKET);
        let made = wait_for(test_timeout(), || {
            let response = server.send(Request::new("PUT", &path))?;
            (response.status == 200).then_some(())
        });
        assert!(made.is_some(), "no bucket: {}", server.log());
        server
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Returns the URL of a folder of the bucket.
    #[must_use]
    pub fn url(&self, folder: &str) -> String {
        format!("s3://{}/{folder}", Self::BUCKET)
    }

    /// Returns the environment variables that a program needs to use the server.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.addr());
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Returns the listing of the bucket as XML.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn listing(&self) -> String {
        let path = format!("/{}?list-type=2", Self::BUCKET);
        let response = self.send(Request::get(&path)).expect("the server answers");
        response.text()
    }

    /// Stops the server with SIGSTOP: its connections stay and nothing is answered.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the server go on after [`hang`](Self::hang).
    ///
    /// # Panics
    /// When the server does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("a child of ours takes a signal");
    }

    fn send(&self, request: Request) -> Option<Response> {
        // The server tells by the host which of Amazon's services is meant.
        let request = request.host(&self.addr().to_string());
        Connection::open(self.addr()).ok()?.call(&request).ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
