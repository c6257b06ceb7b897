//! Requests that make no sense, or mean harm: a 4xx in words, never a 500.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::room::{Room, SMALL, answer, config};

#[tokio::test]
async fn numbers_that_are_none() {
    let room = Room::new().await;
    for number in ["abc", "-1", "0", "9223372036854775807", "9223372036854775808", "1.5", "%00", "%ff", "01"]
    {
        for tail in ["", "/log", "/events", "/stages/1/log"] {
            let (status, body) = room.get(&format!("/api/v1/builds/{number}{tail}")).await;
            assert_eq!(
                (status, &body["code"]),
                (StatusCode::NOT_FOUND, &json!("not_found")),
                "{number}{tail}"
            );
        }
        let (status, _) =
            answer(room.request(Method::POST, &format!("/api/v1/builds/{number}/cancel"))).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{number}");
    }
}

#[tokio::test]
async fn queries() {
    let room = Room::new().await;
    for (query, words) in [
        ("cursor=12", "cursor:"),
        ("cursor=b%00", "cursor:"),
        ("limit=0", "limit:"),
        ("limit=501", "limit:"),
        ("limit=x", "limit"),
        ("status=green", "status:"),
        ("event=x", "event:"),
        ("since=yesterday", "since: `yesterday` is no time; write it like 2"),
        ("until=9999-12-31T23:59:59Z", "is no time"),
        ("commit=abc", "commit:"),
        ("colour=red", "known:"),
    ] {
        let (status, body) = room.get(&format!("/api/v1/builds?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(words), "{query}: {body}");
    }
}

/// `retry?failed=true` would otherwise do everything again without a word.
#[tokio::test]
async fn changes_take_no_query() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    for (method, path) in [
        (Method::POST, "/api/v1/builds".to_owned()),
        (Method::POST, format!("/api/v1/builds/{number}/retry")),
        (Method::POST, format!("/api/v1/builds/{number}/cancel")),
        (Method::POST, "/api/v1/repos".to_owned()),
        (Method::DELETE, "/api/v1/repos/git/example".to_owned()),
        (Method::POST, "/api/v1/tokens".to_owned()),
        (Method::DELETE, "/api/v1/tokens/1".to_owned()),
    ] {
        let request = room.request(method, &format!("{path}?failed=true")).json(&json!({}));
        let (status, body) = answer(request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert!(body["detail"].as_str().unwrap().contains("unknown query parameter `failed`"), "{body}");
    }
}

#[tokio::test]
async fn paths_that_are_no_text_exist_nowhere() {
    let room = Room::new().await;
    for path in ["/builds/%ff", "/builds/%ff/stages/1/lines", "/login/link/%ff", "/assets/..%2fsite.css"] {
        assert_eq!(answer(room.request(Method::GET, path)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn bodies() {
    let room = Room::new().await;
    let post = || room.request(Method::POST, "/api/v1/builds");
    let typed = |text: &str| post().header("content-type", "application/json").body(text.to_owned());
    for (request, want) in [
        (typed(&format!("{{\"repo\": \"{}\"}}", "x".repeat(1 << 20))), 413),
        (post().header("content-type", "text/plain").body("{}"), 415),
        (post(), 415),
        (typed("{"), 400),
        (typed("{}"), 422),
        (typed("[]"), 422),
        (typed(r#" ["git/x", null, null, {}, false]"#), 422),
        (typed(r#"{"repo": "git/x", "colour": 1}"#), 422),
        (typed(r#"{"repo": "git/x", "params": {"a": "b"}}"#), 404),
        (typed(&"[".repeat(100_000)), 422),
        (typed(&format!("{{\"repo\": {}", "[".repeat(100_000))), 422),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!(status.as_u16(), want, "{body}");
        assert_eq!(body["status"], want, "{body}");
    }
    let (status, body) = room.post("/api/v1/tokens", &json!({"name": "../x\n", "role": "read"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let (status, body) = room.post("/api/v1/tokens", &json!({"name": "12", "role": "read"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let (status, body) = room.post("/api/v1/tokens", &json!({"name": "Build-7", "role": "read"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(body.to_string().contains("`Build-7` would pass for a build"), "{body}");
    let (status, body) = room.post("/api/v1/tokens", &json!({"name": "x", "role": "god"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
}

#[tokio::test]
async fn packed_bodies_are_refused() {
    let room = Room::new().await;
    for path in ["/api/v1/builds", "/login", "/api/v1/builds/1/retry"] {
        for (packing, want) in [("gzip", 415), ("identity, gzip", 415), ("identity", 0)] {
            let request = room.request(Method::POST, path).header("content-encoding", packing);
            let (status, body) = answer(request.header("content-type", "application/json").body("{}")).await;
            assert_eq!(status.as_u16() == 415, want == 415, "{path} {packing}: {body}");
            assert_eq!(
                want == 415,
                body["detail"].as_str().is_some_and(|words| words.contains("Content-Encoding"))
            );
        }
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let room = Room::new().await;
    let pieces = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 32 << 10]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request =
        room.request(Method::POST, "/api/v1/builds").header("content-type", "application/json").body(body);
    assert_eq!(answer(request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn methods_and_paths() {
    let room = Room::new().await;
    for method in ["TRACE", "PROPFIND", "DELETE"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = room.request(method.clone(), "/api/v1/builds").header("x-http-method-override", "GET");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], "GET,HEAD,POST", "{method}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    for path in ["/api/v1/nothing", "/api/v2/builds", "/nothing", "/api/v1/builds/"] {
        let (status, body) = room.get(path).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{path}");
    }
    let (status, _) = room.get(&format!("/api/v1/builds?q={}", "x".repeat(9_000))).await;
    assert_eq!(status, StatusCode::URI_TOO_LONG);
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let room = Room::new().await;
    for path in ["/healthz", "/api/v1/builds", "/nothing", "/login"] {
        let response = room.plain(Method::GET, path).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(headers.contains_key("content-security-policy"), "{path}");
        assert_eq!(headers["x-request-id"].len(), 32, "{path}");
    }
}

#[tokio::test]
async fn streams_are_resumed_with_their_own_ids_only() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    let number = room.build("example").await;
    for path in [format!("/api/v1/builds/{number}/events"), "/api/v1/events".to_owned()] {
        for (id, want) in [("abc", 400), ("-1", 400), ("1.2.x", 400), ("999999", 416)] {
            let (status, body) = answer(room.request(Method::GET, &path).header("last-event-id", id)).await;
            assert_eq!(status.as_u16(), want, "{id}: {body}");
        }
        let foreign = room.request(Method::GET, &path).header("origin", "https://evil.example");
        assert_eq!(answer(foreign).await.0, StatusCode::FORBIDDEN);
    }
}

/// Sends raw bytes to a whole server; the first line of the answer.
async fn raw(address: std::net::SocketAddr, request: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = socket.write_all(request.as_bytes()).await;
    let mut answer = [0; 512];
    let length = socket.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

/// Asks for `/healthz` so many times, each time reading the answer, and then sends raw bytes; all that is said until
/// the server closes the connection.
async fn talk(address: std::net::SocketAddr, before: usize, said: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..before {
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        while !heard.ends_with(b"ok\n") {
            assert_ne!(socket.read_buf(&mut heard).await.unwrap(), 0);
        }
        heard.clear();
    }
    socket.write_all(said.as_bytes()).await.unwrap();
    let all = tokio::time::timeout(std::time::Duration::from_secs(20), socket.read_to_end(&mut heard));
    // What it does not read any more may end the connection roughly.
    let _ = all.await.expect("the connection stays open");
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn two_lengths_in_one_request_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = ocelot_server::start(config(folder.path())).await.unwrap();
    let hidden = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", hidden.len() + 5);
    let chunked = "transfer-encoding: chunked\r\n".to_owned();
    for before in [0, 1, 3] {
        for [one, two] in [[&length, &chunked], [&chunked, &length]] {
            let said = format!("POST /login HTTP/1.1\r\nhost: x\r\n{one}{two}\r\n0\r\n\r\n{hidden}");
            let heard = talk(server.address, before, &said).await;
            assert!(heard.starts_with("HTTP/1.1 400 Bad Request") && heard.contains("not both"), "{heard}");
            assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "the hidden request was answered: {heard}");
        }
    }
    for (headers, want) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "HTTP/1.1 400 Bad Request"),
        ("Content-Length: +1\r\n", "HTTP/1.1 400 Bad Request"),
        ("Transfer-Encoding: gzip\r\n", "HTTP/1.1 400 Bad Request"),
        ("Transfer-Encoding: chunked, gzip\r\n", "HTTP/1.1 400 Bad Request"),
        // One length is fine.
        ("Transfer-Encoding: chunked\r\n", "HTTP/1.1 415 Unsupported Media Type"),
        ("Content-Length: 5\r\n", "HTTP/1.1 415 Unsupported Media Type"),
    ] {
        let request =
            format!("POST /login HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n0\r\n\r\n");
        assert_eq!(raw(server.address, &request).await, want, "{headers}");
    }
    server.stop().await;
}

#[tokio::test]
async fn headers_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let server = ocelot_server::start(config(folder.path())).await.unwrap();
    let many = "x: y\r\n".repeat(200);
    let got = raw(server.address, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
    assert_eq!(got, "HTTP/1.1 431 Request Header Fields Too Large");
    let large = "x".repeat(100_000);
    let got = raw(server.address, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\ny: {large}\r\n\r\n")).await;
    assert_eq!(got, "HTTP/1.1 431 Request Header Fields Too Large");
    server.stop().await;
}
