//! Heads and bodies that two readers could understand differently. Raw bytes in; nothing hidden may reach the upstream.

use std::ops::RangeInclusive;

use testkit::client::Request;
use testkit::{App, Config, License, ServedRequest, Site, binary};

/// Whatever is hidden in a request asks for this path.
const HIDDEN: &str = "/hidden";

struct Case {
    what: &'static str,
    /// The bytes; `KEY` stands for a good license key.
    bytes: &'static [u8],
    answer: Answer,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Refused with this status before anything is forwarded.
    Refused(u16),
    /// Its body cannot be read to its end; its head may have been forwarded by then.
    Broken,
    /// Forwarded, in a form that can be read in one way only.
    Forwarded,
}

use Answer::{Broken, Forwarded, Refused};

const CASES: &[Case] = &[
    Case {
        what: "Content-Length and Transfer-Encoding",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: 4\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Forwarded,
    },
    Case {
        what: "two Content-Lengths",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: 0\r\n\
                 Content-Length: 44\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\nX-Ignored: 1\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a list of Content-Lengths",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: 0, 44\r\n\r\n\
                 GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "one Content-Length said twice",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: 3\r\n\
                 Content-Length: 3\r\n\r\nabc",
        answer: Forwarded,
    },
    Case {
        what: "one Content-Length as a list",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: 3, 3\r\n\r\nabc",
        answer: Forwarded,
    },
    Case {
        what: "a Content-Length in another spelling",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent_Length: 44\r\n\
                 Content-Length: 3\r\n\r\nabc",
        answer: Forwarded,
    },
    Case {
        what: "a coding beside chunked",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
                 0\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a coding in a line before chunked",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: gzip\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "chunked twice",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: chunked, chunked\r\n\r\n\
                 0\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a signed Content-Length",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: +3\r\n\r\nabc",
        answer: Refused(400),
    },
    Case {
        what: "a Content-Length that does not fit",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        answer: Refused(400),
    },
    Case {
        what: "an unknown Transfer-Encoding",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: xchunked\r\n\r\n\
                 0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "Transfer-Encoding before a space and a colon",
        bytes: b"POST / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding : chunked\r\n\r\n\
                 0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "chunked under HTTP/1.0",
        bytes: b"POST / HTTP/1.0\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
                 0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "two Hosts",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nApifew-User-License-Key: KEY\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a folded header",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nX-Folded: one\r\n two: three\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a header without a colon",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nno colon here\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a header name with a space",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nX Y: 1\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a NUL in a header's value",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nX-Nul: a\0b\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a NUL in the path",
        bytes: b"GET /a\0b HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\n\r\n",
        answer: Forwarded,
    },
    Case {
        what: "a bare carriage return in a header's value",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nX-Cr: a\rGET /hidden HTTP/1.1\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "no method",
        bytes: b" / HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "no version",
        bytes: b"GET /\r\nHost: a\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a version from the future",
        bytes: b"GET / HTTP/9.9\r\nHost: a\r\nApifew-User-License-Key: KEY\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "CONNECT",
        bytes: b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\nApifew-User-License-Key: KEY\r\n\r\n",
        answer: Refused(405),
    },
    Case {
        what: "bytes that are no HTTP",
        bytes: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        answer: Refused(400),
    },
    Case {
        what: "a chunk length that is not hexadecimal",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
                 zz\r\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Broken,
    },
    Case {
        what: "a chunk length that does not fit",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
                 fffffffffffffffff\r\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Broken,
    },
    Case {
        what: "a chunk extension with a bare line feed",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3;x=\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Broken,
    },
    Case {
        what: "a chunk longer than its length",
        bytes: b"POST /echo HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabcdef\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Broken,
    },
    Case {
        what: "an upgrade with a request behind it",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Forwarded,
    },
    Case {
        what: "a request behind a request",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\n\r\n\
                 GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        answer: Forwarded,
    },
    Case {
        what: "Connection that names the call id and the key",
        bytes: b"GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: KEY\r\n\
                 Connection: close, Tallygate-Call-Id, Apifew-User-License-Key\r\n\r\n",
        answer: Forwarded,
    },
];

/// Sends the bytes, waits for an answer, says that nothing follows, and gives everything that came back.
fn exchange(site: &Site, license: &License, case: &Case) -> String {
    let at = case.bytes.windows(3).position(|window| window == b"KEY");
    let mut bytes = case.bytes.to_vec();
    if let Some(at) = at {
        bytes.splice(at..at + 3, license.key.bytes());
    }
    let mut connection = site.gateway.connect();
    connection.send(&bytes).expect("the gate reads");
    connection.wait_for_some().expect("the gate answers");
    connection.half_close();
    String::from_utf8_lossy(&connection.read_to_end()).into_owned()
}

impl Case {
    /// The status that the caller sees, how often the upstream is asked, and by how much the metric rises.
    const fn expected(&self) -> (u16, RangeInclusive<usize>, f64) {
        match self.answer {
            Refused(status) => (status, 0..=0, 1.0),
            Broken => (400, 0..=1, 1.0),
            Forwarded => (200, 1..=1, 0.0),
        }
    }
}

fn count_of(served: &ServedRequest, name: &str) -> usize {
    let named = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
    served.headers.iter().filter(named).count()
}

fn malformed(site: &Site) -> f64 {
    site.gateway
        .metric("tallygate_malformed_requests_total", &[])
}

#[test]
fn nothing_hidden_is_forwarded_and_the_gate_lives_on() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for case in CASES {
        let before = (site.upstream.served_count(), malformed(&site));
        let answer = exchange(&site, &license, case);
        let forwarded = site.upstream.served().split_off(before.0);
        let what = case.what;
        let hidden = forwarded
            .iter()
            .find(|served| served.target.contains(HIDDEN));
        assert!(
            hidden.is_none(),
            "{what}: {hidden:?} was let through, answer {answer:?}"
        );
        let (status, asked, counted) = case.expected();
        let line = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&line), "{what}: {answer:?}");
        assert!(asked.contains(&forwarded.len()), "{what}: {forwarded:?}");
        for served in &forwarded {
            let lines = |name| count_of(served, name);
            assert!(
                lines("content-length") + lines("transfer-encoding") <= 1,
                "{what}: {served:?}"
            );
            let length = served.header("content-length");
            assert!(
                length.is_none_or(|text| text.parse::<u64>().is_ok()),
                "{what}: {served:?}"
            );
            assert_eq!(lines("content_length"), 0, "{what}: {served:?}");
        }
        let unsigned = forwarded.iter().find(|served| served.call_id.is_none());
        assert!(
            unsigned.is_none(),
            "{what}: {unsigned:?} was forwarded without a call id"
        );
        let rise = malformed(&site) - before.1;
        assert!((rise - counted).abs() < 0.5, "{what}: counted {rise} times");
        assert!(!answer.contains("panicked"), "{what}: {answer:?}");
        assert!(site.gateway.is_running(), "{what}: the gate is gone");
        let good = site.gateway.call(&Request::get("/").key(&license.key));
        assert_eq!(good.status, 200, "{what}: the gate does not serve any more");
    }
    assert!(
        !site.gateway.log().contains("panicked at"),
        "{}",
        site.gateway.log()
    );
    site.assert_clean(&[], &[]);
}

#[test]
fn heads_of_any_size_and_shape_end_in_an_answer_or_a_closed_connection() {
    let mut site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("head_timeout = \"1s\"")
    });
    let license = site.gateway.license(&[]);
    let many = "X-Many: 1\r\n".repeat(1000);
    let long = "y".repeat(3_000_000);
    let heads = [
        format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nApifew-User-License-Key: {}\r\n\r\n",
            "k".repeat(100_000)
        ),
        // These never end: they are cut off.
        "\r\n".repeat(1000),
        "G".repeat(100_000),
        "GET / HTTP/1.1\r\nHost: a\r\n".to_owned(),
    ];
    for head in &heads {
        let mut connection = site.gateway.connect();
        // The gate may close before it has read all of it.
        let _sent = connection.send(head.as_bytes());
        let answer = connection
            .read_some()
            .unwrap_or_else(|error| panic!("{error} to {head:.60}"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{:.60}: {answer:.200}",
            head
        );
        assert!(site.gateway.is_running());
    }
    assert_eq!(site.upstream.served_count(), 0);
    assert_eq!(
        site.gateway
            .call(&Request::get("/").key(&license.key))
            .status,
        200
    );
    assert!(
        !site.gateway.log().contains("panicked at"),
        "{}",
        site.gateway.log()
    );
}

/// Targets that do not begin with a slash: some upstreams read each of them as `/dear`, or as something else that is licensed.
const NO_PATHS: &[&str] = &[
    "dear",
    "dear/",
    "dear?x",
    "dear#x",
    "dear;x",
    "./dear",
    "../dear",
    "%2Fdear",
    "%2fdear",
    "%2e/dear",
    "\\dear",
    "%5cdear",
    ":dear",
    ":80/dear",
    "@h/dear",
    "h:80",
    "h:80/dear",
    "api.test/dear",
    "*",
    "*/dear",
    "?",
    "?/dear",
    ";/dear",
    ",/dear",
    "http:",
    "http:/dear",
    "http:dear",
    "http:\\\\h\\dear",
    "http//h/dear",
    "ftp://h/dear",
    "file:///dear",
    "ws://h/dear",
    "javascript:/dear",
    "urn:dear",
    "\"/dear\"",
    "<dear>",
    "{dear}",
    "~/dear",
    "..",
    ".",
];

/// An app whose calls cost a unit, but for those to `/dear`.
fn with_a_dear_route(upstream: &str, lines: &[&str]) -> Config {
    let dear: Vec<_> = ["units = 100"].iter().chain(lines).copied().collect();
    let app = App::new("api", upstream)
        .route("/", &[])
        .route("/dear", &dear);
    Config::default().app(app)
}

#[test]
fn a_target_that_is_no_path_is_refused_before_anything_else() {
    for declares_routes in [false, true] {
        let site = Site::with(binary!(), |upstream| match declares_routes {
            true => with_a_dear_route(upstream, &[]),
            false => Config::new(upstream),
        });
        let license = site.gateway.license(&[]);
        for target in NO_PATHS {
            let before = malformed(&site);
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: api.test\r\nApifew-User-License-Key: {}\r\n\r\n",
                license.key
            );
            let mut connection = site.gateway.connect();
            connection.send(head.as_bytes()).expect("the gate reads");
            connection.wait_for_some().expect("the gate answers");
            connection.half_close();
            let answer = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer:?}");
            assert!((malformed(&site) - before - 1.0).abs() < 0.5, "{target}");
        }
        assert_eq!(site.upstream.served_count(), 0);
        site.assert_clean(&[], &[]);
    }
}

#[test]
fn a_target_in_absolute_form_is_judged_and_forwarded_as_its_path() {
    let site = Site::with(binary!(), |upstream| with_a_dear_route(upstream, &[]));
    let license = site.gateway.license(&[]);
    let request = Request::get("http://api.test/dear?x=1").host("api.test");
    let answer = site.gateway.call(&request.key(&license.key));
    assert_eq!(answer.status, 200);
    let served = site.upstream.served();
    assert_eq!(served[0].target, "/dear?x=1");
    assert_eq!(served[0].header("host"), Some("api.test"));
    assert_eq!(site.gateway.record(answer.call_id())["units"], 100);
}

#[test]
fn a_method_is_read_as_it_is_written_and_head_costs_what_get_costs() {
    let site = Site::with(binary!(), |upstream| {
        with_a_dear_route(upstream, &["methods = [\"GET\"]"])
    });
    let license = site.gateway.license(&["--permission", "GET /dear"]);
    for method in ["get", "Get", "head", "pOST"] {
        let mut connection = site.gateway.connect();
        let head = Request::new(method, "/dear").key(&license.key);
        connection.send(&head.bytes()).expect("the gate reads");
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!(answer.status, 400, "{method}");
        assert_eq!(answer.refusal_code().as_deref(), Some("request_malformed"));
    }
    assert_eq!(site.upstream.served_count(), 0);
    let answer = site
        .gateway
        .call(&Request::new("HEAD", "/dear").key(&license.key));
    assert_eq!(answer.status, 200);
    assert_eq!(site.gateway.record(answer.call_id())["units"], 100);
}

#[test]
fn a_host_that_is_none_is_refused() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let lines = [
        "Host: <script>\r\n",
        "Host: api.test:x/y\r\n",
        "Host: a b\r\n",
        "Host: u@h\r\n",
        "",
    ];
    for line in lines {
        let head = format!(
            "GET / HTTP/1.1\r\n{line}Apifew-User-License-Key: {}\r\n\r\n",
            license.key
        );
        let mut connection = site.gateway.connect();
        connection.send(head.as_bytes()).expect("the gate reads");
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!(answer.status, 400, "{line:?}");
    }
    assert_eq!(site.upstream.served_count(), 0);
}

/// What only the gate or a proxy may say, as an upstream behind CGI may read it.
const SPELLINGS: &[&str] = &[
    "Tallygate_User_Id",
    "Tallygate_License-Id",
    "tallygate.user.id",
    "Tallygate_Anything",
    "Apifew_User_License_Key",
    "Apifew_Request_Token",
    "X_HTTP_Method_Override",
    "X_Forwarded_For",
    "X_Forwarded-Proto",
    "X_Real_IP",
    "Content_Length",
    "Transfer_Encoding",
    "X_Api_Key",
    "X.Api.Key",
    "X_Secret",
];

/// What no caller may say in the plain spelling either.
const CLAIMS: &[&str] = &[
    "Forwarded",
    "X-Real-IP",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Original-URL",
    "X-Rewrite-URL",
    "True-Client-IP",
    "Proxy",
    "Client-IP",
    "Client_IP",
    "Front-End-Https",
    "WL-Proxy-Client-IP",
    "X-Envoy-External-Address",
    "X-SSL-Client-Cert",
    "X-Scheme",
    "Tallygate-User-Id",
    "Tallygate-License-Id",
    "Tallygate-Anything",
    "X-HTTP-Method",
];

/// Names of headers that the upstream got, in small letters.
fn names_of(served: &ServedRequest) -> Vec<String> {
    let names = served.headers.iter().map(|(name, _)| name);
    names.map(|name| name.to_ascii_lowercase()).collect()
}

fn with_underscores(upstream: &str, policy: &str) -> Config {
    let app = App::new("api", upstream)
        .line(&format!("underscore_headers = \"{policy}\""))
        .line("license_headers = [\"Apifew-User-License-Key\", \"X-Api-Key\"]")
        .table("[app.inject_headers]\nX-Secret = \"s\"");
    Config::default().app(app)
}

#[test]
fn what_a_caller_may_not_say_passes_in_no_spelling() {
    for policy in ["drop", "forward"] {
        let site = Site::with(binary!(), |upstream| with_underscores(upstream, policy));
        let license = site.gateway.license(&[]);
        for name in SPELLINGS.iter().chain(CLAIMS) {
            let request = Request::get("/")
                .header(name, "for=1.1.1.1")
                .key(&license.key);
            assert_eq!(site.gateway.call(&request).status, 200, "{policy} {name}");
            let served = site.upstream.take_served().remove(0);
            let said = served
                .headers
                .iter()
                .any(|(_, value)| value == "for=1.1.1.1");
            assert!(!said, "{policy} {name}: {served:?}");
        }
        let request = Request::get("/").header("My_Own", "1").key(&license.key);
        assert_eq!(site.gateway.call(&request).status, 200);
        let served = site.upstream.take_served().remove(0);
        let passes = names_of(&served).contains(&"my_own".to_owned());
        assert_eq!(passes, policy == "forward", "{served:?}");
    }
}

#[test]
fn a_name_with_an_underscore_is_refused_where_the_app_says_so() {
    let site = Site::with(binary!(), |upstream| with_underscores(upstream, "refuse"));
    let license = site.gateway.license(&[]);
    let refused = site
        .gateway
        .call(&Request::get("/").header("My_Own", "1").key(&license.key));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.refusal_code().as_deref(), Some("request_malformed"));
    assert!(refused.text().contains("underscore"), "{}", refused.text());
    let plain = Request::get("/").header("My-Own", "1").key(&license.key);
    assert_eq!(site.gateway.call(&plain).status, 200);
    assert_eq!(site.upstream.served_count(), 1);
}

#[test]
fn a_path_with_two_readings_passes_or_not_as_the_app_says() {
    for (policy, status) in [("forward", 200), ("refuse", 400)] {
        let site = Site::with(binary!(), |upstream| {
            let line = format!("ambiguous_paths = \"{policy}\"");
            Config::default().app(App::new("api", upstream).line(&line))
        });
        let license = site.gateway.license(&[]);
        for path in ["//a", "/a%2Fb", "/a;b", "/a/../b", "/a%252fb"] {
            let answer = site.gateway.call(&Request::get(path).key(&license.key));
            assert_eq!(answer.status, status, "{policy} {path}");
            let served = site.upstream.take_served();
            let targets: Vec<_> = served.iter().map(|one| one.target.as_str()).collect();
            assert_eq!(
                targets == [path],
                status == 200,
                "{policy} {path}: {targets:?}"
            );
        }
    }
}
