//! Whatever somebody sends: a clear refusal, and the node goes on.

use serde_json::{Value, json};

use crate::harness::{Node, pair, raw, raw_and_end};

/// Values of every kind that a field might get.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("\u{202e}\u{200b}\u{feff}"),
        json!("../../etc/passwd"),
        json!("<script>alert(1)</script>"),
        json!("x".repeat(100_000)),
        json!([]),
        json!([1, "a", null, [[]]]),
        json!({}),
        json!({ "a": { "a": { "a": 1 } } }),
    ]
}

#[test]
fn no_body_of_any_call_upsets_a_node() {
    let (ana, ben) = pair("Ana", "Ben");
    let forum = ana.new_forum("Lake");
    let thread = ana.new_thread(&forum, "Hello", "hello");
    let article = ana.publish("River", "wet");
    let ben_id = ben.id();
    let calls = [
        ("POST", "/setup".to_owned(), vec!["name"]),
        ("PATCH", "/identity".to_owned(), vec!["name"]),
        (
            "POST",
            "/invites".to_owned(),
            vec!["uses", "expires_in_s", "note"],
        ),
        ("POST", "/contacts/join".to_owned(), vec!["link"]),
        (
            "PATCH",
            format!("/contacts/{ben_id}"),
            vec!["nickname", "trust"],
        ),
        ("POST", "/forums".to_owned(), vec!["name", "description"]),
        ("POST", format!("/spaces/{forum}/offers"), vec!["contact"]),
        (
            "POST",
            format!("/forums/{forum}/threads"),
            vec!["title", "body"],
        ),
        (
            "POST",
            format!("/threads/{thread}/replies"),
            vec!["body", "parent"],
        ),
        (
            "POST",
            "/blog/articles".to_owned(),
            vec!["title", "body", "tags"],
        ),
        (
            "POST",
            format!("/articles/{article}/comments"),
            vec!["body", "parent"],
        ),
        ("POST", format!("/articles/{article}/reblog"), vec!["note"]),
        (
            "POST",
            format!("/conversations/{ben_id}"),
            vec!["body", "parent"],
        ),
        (
            "PATCH",
            format!("/entries/{thread}"),
            vec!["title", "body", "tags"],
        ),
        ("POST", "/entries/read".to_owned(), vec!["ids"]),
        ("PATCH", "/links".to_owned(), vec!["internet"]),
    ];
    for (method, path, fields) in &calls {
        for value in values() {
            // The whole body, and each field with the others left out.
            let mut bodies = vec![value.clone()];
            bodies.extend(fields.iter().map(|field| json!({ *field: value })));
            for body in bodies {
                let answer = ana.call(method, path, Some(&body));
                assert!(answer.status < 500, "{method} {path} {body}: {answer:?}");
                if answer.status >= 400 {
                    answer.problem();
                }
            }
        }
        let unknown = ana.call(method, path, Some(&json!({ "surprise": 1 })));
        assert!(
            matches!(unknown.status, 409 | 422),
            "{method} {path}: {unknown:?}"
        );
    }
    // Still the same, and still in touch.
    ben.receives(&ana.send(&ben_id, "still here"));
}

#[test]
fn json_that_is_none_is_malformed() {
    let ana = Node::named("Ana");
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    for body in [
        "{",
        "}",
        "{\"name\":}",
        "{\"name\":\"a\",}",
        "{'name':'a'}",
        "{\"name\":\"a\"} {\"name\":\"b\"}",
        "name=a",
        "\u{feff}{\"name\":\"a\"}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"a\nb\"}",
        "nul",
        &deep,
    ] {
        let status = send(&ana, body.as_bytes());
        assert!(
            matches!(status, 400 | 422),
            "{status} for {:?}",
            &body[..body.len().min(40)]
        );
    }
    assert!(matches!(send(&ana, b"{\"name\":\"\xff\xfe\"}"), 400 | 422));
    assert_eq!(
        send(&ana, b"{\"name\":\"a\",\"name\":\"b\"}"),
        422,
        "twice the same field"
    );
    assert!(ana.list("/forums").is_empty());
}

fn send(node: &Node, body: &[u8]) -> u16 {
    let head = format!(
        "POST /api/v1/forums HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        node.port(),
        node.token(),
        body.len()
    );
    raw(node, &[head.as_bytes(), body].concat()).status
}

#[test]
fn odd_ids_in_a_path_are_not_found() {
    let ana = Node::named("Ana");
    let ids = [
        "x",
        "%00",
        "%2e%2e%2f%2e%2e",
        "%F0%9F%9A%B2",
        "a".repeat(51).as_str(),
        "a".repeat(53).as_str(),
        "A".repeat(52).as_str(),
        "0".repeat(52).as_str(),
        "a".repeat(3_000).as_str(),
    ]
    .map(str::to_owned);
    for id in &ids {
        for (method, path) in [
            ("GET", format!("/threads/{id}")),
            ("GET", format!("/forums/{id}/threads")),
            ("GET", format!("/blogs/{id}/articles")),
            ("GET", format!("/contacts/{id}")),
            ("GET", format!("/conversations/{id}")),
            ("GET", format!("/entries/{id}")),
            ("GET", format!("/entries/{id}/history")),
            ("GET", format!("/invites/{id}")),
            ("DELETE", format!("/invites/{id}")),
            ("DELETE", format!("/spaces/{id}")),
            ("DELETE", format!("/entries/{id}")),
            ("POST", format!("/offers/{id}/accept")),
        ] {
            let answer = ana.call(method, &path, None);
            assert_eq!(
                (answer.status, answer.problem()),
                (404, "not-found"),
                "{method} {path}: {answer:?}"
            );
        }
    }
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let ana = Node::named("Ana");
    let port = ana.port();
    let corpus: Vec<Vec<u8>> = vec![
        b"\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(30),
        vec![0; 10_000],
        vec![0xff; 10_000],
        format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{}\r\n", "X-A: b\r\n".repeat(5_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n").into_bytes(),
        format!("GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").into_bytes(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        format!("POST /api/v1/forums HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: -1\r\n\r\n").into_bytes(),
        format!("POST /api/v1/forums HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99999999999999999999\r\n\r\n").into_bytes(),
        format!("POST /api/v1/forums HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n").into_bytes(),
        format!("CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").into_bytes(),
    ];
    for bytes in &corpus {
        let answer = raw_and_end(&ana, bytes);
        assert!(
            answer.status == 0 || (400..500).contains(&answer.status),
            "{answer:?} for {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
        );
        assert!(!answer.body.contains("Ana"));
    }
    assert_eq!(ana.get("/status")["identity"]["name"], "Ana");
}

#[test]
fn texts_come_out_as_they_went_in_and_safe() {
    let (ana, ben) = pair("Ana", "Ben");
    for body in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "![beacon](https://evil.example/pixel.png)",
        "<svg onload=alert(1)>",
        "\"><style>*{display:none}</style>",
        "a\u{0}b\u{202e}c",
        "שלום and سلام and 🚲\u{200d}",
        &"[".repeat(5_000),
        &"> ".repeat(5_000),
        &"*a ".repeat(5_000),
        &"| ".repeat(5_000),
    ] {
        let answer = ana.call(
            "POST",
            &format!("/conversations/{}", ben.id()),
            Some(&json!({ "body": body })),
        );
        if answer.status == 422 {
            assert!(
                body.contains('\u{0}'),
                "only control characters may be refused: {answer:?}"
            );
            continue;
        }
        let message = answer.expect(201);
        let seen = ben.receives(message["id"].as_str().unwrap());
        assert_eq!(seen["body"], body);
        let html = seen["html"].as_str().unwrap().to_ascii_lowercase();
        for bad in [
            "<script",
            "<img",
            "<svg",
            "<style",
            "javascript:",
            "data:text",
        ] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
    }
}
