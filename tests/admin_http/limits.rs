//! Clients that are slow, endless, or many hold nothing up.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::node::{Admin, Node, bearer};

/// More than any limit of the server, with room for a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// As many as the server takes at once.
const CONNECTIONS: usize = 64;

/// Waits until something is so.
pub(super) async fn until(mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

async fn open(admin: &Admin, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

fn head(admin: &Admin, method: &str, path: &str, further: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{further}\r\n", admin.address)
}

/// What comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // Cut by a reset is closed as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("never closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[actix::test]
async fn a_head_or_a_body_that_never_comes_is_not_waited_for() {
    let admin = Admin::start(Node::default());
    let json = format!("{}\r\nContent-Type: application/json\r\n", bearer());
    let post = |further: &str| head(&admin, "POST", "/api/v1/values", &format!("{json}{further}"));
    let half_head = format!("GET /api/v1/node HTTP/1.1\r\nHost: {}\r\nX: ", admin.address);
    let half_body = post("Content-Length: 100\r\n") + "{\"key\":";
    let chunked = post("Transfer-Encoding: chunked\r\n") + "2\r\n{\"\r\n";
    let requests =
        [("head", half_head), ("body", half_body), ("chunked", chunked), ("", String::new())];
    let waiting = requests.map(|(what, request)| {
        let admin = &admin;
        async move {
            let answer = rest(open(admin, &request).await).await;
            assert!(answer.starts_with("HTTP/1.1 408") || what.is_empty(), "{what}: {answer}");
        }
    });
    futures_util::future::join_all(waiting).await;
    assert_eq!(admin.asked(), []);
    admin.stop().await;
}

#[actix::test]
async fn an_endless_body_without_the_token_ends_the_connection() {
    let admin = Admin::start(Node::default());
    for further in ["Transfer-Encoding: chunked\r\n", "Content-Length: 100000000000\r\n"] {
        for drips in [false, true] {
            let request = head(&admin, "POST", "/api/v1/upload", further);
            let (mut reader, mut writer) = open(&admin, &request).await.into_split();
            let dripping = actix::spawn(async move {
                while drips && writer.write_all(b"5\r\naaaaa\r\n").await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
                // Dropped, it would say that no more comes.
                writer
            });
            let mut answer = Vec::new();
            let closed = timeout(PATIENCE, reader.read_to_end(&mut answer)).await;
            assert!(closed.is_ok(), "{further:?} (drips: {drips}) is read for ever");
            assert!(answer.starts_with(b"HTTP/1.1 401"), "{further:?}");
            dripping.abort();
        }
    }
    assert_eq!(admin.asked(), []);
    admin.stop().await;
}

#[actix::test]
async fn connections_that_do_nothing_make_room_for_others() {
    let admin = Admin::start(Node::default());
    let mut idle = Vec::new();
    for number in 0..2 * CONNECTIONS {
        let begun = ["", "GET /api/v1/node HTTP/1.1\r\n", "POST /api/v1/upload HTTP/1.1\r\nHost: "];
        idle.push(open(&admin, begun[number % 3]).await);
    }
    let answer = timeout(PATIENCE, admin.get("/api/v1/node", &[])).await.expect("held up");
    assert_eq!(answer.status, 200);
    drop(idle);
    admin.stop().await;
}
