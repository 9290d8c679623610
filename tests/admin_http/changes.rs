//! What changes something, but for uploads.

use kad_actor::command::{Command, ErrorCode, OnConflict};
use serde_json::json;

use super::node::{Admin, Node, assert_guarded, bearer, error_code};

fn download(name: &str) -> Command {
    Command::Download {
        name: name.to_owned(),
        output: None,
        hash: None,
        newest: false,
        strict: false,
        on_conflict: OnConflict::Error,
        no_share: false,
        detach: true,
        stream: false,
    }
}

fn set(key: &str, value: &str) -> Command {
    Command::Set { key: key.to_owned(), value: value.to_owned() }
}

fn unset(key: &str, value: &str) -> Command {
    Command::Unset { key: key.to_owned(), value: value.to_owned() }
}

#[actix::test]
async fn each_change_is_one_command_and_its_reply() {
    let admin = Admin::start(Node::default());
    let unshare = |name: &str| Command::Unshare { name: name.to_owned() };
    for (method, target, body, status, command, pointer, expected) in [
        (
            "POST",
            "/api/v1/values",
            r#"{"key":"k","value":"v"}"#,
            200,
            set("k", "v"),
            "/of",
            json!(2),
        ),
        ("POST", "/api/v1/download", r#"{"name":"a b"}"#, 202, download("a b"), "/id", json!(7)),
        (
            "DELETE",
            "/api/v1/values?key=k&value=a%26b",
            "",
            200,
            unset("k", "a&b"),
            "/value",
            json!("a&b"),
        ),
        (
            "DELETE",
            "/api/v1/values",
            r#"{"key":"k","value":"v"}"#,
            200,
            unset("k", "v"),
            "/key",
            json!("k"),
        ),
        ("DELETE", "/api/v1/files/a", "", 200, unshare("a"), "/name", json!("a")),
        ("DELETE", "/api/v1/files/a%20%C3%B1", "", 200, unshare("a ñ"), "/name", json!("a ñ")),
        // Decoded once only, and a slash stays inside the name: the node refuses such names.
        ("DELETE", "/api/v1/files/%2541", "", 200, unshare("%41"), "/name", json!("%41")),
        ("DELETE", "/api/v1/files/..%2Fa", "", 200, unshare("../a"), "/name", json!("../a")),
        ("DELETE", "/api/v1/transfers/9", "", 200, Command::Cancel { id: 9 }, "/id", json!(9)),
    ] {
        let answer = admin.json(method, target, body).await;
        let context = format!("{method} {target} {}", answer.text());
        assert_eq!(answer.status, status, "{context}");
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{context}");
        assert_eq!(admin.asked(), [command], "{context}");
        assert_guarded(&answer);
        let location = (status == 202).then_some("/api/v1/transfers/7");
        assert_eq!(answer.header("Location"), location);
    }
    admin.stop().await;
}

#[actix::test]
async fn wishes_for_a_download_are_passed_on() {
    let admin = Admin::start(Node::default());
    let body = json!({
        "name": "a", "hash": "ab", "newest": true, "strict": true, "on_conflict": "rename",
        "no_share": true,
    });
    assert_eq!(admin.json("POST", "/api/v1/download", &body.to_string()).await.status, 202);
    let expected = Command::Download {
        name: "a".to_owned(),
        output: None,
        hash: Some("ab".to_owned()),
        newest: true,
        strict: true,
        on_conflict: OnConflict::Rename,
        no_share: true,
        detach: true,
        stream: false,
    };
    assert_eq!(admin.asked(), [expected]);
    admin.stop().await;
}

#[actix::test]
async fn wrong_requests_change_nothing() {
    let admin = Admin::start(Node::default());
    let value = r#"{"key":"k","value":"v"}"#;
    let long = format!(r#"{{"key":"k","value":"{}"}}"#, "x".repeat(64 * 1024));
    for (method, target, of, body, status) in [
        ("POST", "/api/v1/values", "text/plain", value, 415),
        ("POST", "/api/v1/values", "application/x-www-form-urlencoded", "key=k&value=v", 415),
        ("POST", "/api/v1/values", "multipart/form-data; boundary=x", value, 415),
        ("POST", "/api/v1/values", "application/jsonx", value, 415),
        ("POST", "/api/v1/values", "", value, 415),
        ("POST", "/api/v1/values", "application/json", "", 400),
        ("POST", "/api/v1/values", "application/json", "{", 400),
        ("POST", "/api/v1/values", "application/json", r#"{"key":"k"}"#, 400),
        ("POST", "/api/v1/values", "application/json", r#"{"key":"k","value":1}"#, 400),
        ("POST", "/api/v1/values", "application/json", r#"{"key":"k","value":"v","x":1}"#, 400),
        ("POST", "/api/v1/values", "application/json", &long, 413),
        ("DELETE", "/api/v1/values", "text/plain", value, 415),
        ("DELETE", "/api/v1/values?key=k", "application/json", "", 400),
        ("DELETE", "/api/v1/values?key=k&value=v&value=w", "application/json", "", 400),
        ("DELETE", "/api/v1/files/%ff", "application/json", "", 400),
        ("DELETE", "/api/v1/files/a/b", "application/json", "", 404),
        ("DELETE", "/api/v1/files/", "application/json", "", 404),
        ("DELETE", "/api/v1/transfers/x", "application/json", "", 400),
        ("POST", "/api/v1/download", "text/plain", r#"{"name":"a"}"#, 415),
        ("POST", "/api/v1/download", "application/json", r#"{"name":"a","output":"/tmp/a"}"#, 400),
        ("POST", "/api/v1/download", "application/json", r#"{"name":"a","output":null}"#, 400),
        ("POST", "/api/v1/download", "application/json", r#"{"name":"a","detach":false}"#, 400),
        ("POST", "/api/v1/download", "application/json", r#"{"name":"a","stream":true}"#, 400),
        ("POST", "/api/v1/upload", "application/json", r#"{"path":"/etc/passwd"}"#, 415),
    ] {
        let answer = admin.send(method, target, of, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {target} {of} {}", answer.text());
        assert_guarded(&answer);
        assert_eq!(error_code(&answer), if status == 404 { "not_found" } else { "usage" });
    }
    let twice = [&bearer()[..], "Content-Type: application/json", "Content-Type: text/plain"];
    let answer =
        super::http::ask_with(admin.address, "POST", "/api/v1/values", &twice, value.as_bytes());
    assert_eq!(answer.await.status, 415);
    assert_eq!(admin.asked(), []);
    admin.stop().await;
}

#[actix::test]
async fn a_change_that_fails_has_the_status_that_fits() {
    for (code, status) in [
        (ErrorCode::NotFound, 404),
        (ErrorCode::Usage, 400),
        (ErrorCode::NoSpace, 507),
        (ErrorCode::Exists, 409),
        (ErrorCode::Failed, 500),
    ] {
        let admin = Admin::start(Node { failure: Some(code), ..Node::default() });
        let answer = admin.json("POST", "/api/v1/download", r#"{"name":"a"}"#).await;
        assert_eq!(answer.status, status, "{code:?}");
        assert_eq!(answer.header("Location"), None);
        admin.stop().await;
    }
}
