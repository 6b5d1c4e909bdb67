//! The command line asks a gate behind a real TLS server, and says what is wrong with one that it does not believe.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use testkit::client::Request;
use testkit::{Site, binary};

/// Ends TLS before an address and passes on what comes, as a load balancer does. Prints its port.
const SERVER: &str = r#"
import socket, ssl, sys, threading

certificate, key, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)

def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def serve(plain):
    try:
        inside = context.wrap_socket(plain, server_side=True)
    except OSError:
        return
    gate = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pump, args=(inside, gate), daemon=True).start()
    pump(gate, inside)
    inside.close()

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// A TLS server before a gate's control listener, with a certificate for `localhost` that vouches for itself.
struct TlsServer {
    process: Child,
    port: u16,
    certificate: PathBuf,
    key: String,
    _folder: tempfile::TempDir,
}

impl TlsServer {
    fn before(site: &Site) -> Self {
        let key = site.gateway.cli().json(&["key", "create"]);
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = folder.path().join("server.crt");
        let private = folder.path().join("server.key");
        make_certificate(&certificate, &private);
        let mut process = Command::new(testkit::python())
            .args(["-c", SERVER])
            .args([&certificate, &private])
            .arg(site.gateway.control_addr().port().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut port = String::new();
        let said = process.stdout.take().expect("it is piped");
        BufReader::new(said)
            .read_line(&mut port)
            .expect("a port is printed");
        Self {
            process,
            port: port.trim().parse().expect("a port"),
            certificate,
            key: key["key"].as_str().expect("a key").to_owned(),
            _folder: folder,
        }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }

    /// Runs a command against a URL, whose operator has these variables set.
    fn run(&self, url: &str, variables: &[(&str, &Path)], arguments: &[&str]) -> Output {
        Command::new(binary!())
            .args(arguments)
            .env("TALLYGATE_URL", url)
            .env("TALLYGATE_KEY", &self.key)
            .env_remove("TALLYGATE_CA_FILE")
            .envs(variables.iter().copied())
            .output()
            .expect("it runs")
    }

    /// What a command that must succeed prints.
    fn text(&self, variables: &[(&str, &Path)], arguments: &[&str]) -> String {
        let output = self.run(&self.url("localhost"), variables, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a command says that finds no gate that it believes.
    fn refusal(&self, url: &str, variables: &[(&str, &Path)]) -> String {
        let output = self.run(url, variables, &["license", "list"]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(!said.contains(&self.key), "{said}");
        said
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_certificate(certificate: &Path, key: &Path) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=a test of Tallygate"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=CA:FALSE"])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_gate_behind_tls_is_asked_as_one_on_this_host() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let answer = site.gateway.call(&Request::get("/").key(&license.key));
    let _closed = site.gateway.record(answer.call_id());
    let server = TlsServer::before(&site);
    let file = server.certificate.to_str().expect("plain");
    // The file by argument, the file by its variable, and the system's authorities, which OpenSSL's variable names.
    let listed = server.text(&[], &["license", "list", "--ca-file", file]);
    assert!(listed.contains(&license.id), "{listed}");
    let by_variable = [("TALLYGATE_CA_FILE", server.certificate.as_path())];
    let calls = server.text(&by_variable, &["calls", "--json"]);
    assert!(calls.contains(answer.call_id()), "{calls}");
    let of_system = [("SSL_CERT_FILE", server.certificate.as_path())];
    let shown = server.text(&of_system, &["license", "show", &license.id]);
    assert!(shown.contains(&license.id), "{shown}");
    let refused = server.run(
        &server.url("localhost"),
        &by_variable,
        &["license", "show", "lic_0198c0de0198c0de0198c0de0198c0de"],
    );
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn a_server_that_is_not_believed_is_told_of_with_the_remedy() {
    let site = Site::start(binary!());
    let server = TlsServer::before(&site);
    let believed = [("TALLYGATE_CA_FILE", server.certificate.as_path())];
    let strange = server.refusal(&server.url("localhost"), &[]);
    assert!(strange.contains("with --ca-file"), "{strange}");
    let other_name = server.refusal(&server.url("127.0.0.1"), &believed);
    assert!(other_name.contains("for another name"), "{other_name}");
    let plain: SocketAddr = site.gateway.control_addr();
    let plain = server.refusal(&format!("https://localhost:{}", plain.port()), &believed);
    assert!(plain.contains("write http://"), "{plain}");
    let nobody = testkit::port::Port::take();
    let nobody = format!("https://localhost:{}", nobody.addr().port());
    let nobody = server.refusal(&nobody, &believed);
    assert!(nobody.contains("no gate is running"), "{nobody}");
    for said in [strange, other_name, plain, nobody] {
        let raw = [
            "os error",
            "hyper",
            "reqwest",
            "InvalidCertificate",
            "client error",
        ];
        assert!(raw.iter().all(|raw| !said.contains(raw)), "{said}");
    }
    let missing = [("TALLYGATE_CA_FILE", Path::new("/no/such/file.pem"))];
    let output = server.run(&server.url("localhost"), &missing, &["license", "list"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--ca-file /no/such/file.pem"), "{said}");
}

/// Runs `license list` with a key against a gate at `gate`, and with these variables set.
fn list(gate: SocketAddr, key: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(binary!())
        .args(["license", "list"])
        .env("TALLYGATE_URL", format!("http://{gate}"))
        .env("TALLYGATE_KEY", key)
        .envs(variables.iter().copied())
        .output()
        .expect("it runs")
}

/// Binds a listener that nobody may connect to.
fn unasked() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("set");
    listener
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = unasked();
    let location = elsewhere.local_addr().expect("bound");
    let here = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = here.local_addr().expect("bound");
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = here.accept().expect("a request");
        let _ = stream.read(&mut [0; 4_096]).expect("a head");
        let head = format!(
            "HTTP/1.1 307 Elsewhere\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
    });
    let output = list(address, "k", &[]);
    answering.join().expect("no panic");
    assert!(!output.status.success(), "{output:?}");
    assert!(elsewhere.accept().is_err(), "the redirection was followed");
}

#[test]
fn a_proxy_of_the_environment_is_not_asked() {
    let site = Site::start(binary!());
    let key = site.gateway.cli().json(&["key", "create"]);
    let proxy = unasked();
    let url = format!("http://{}", proxy.local_addr().expect("bound"));
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let variables = names.map(|name| (name, url.as_str()));
    let key = key["key"].as_str().expect("a key");
    let output = list(site.gateway.control_addr(), key, &variables);
    assert!(output.status.success(), "{output:?}");
    assert!(proxy.accept().is_err(), "the proxy was asked");
}

#[test]
fn a_variable_that_is_empty_names_no_authorities() {
    let site = Site::start(binary!());
    let key = site.gateway.cli().json(&["key", "create"]);
    let key = key["key"].as_str().expect("a key");
    let empty = [("TALLYGATE_CA_FILE", "")];
    let output = list(site.gateway.control_addr(), key, &empty);
    assert!(output.status.success(), "{output:?}");
}
