//! A stub for Redis versions of which there is no package.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A server that says it is a Redis of some version, and knows only the commands by which a client
/// finds that out. Before version 6 it does not know `HELLO` either. Its thread lives as long as
/// the process.
#[derive(Debug)]
pub struct RedisVersionStub {
    addr: SocketAddr,
}

impl RedisVersionStub {
    /// Starts to listen.
    ///
    /// # Panics
    /// When the stub cannot listen.
    #[must_use]
    pub fn start(version: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves ends its own connection and nothing more.
                std::thread::spawn(move || drop(serve(stream, version)));
            }
        });
        Self { addr }
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }
}

fn serve(stream: TcpStream, version: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let speaks_3 = !version.starts_with(['2', '3', '4', '5']);
    loop {
        let command = read_command(&mut reader)?;
        let answer = match command.to_ascii_uppercase().as_str() {
            "HELLO" if speaks_3 => {
                format!("%2\r\n+version\r\n+{version}\r\n+proto\r\n:3\r\n")
            }
            "PING" => "+PONG\r\n".to_owned(),
            "INFO" => {
                let text = format!("# Server\r\nredis_version:{version}\r\nrole:master\r\n");
                format!("${}\r\n{text}\r\n", text.len())
            }
            other => format!("-ERR unknown command `{other}`\r\n"),
        };
        writer.write_all(answer.as_bytes())?;
    }
}

/// Reads a command and returns its name; its arguments are thrown away.
fn read_command(reader: &mut impl BufRead) -> io::Result<String> {
    let mut name = None;
    for _ in 0..read_length(reader, '*')? {
        let mut text = vec![0; read_length(reader, '$')? + 2];
        reader.read_exact(&mut text)?;
        name.get_or_insert_with(|| String::from_utf8_lossy(&text).trim_end().to_owned());
    }
    name.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_length(reader: &mut impl BufRead, kind: char) -> io::Result<usize> {
    let mut line = String::new();
    reader.take(32).read_line(&mut line)?;
    let length = line
        .strip_prefix(kind)
        .and_then(|rest| rest.trim_end().parse().ok());
    length
        .filter(|length| *length < 4_096)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
