//! Over real sockets: streams, bad bytes, and how the server ends.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::{Bench, TOKEN};

/// Nothing here takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

struct Served {
    bench: Bench,
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let bench = Bench::ana().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let web = bench.web.clone();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            web.serve(listener, shutdown).await.unwrap();
        });
        Self {
            bench,
            addr,
            stop: Some(stop),
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // A server that has heard enough may close before all is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        let shown = String::from_utf8_lossy(bytes)
            .chars()
            .take(80)
            .collect::<String>();
        assert!(end.is_ok(), "{shown:?} wasn't ended");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Opens the stream of events and reads its head.
    async fn events(&self, last: Option<&str>) -> BufReader<TcpStream> {
        let mut stream = self.connect().await;
        let last = last
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:7340\r\nAuthorization: Bearer {TOKEN}\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        assert!(line_with(&mut reader, "HTTP/1.1").await.contains("200"));
        line_with(&mut reader, ": waymeet").await;
        reader
    }

    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

/// Reads on to a line that contains a text.
async fn line_with(reader: &mut BufReader<TcpStream>, text: &str) -> String {
    tokio::time::timeout(DEADLINE, async {
        loop {
            let mut line = String::new();
            assert!(
                reader.read_line(&mut line).await.unwrap() > 0,
                "the stream ended before {text}"
            );
            if line.contains(text) {
                return line;
            }
        }
    })
    .await
    .expect("a line in time")
}

#[tokio::test]
async fn events_come_and_the_stream_ends_with_the_node() {
    let served = Served::start().await;
    let mut events = served.events(None).await;
    let forum = served.bench.post("/forums", json!({"name": "Camp"})).await;
    let id = forum["id"].as_str().unwrap();
    let thread = served
        .bench
        .post(
            &format!("/forums/{id}/threads"),
            json!({"title": "a", "body": "b"}),
        )
        .await;
    let thread_id = thread["id"].as_str().unwrap();
    let data = line_with(&mut events, thread_id).await;
    let data: serde_json::Value = serde_json::from_str(
        data.strip_prefix("data: ")
            .or(data.strip_prefix("data:"))
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        (&data["kind"], &data["space"], &data["id"]),
        (&json!("entry"), &json!(id), &json!(thread_id))
    );

    served.stop().await;
    let mut rest = String::new();
    tokio::time::timeout(DEADLINE, events.read_to_string(&mut rest))
        .await
        .expect("the stream ends")
        .unwrap();
}

#[tokio::test]
async fn bad_bytes_get_an_answer_or_an_end_and_others_go_on() {
    let served = Served::start().await;
    let head = "Host: 127.0.0.1:7340\r\nConnection: close\r\n";
    let long_path = format!("GET /{} HTTP/1.1\r\n{head}\r\n", "a".repeat(100_000));
    let long_header = format!("GET / HTTP/1.1\r\n{head}x: {}\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{head}{}\r\n", "x: y\r\n".repeat(1_000));
    let two_lengths =
        format!("POST /sign-in HTTP/1.1\r\n{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab");
    let smuggled = format!(
        "POST /sign-in HTTP/1.1\r\n{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    );
    let bad_chunk = format!(
        "POST /sign-in HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    );
    let huge = format!(
        "POST /sign-in HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 99999999999\r\n\r\na"
    );
    let cases: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:7340\r\nConnection: close\r\n\r\n"
            .to_vec(),
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: 127.0.0.1:7340\r\nConnection: close\r\n\r\n"
            .to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n".to_vec(),
        b"G\xff\xfe / HTTP/1.1\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:7340\r\nConnection: close\r\n\r\n".to_vec(),
        long_path.into(),
        long_header.into(),
        many_headers.into(),
        two_lengths.into(),
        smuggled.into(),
        bad_chunk.into(),
        huge.into(),
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(&case)
            .chars()
            .take(60)
            .collect::<String>();
        let mut bytes = case.clone();
        if !shown.contains("HTTP/1") {
            bytes.extend(b"\r\n\r\n");
        }
        let answer = served.exchange(&bytes).await;
        let status = answer.split(' ').nth(1).unwrap_or("");
        assert!(
            answer.is_empty() || status.starts_with('4'),
            "{shown:?}: {answer}"
        );
    }
    let good = served
        .exchange(format!("GET /healthz HTTP/1.1\r\n{head}\r\n").as_bytes())
        .await;
    assert!(
        good.starts_with("HTTP/1.1 200") && good.ends_with("ok"),
        "{good}"
    );
    served.stop().await;
}

#[tokio::test]
async fn silent_connections_do_not_hold_the_end_up() {
    let served = Served::start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = served.connect().await;
        stream.write_all(b"GET / HT").await.unwrap();
        silent.push(stream);
    }
    let good = served
        .exchange(b"GET /healthz HTTP/1.1\r\nHost: localhost:7340\r\nConnection: close\r\n\r\n")
        .await;
    assert!(good.ends_with("ok"));
    let begin = std::time::Instant::now();
    served.stop().await;
    assert!(begin.elapsed() < crate::limits::DRAIN_TIME_MAX + Duration::from_secs(1));
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let served = Served::start().await;
    let (one, other) = (served.bench.browser().await, served.bench.browser().await);
    let mut streams = Vec::new();
    for browser in [&one, &other] {
        let mut stream = served.connect().await;
        let request = format!(
            "GET /events HTTP/1.1\r\nHost: 127.0.0.1:7340\r\nCookie: {}\r\nConnection: close\r\n\r\n",
            browser.cookie
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        line_with(&mut reader, ": waymeet").await;
        streams.push(reader);
    }
    one.change("/sign-out", &[]).await;
    let mut rest = String::new();
    tokio::time::timeout(DEADLINE, streams[0].read_to_string(&mut rest))
        .await
        .expect("the stream ends")
        .unwrap();
    let forum = served.bench.post("/forums", json!({"name": "Camp"})).await;
    let id = forum["id"].as_str().unwrap();
    line_with(&mut streams[1], id).await;
    assert!(!rest.contains(id));
}
