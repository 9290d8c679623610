//! What only looks.

use std::sync::Arc;
use std::time::Duration;

use kad_actor::command::{Command, ErrorCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::http::ask;
use super::node::{Admin, Node, assert_guarded, error_code};

#[actix::test]
async fn each_path_is_one_command_and_its_reply() {
    let admin = Admin::start(Node::default());
    let values = |key: Option<&str>, limit, after: Option<&str>| Command::Values {
        key: key.map(str::to_owned),
        limit,
        after: after.map(str::to_owned),
    };
    let transfers = |id| Command::Transfers { id };
    let lookup = Command::Lookup { key: "a ñ".to_owned() };
    let audit = Command::Audit { name: "a ñ".to_owned(), repair: false };
    for (target, command, pointer, expected) in [
        ("/api/v1/node", Command::Status {}, "/k", json!(20)),
        ("/api/v1/peers", Command::Peers {}, "/peers/0/bucket", json!(1)),
        ("/api/v1/buckets", Command::Buckets {}, "/buckets/1/depth", json!(1)),
        ("/api/v1/buckets/1", Command::Buckets {}, "/contacts/0/last_seen_s", json!(0.5)),
        ("/api/v1/values", values(None, None, None), "/truncated", json!(true)),
        ("/api/v1/values?key=a%20%C3%B1", values(Some("a ñ"), None, None), "/next", json!(null)),
        ("/api/v1/values?limit=5&after=x", values(None, Some(5), Some("x")), "/next", json!(null)),
        ("/api/v1/lookup?key=a+%C3%B1", lookup, "/took_ms", json!(1.0)),
        ("/api/v1/audit?name=a+%C3%B1", audit, "/took_ms", json!(1.0)),
        ("/api/v1/actors", Command::Actors {}, "/actors", json!([])),
        ("/api/v1/files", Command::Ls { limit: None, after: None }, "/shares/0/name", json!("a")),
        ("/api/v1/transfers", transfers(None), "/transfers/0/id", json!(10)),
        ("/api/v1/transfers/9", transfers(Some(9)), "/size", json!(2)),
    ] {
        let private = target.contains("files") || target.contains("transfers");
        let answer = if private {
            assert_eq!(admin.get(target, &[]).await.status, 401, "{target}");
            admin.own("GET", target).await
        } else {
            admin.get(target, &[]).await
        };
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{target}");
        assert_eq!(admin.asked(), [command], "{target}");
        assert_guarded(&answer);
    }
    let head = ask(admin.address, "HEAD", "/api/v1/node", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    admin.stop().await;
}

#[actix::test]
async fn lists_are_cut_into_pages() {
    let admin = Admin::start(Node::default());
    for (path, list, key, expected) in [
        (
            "/api/v1/peers",
            "peers",
            "id",
            ["0".repeat(40), format!("{:040x}", 1), format!("{:040x}", 2)],
        ),
        ("/api/v1/files", "shares", "name", ["a", "b", "ñ"].map(str::to_owned)),
        ("/api/v1/transfers", "transfers", "id", ["10", "9", "1"].map(str::to_owned)),
    ] {
        let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
        let text = |value: &serde_json::Value| {
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        loop {
            let page = admin.own("GET", &format!("{path}{query}")).await.json();
            let entries = page[list].as_array().unwrap();
            assert!(entries.len() <= 2);
            seen.extend(entries.iter().map(|entry| text(&entry[key])));
            if page["next"].is_null() {
                break;
            }
            query = format!("?limit=2&after={}", page["next"].as_str().unwrap());
        }
        assert_eq!(seen, expected, "{path}");
        for bad in
            ["?limit=0", "?limit=1001", "?limit=x", "?limit=-1", "?page=2", "?limit=1&limit=2"]
        {
            assert_eq!(admin.own("GET", &format!("{path}{bad}")).await.status, 400, "{path}{bad}");
        }
    }
    assert_eq!(admin.own("GET", "/api/v1/transfers?after=x").await.status, 400);
    admin.stop().await;
}

#[actix::test]
async fn what_is_not_there_is_said_in_json() {
    let admin = Admin::start(Node::default());
    for (method, target, status, code, allow) in [
        ("GET", "/api/v1/buckets/2", 404, "not_found", None),
        ("GET", "/api/v1/buckets/x", 400, "usage", None),
        ("GET", "/api/v1/buckets/-1", 400, "usage", None),
        ("GET", "/api/v1/transfers/8", 404, "not_found", None),
        ("GET", "/api/v1/transfers/x", 400, "usage", None),
        ("GET", "/api/v1/values?kye=a", 400, "usage", None),
        ("GET", "/api/v1/values?key=a&key=b", 400, "usage", None),
        ("GET", "/api/v1/values?key=%ff", 400, "usage", None),
        ("GET", "/api/v1/lookup", 400, "usage", None),
        ("GET", "/", 404, "not_found", None),
        ("GET", "/api/v1/stop", 404, "not_found", None),
        ("GET", "/admin.token", 404, "not_found", None),
        ("GET", "/files/a", 404, "not_found", None),
        ("POST", "/api/v1/stop", 404, "not_found", None),
        ("POST", "/api/v1/node", 405, "usage", Some("GET, HEAD")),
        ("PUT", "/api/v1/values", 405, "usage", Some("GET, HEAD, POST, DELETE")),
        ("GET", "/api/v1/upload", 405, "usage", Some("POST")),
        ("GET", "/api/v1/download?name=a", 405, "usage", Some("POST")),
        ("GET", "/api/v1/files/a", 405, "usage", Some("DELETE")),
        ("POST", "/api/v1/transfers/1", 405, "usage", Some("GET, HEAD, DELETE")),
        ("DELETE", "/api/v1/transfers", 405, "usage", Some("GET, HEAD")),
        ("OPTIONS", "/api/v1/node", 405, "usage", Some("GET, HEAD")),
    ] {
        let answer = admin.own(method, target).await;
        let context = format!("{method} {target}");
        assert_eq!((answer.status, error_code(&answer).as_str()), (status, code), "{context}");
        assert_guarded(&answer);
        assert_eq!(answer.header("Allow"), allow, "{context}");
    }
    let looked = |command: &Command| {
        *command == Command::Buckets {} || *command == Command::Transfers { id: Some(8) }
    };
    assert!(admin.asked().iter().all(looked), "nothing else reached the node");
    admin.stop().await;
}

#[actix::test]
async fn failures_have_the_status_that_fits() {
    for (code, name, status) in [
        (ErrorCode::Failed, "failed", 500),
        (ErrorCode::Usage, "usage", 400),
        (ErrorCode::NotFound, "not_found", 404),
        (ErrorCode::NoPeers, "no_peers", 503),
        (ErrorCode::Denied, "denied", 403),
        (ErrorCode::Timeout, "timeout", 504),
    ] {
        let admin = Admin::start(Node { failure: Some(code), ..Node::default() });
        for target in ["/api/v1/node", "/api/v1/buckets/0", "/readyz"] {
            let answer = admin.get(target, &[]).await;
            assert_eq!(answer.status, status, "{target} {name}");
            let expected = json!({ "error": { "code": name, "message": "no \"luck\"" } });
            assert_eq!(answer.json(), expected);
        }
        assert_eq!(admin.get("/livez", &[]).await.status, 200);
        admin.stop().await;
    }
}

#[actix::test]
async fn the_probes_tell_life_from_readiness() {
    for (ready, status) in [(false, 503), (true, 200)] {
        let admin = Admin::start(Node { ready, ..Node::default() });
        let answer = admin.get("/readyz", &[]).await;
        assert_eq!(answer.status, status);
        assert_guarded(&answer);
        assert_eq!(admin.get("/livez", &[]).await.status, 200);
        admin.stop().await;
    }
}

#[actix::test]
async fn pages_and_names_from_elsewhere_get_nothing() {
    let admin = Admin::start(Node { ready: true, ..Node::default() });
    let own = admin.address;
    let port = own.port();
    for (headers, passes) in [
        (vec![format!("Host: {own}")], true),
        (vec![format!("Host: localhost:{port}")], true),
        (vec![format!("Host: [::1]:{port}")], true),
        (vec![format!("Host: {own}"), format!("Origin: http://{own}")], true),
        (vec![format!("Host: evil.example:{port}")], false),
        (vec!["Host: evil.example".to_owned(), "Forwarded: host=localhost".to_owned()], false),
        (vec!["Host: evil.example".to_owned(), "X-Forwarded-Host: localhost".to_owned()], false),
        (vec![format!("Host: {own}"), "Origin: http://evil.example".to_owned()], false),
        (vec![format!("Host: {own}"), "Origin: null".to_owned()], false),
        (vec![format!("Host: {own}"), "Host: evil.example".to_owned()], false),
    ] {
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        for target in ["/api/v1/node", "/livez", "/readyz", "/"] {
            let answer = admin.get(target, &lines).await;
            assert_eq!(
                answer.status != 403 && answer.status != 400,
                passes,
                "{headers:?} {target}"
            );
            if answer.status == 403 {
                assert_eq!(error_code(&answer), "denied");
                assert_guarded(&answer);
            }
        }
        assert_eq!(admin.asked().is_empty(), !passes, "{headers:?}");
    }
    let absolute = format!("http://localhost:{port}/api/v1/node");
    let answer = admin.get(&absolute, &["Host: evil.example"]).await;
    assert_eq!(answer.status, 403, "the target does not stand in for the Host");
    admin.stop().await;
}

#[actix::test]
async fn a_client_that_leaves_cancels_what_it_waited_for() {
    let cancelled = Arc::new(Notify::new());
    let admin = Admin::start(Node { hang: Some(Arc::clone(&cancelled)), ..Node::default() });
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let request = format!("GET /api/v1/peers HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    while admin.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let told = tokio::time::timeout(Duration::from_secs(30), cancelled.notified()).await;
    assert!(told.is_ok());
    admin.stop().await;
}
