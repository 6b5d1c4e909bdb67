//! What a caller gets of an upstream's answer: what his connection can carry, in the way that he can read it.

use testkit::client::{Connection, Request};
use testkit::{License, Site, binary, raw_answer};

fn ask(site: &Site, license: &License, answer: &str) -> testkit::Response {
    let request = Request::get(&raw_answer(answer)).key(&license.key);
    site.gateway.call(&request)
}

/// Sends a request in HTTP/1.0 and reads everything until the gate closes.
fn ask_in_old_http(site: &Site, license: &License, target: &str, header: &str) -> String {
    let head = format!(
        "GET {target} HTTP/1.0\r\nHost: api.test\r\nApifew-User-License-Key: {}\r\n{header}\r\n",
        license.key
    );
    let mut connection: Connection = site.gateway.connect();
    connection.send(head.as_bytes()).expect("the gate reads");
    String::from_utf8_lossy(&connection.read_to_end()).into_owned()
}

#[test]
fn trailers_that_are_dropped_are_not_announced() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    let request = Request::get(&raw_answer(answer))
        .header("TE", "trailers")
        .key(&license.key);
    let mut connection = site.gateway.connect();
    let response = connection.call(&request).expect("an answer");
    assert_eq!(response.body, b"abc");
    assert_eq!(response.header("trailer"), None);
    // The connection goes on, and so does the one to the upstream.
    let next = connection.call(&Request::get("/").key(&license.key));
    assert_eq!(next.expect("an answer").status, 200);
}

#[test]
fn an_answer_that_is_no_http_is_invalid_and_its_upstream_was_reached() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 two hundred\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let response = ask(&site, &license, answer);
        assert_eq!(response.status, 502, "{answer:?}");
        let code = response.refusal_code();
        assert_eq!(code.as_deref(), Some("upstream_invalid"), "{answer:?}");
        let record = site.gateway.record(response.call_id());
        assert_eq!(record["outcome"], "upstream_failed", "{record}");
    }
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_a_502() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nboo";
    let response = ask(&site, &license, switch);
    assert_eq!(response.status, 502);
    let record = site.gateway.record(response.call_id());
    assert_eq!(record["outcome"], "upstream_failed", "{record}");
    assert_eq!(record["billable"], false, "{record}");
    // Nothing of the tunnel is read as the answer to the next call.
    let next = ask(
        &site,
        &license,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(next.status, 200);
}

#[test]
fn answers_without_content_say_no_length() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for head in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
        let response = ask(
            &site,
            &license,
            &format!("HTTP/1.1 204 No Content\r\n{head}\r\n"),
        );
        assert_eq!(response.status, 204);
        assert_eq!(response.header("content-length"), None, "{head}");
        assert_eq!(response.header("transfer-encoding"), None, "{head}");
    }
    let hints = "HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\nLink: </a.css>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut connection = site.gateway.connect();
    let request = Request::get(&raw_answer(hints)).key(&license.key);
    connection.send(&request.bytes()).expect("the gate reads");
    let early = connection.read_head().expect("a head");
    assert_eq!(early.status(), Some(103));
    assert_eq!(early.header("content-length"), None);
    assert_eq!(connection.read_response("GET").expect("a head").body, b"ok");
    // 304 says the length of what the caller has (RFC 9110, section 8.6).
    let cached = "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n";
    let response = ask(&site, &license, cached);
    assert_eq!(response.header("content-length"), Some("7"));
}

#[test]
fn a_caller_of_http_1_0_gets_no_chunks_and_no_informational_answer() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for target in ["/stream/3/4/1", "/until-close/12"] {
        let answer = ask_in_old_http(&site, &license, target, "Connection: keep-alive\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{answer}");
        assert!(!head.contains("transfer-encoding"), "{answer}");
        assert!(head.contains("connection: close"), "{answer}");
        assert_eq!(body.len(), 12, "{answer}");
        assert!(!body.contains('\r'), "{answer}");
    }
    for status in [102, 103] {
        let answer = ask_in_old_http(&site, &license, &format!("/informational/{status}"), "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // Such a caller expects nothing, whatever he says (RFC 9110, section 10.1.1).
    let go_on =
        raw_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = ask_in_old_http(&site, &license, &go_on, "Expect: 100-continue\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let last = site.upstream.served().pop().expect("it was forwarded");
    assert_eq!(last.header("expect"), None);
}

#[test]
fn a_coding_that_http_1_0_cannot_carry_is_a_502() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = ask_in_old_http(&site, &license, &raw_answer(answer), "");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[test]
fn an_upstream_that_fails_after_an_informational_answer_is_told_of_like_any_other() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    for (after, code) in [
        ("", "upstream_unreachable"),
        ("SSH-2.0\r\n\r\n", "upstream_invalid"),
    ] {
        let target = format!("{}/close", raw_answer(&format!("{go_on}{after}")));
        let request = Request::get(&target).key(&license.key);
        let mut connection = site.gateway.connect();
        connection.send(&request.bytes()).expect("the gate reads");
        let response = connection.read_response("GET").expect("an answer");
        assert_eq!(
            (response.status, &*response.informational),
            (502, &[100][..])
        );
        assert_eq!(response.refusal_code().as_deref(), Some(code));
        let record = site.gateway.record(response.call_id());
        assert_eq!(record["outcome"], "upstream_failed", "{record}");
        assert_eq!(record["status"], 502, "{record}");
    }
}

#[test]
fn an_answer_has_one_length_or_is_the_upstreams_failure() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for head in [
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nContent-Length: 2",
        "Transfer-Encoding: identity\r\nContent-Length: 2",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nok");
        let response = ask(&site, &license, &answer);
        assert_eq!(response.status, 502, "{head}");
        let code = response.refusal_code();
        assert_eq!(code.as_deref(), Some("upstream_invalid"), "{head}");
        let record = site.gateway.record(response.call_id());
        assert_eq!(record["billable"], false, "{record}");
    }
    let chunks = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let response = ask(&site, &license, chunks);
    assert_eq!(response.body, b"ok", "chunks outweigh a length");
    assert_eq!(response.header("content-length"), None);
}

#[test]
fn an_upstream_of_http_1_0_is_answered_for_in_http_1_1() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for (head, close) in [("Content-Length: 2", ""), ("X: y", "/close")] {
        let answer = format!("HTTP/1.0 200 OK\r\n{head}\r\nConnection: keep-alive\r\n\r\nok");
        let target = format!("{}{close}", raw_answer(&answer));
        let mut connection = site.gateway.connect();
        let request = Request::get(&target).key(&license.key);
        connection.send(&request.bytes()).expect("the gate reads");
        let response = connection.read_response("GET").expect("an answer");
        assert_eq!(response.head.first_line, "HTTP/1.1 200 OK");
        assert_eq!(response.body, b"ok");
    }
    // Chunks that its version does not know (RFC 9112, section 6.1).
    let faulty = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert_eq!(ask(&site, &license, faulty).status, 502);
}

#[test]
fn what_an_upstream_says_of_its_own_connection_is_not_passed_on() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let answer = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
                  Connection: keep-alive, X-Own\r\nX-Own: 1\r\nX-Other: 2\r\nContent-Length: 2\r\n\r\nok";
    let response = ask(&site, &license, answer);
    for name in ["keep-alive", "proxy-connection", "upgrade", "x-own"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-other"), Some("2"));
}

#[test]
fn who_offers_another_protocol_than_a_websocket_is_answered_in_http_and_keeps_his_connection() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    for (options, protocol) in [
        ("Upgrade, HTTP2-Settings", "h2c"),
        ("keep-alive", "websocket"),
    ] {
        let request = Request::get("/")
            .key(&license.key)
            .header("Connection", options)
            .header("Upgrade", protocol);
        let response = connection.call(&request).expect("an answer");
        assert_eq!(response.status, 200, "{protocol}");
        let served = site.upstream.served().pop().expect("forwarded");
        assert_eq!(served.header("upgrade"), None, "{protocol}");
    }
    let request = Request::get(&raw_answer(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
    ));
    let request = request
        .key(&license.key)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let response = connection.call(&request).expect("an answer");
    assert_eq!(response.status, 502, "not what was offered");
}

#[test]
fn the_answer_that_opens_a_websocket_is_one_that_its_client_accepts() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for said in [
        "Connection: Upgrade\r\n",
        "Connection: upgrade, X-Own\r\n",
        "",
    ] {
        let switch = format!(
            "HTTP/1.1 101 Switching Protocols\r\n{said}Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
        );
        let request = Request::get(&raw_answer(&switch))
            .key(&license.key)
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket");
        let mut connection = site.gateway.connect();
        connection.send(&request.bytes()).expect("the gate reads");
        let head = connection.read_head().expect("a head");
        assert_eq!(head.status(), Some(101));
        // RFC 6455, section 4.1: without these the client fails the connection.
        assert_eq!(head.header("upgrade"), Some("websocket"));
        let connection = head.header("connection").map(str::to_ascii_lowercase);
        assert_eq!(connection.as_deref(), Some("upgrade"), "{said:?}");
        assert_eq!(head.header("sec-websocket-accept"), Some("x"));
    }
}

#[test]
fn a_switch_of_protocols_in_http_1_0_is_a_502() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let answer =
        "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let request = Request::get(&raw_answer(answer))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .key(&license.key);
    let response = site.gateway.call(&request);
    assert_eq!(response.status, 502);
    assert_eq!(response.refusal_code().as_deref(), Some("upstream_invalid"));
    let record = site.gateway.record(response.call_id());
    assert_eq!(record["outcome"], "upstream_failed", "{record}");
}

#[test]
fn an_informational_answer_does_not_say_what_the_gate_alone_says() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--rate-limit", "9/1h"]);
    let answer = "HTTP/1.1 103 Early Hints\r\nTallygate-Call-Id: forged\r\nRateLimit: \"1h\";r=999\r\nLink: </a>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nTallygate-Call-Id: forged\r\nRateLimit: \"1h\";r=999\r\nContent-Length: 0\r\n\r\n";
    let request = Request::get(&raw_answer(answer)).key(&license.key);
    let mut connection = site.gateway.connect();
    connection.send(&request.bytes()).expect("the gate reads");
    let early = connection.read_head().expect("a head");
    assert_eq!(early.status(), Some(103));
    assert_eq!(early.header("link"), Some("</a>"));
    assert_eq!(early.header("tallygate-call-id"), None);
    assert_eq!(early.header("ratelimit"), None);
    let answer = connection.read_response("GET").expect("an answer");
    assert_eq!(answer.status, 200);
    let record = site.gateway.record(answer.call_id());
    assert_eq!(record["status"], 200, "{record}");
    let left = answer.header("ratelimit").expect("the gate says it");
    assert!(left.contains("r=8"), "{left}");
}
