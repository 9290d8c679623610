//! Everybody who might ask, in every combination: only the right ones are let in.

use kad_actor::command::Command;

use super::http::ask_with;
use super::node::{Admin, Node, TOKEN, bearer};

/// How the token is presented, and whether that is right.
fn tokens() -> Vec<(Vec<String>, &'static str, bool)> {
    let wrong = TOKEN.replace('0', "f");
    vec![
        (vec![bearer()], "", true),
        (vec![format!("Authorization: Bearer {wrong}")], "", false),
        (vec![format!("Authorization: Bearer {}", &TOKEN[1..])], "", false),
        (vec![], "", false),
        (vec![bearer(), bearer()], "", false),
        (vec![bearer(), format!("Authorization: Bearer {wrong}")], "", false),
        (vec![format!("Authorization: Basic {TOKEN}")], "", false),
        (vec![format!("Cookie: token={TOKEN}")], "", false),
        (vec![], "token", false),
        (vec![], "access_token", false),
    ]
}

/// Whom the request is for, and whether that is this machine.
fn hosts(port: u16) -> Vec<(Vec<String>, bool)> {
    let host = |name: &str| format!("Host: {name}");
    vec![
        (vec![host(&format!("127.0.0.1:{port}"))], true),
        (vec![host(&format!("evil.example:{port}"))], false),
        (vec![host(&format!("127.0.0.1.evil.example:{port}"))], false),
        (vec![host(&format!("127.0.0.1:{port}")), host("evil.example")], false),
        // No Host at all.
        (vec![], false),
    ]
}

/// The page that asks, and whether it is none or the server's own.
fn origins(port: u16) -> Vec<(Vec<String>, bool)> {
    let origin = |name: &str| format!("Origin: {name}");
    vec![
        (vec![], true),
        (vec![origin(&format!("http://127.0.0.1:{port}"))], true),
        (vec![origin("http://evil.example")], false),
        (vec![origin(&format!("http://127.0.0.1:{}", port.wrapping_add(1)))], false),
        (vec![origin("null")], false),
        (vec!["Sec-Fetch-Site: cross-site".to_owned()], false),
    ]
}

/// A method, a path, a body, whether that is a request the server knows, and to whom it is open.
const REQUESTS: [(&str, &str, &str, bool, bool); 10] = [
    ("POST", "/api/v1/values", r#"{"key":"k","value":"v"}"#, true, false),
    ("DELETE", "/api/v1/values", r#"{"key":"k","value":"v"}"#, true, false),
    ("PUT", "/api/v1/values", r#"{"key":"k","value":"v"}"#, false, false),
    ("POST", "/api/v1/download", r#"{"name":"n"}"#, true, false),
    ("GET", "/api/v1/download", "", false, false),
    ("DELETE", "/api/v1/files/n", "", true, false),
    ("GET", "/api/v1/files", "", true, false),
    // The same, spelt another way.
    ("GET", "/api/v1/%66iles", "", true, false),
    ("GET", "/api/v1/transfers", "", true, false),
    ("GET", "/api/v1/values", "", true, true),
];

/// Asks in every combination; says in how many, and how many of those were let in.
async fn try_all(admin: &Admin, open: bool) -> (usize, usize) {
    let (mut cases, mut let_in) = (0, 0);
    let port = admin.address.port();
    for (method, path, body, known, for_all) in REQUESTS {
        for (token, query, right) in tokens() {
            for (host, ours) in hosts(port) {
                for (origin, own) in origins(port) {
                    let target = match query {
                        "" => path.to_owned(),
                        name => format!("{path}?{name}={TOKEN}"),
                    };
                    let mut lines: Vec<&str> = [&token, &host, &origin]
                        .into_iter()
                        .flatten()
                        .map(String::as_str)
                        .collect();
                    lines.push("Content-Type: application/json");
                    if host.is_empty() {
                        // Keeps the client from adding one of its own.
                        lines.push("X-No-Host: Host:");
                    }
                    let answer = request(admin, method, &target, &lines, body).await;
                    let passes =
                        known && ours && own && (right || open && for_all && query.is_empty());
                    let context = format!("{method} {target} {lines:?}: {answer}");
                    assert_eq!((200..300).contains(&answer), passes, "{context}");
                    assert_eq!(admin.asked().len(), usize::from(passes), "{context}");
                    let expected: &[u16] = match (ours && own, passes) {
                        (false, _) => &[400, 403],
                        (true, true) => &[200, 202],
                        (true, false) if !known => &[405],
                        (true, false) => &[400, 401],
                    };
                    assert!(expected.contains(&answer), "{context}");
                    cases += 1;
                    let_in += usize::from(passes);
                }
            }
        }
    }
    (cases, let_in)
}

async fn request(admin: &Admin, method: &str, target: &str, lines: &[&str], body: &str) -> u16 {
    let no_host = lines.iter().any(|line| line.starts_with("X-No-Host"));
    if !no_host {
        return ask_with(admin.address, method, target, lines, body.as_bytes()).await.status;
    }
    let head = lines.join("\r\n");
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nConnection: close\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    super::http::exchange(admin.address, request.as_bytes()).await.status
}

#[actix::test]
async fn only_the_right_one_passes() {
    let admin = Admin::start(Node::default());
    let (cases, let_in) = try_all(&admin, true).await;
    // Each known request with the token and without an origin or with the own one; what is open,
    // with any token in a header and with none.
    assert_eq!((cases, let_in), (10 * 10 * 5 * 6, 7 * 2 + 8 * 2));
    admin.stop().await;
}

#[actix::test]
async fn where_others_reach_it_nothing_is_open_but_the_probes() {
    let admin = Admin::start_on("0.0.0.0:0", Node { ready: true, ..Node::default() });
    let (cases, let_in) = try_all(&admin, false).await;
    assert_eq!((cases, let_in), (10 * 10 * 5 * 6, 8 * 2));
    for path in ["/livez", "/readyz"] {
        assert_eq!(admin.get(path, &["Host: 10.0.0.1:8469"]).await.status, 200);
        assert_eq!(admin.get(path, &["Host: evil.example"]).await.status, 403);
    }
    admin.asked();
    for path in ["/api/v1/node", "/api/v1/peers", "/", "/nothing", "/livez/", "/%6civez/x"] {
        assert_eq!(admin.get(path, &[]).await.status, 401, "{path}");
    }
    assert_eq!(admin.asked(), Vec::<Command>::new());
    admin.stop().await;
}
