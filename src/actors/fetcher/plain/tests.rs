//! What servers may do on a connection, and what becomes of it.

use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;

const KEPT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";

/// The next request.
fn request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// Serves one connection after the other. Each answers the next request with the next of its texts,
/// and ends after the last of them. Says which connection, counted from one, got which request.
fn serve(connections: &'static [&'static [&'static str]]) -> (Url, Receiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/some%20thing?x=1#frag", listener.local_addr().unwrap());
    let (asked, requests) = channel();
    thread::spawn(move || {
        for (number, answers) in (1..).zip(connections) {
            let (mut stream, _) = listener.accept().unwrap();
            let asked = asked.clone();
            thread::spawn(move || {
                for answer in *answers {
                    let _ = asked.send((number, request(&mut stream)));
                    // The client may hang up on what is too long.
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    (url.parse().unwrap(), requests)
}

fn connections() -> Connections {
    Connections::new(Duration::from_secs(3))
}

fn ask(url: &Url) -> Ask<'_> {
    let address = url.socket_addrs(|| None).unwrap()[0];
    Ask { url, wishes: Vec::new(), keeps: true, address }
}

/// The status and the whole body.
type Whole = Result<(u16, String), Failure>;

async fn whole(connections: &Connections, url: &Url) -> Whole {
    let (head, mut body) = connections.get(ask(url)).await?;
    let mut bytes = Vec::new();
    while body.read(&mut bytes, 3).await? > 0 {}
    Ok((head.status.as_u16(), String::from_utf8(bytes).unwrap()))
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be an error")]
fn ok(text: &str) -> Whole {
    Whole::Ok((200, text.to_owned()))
}

#[actix_rt::test]
async fn the_request_says_whom_and_what_it_is_for_and_no_more() {
    let (url, requests) = serve(&[&[KEPT]]);
    assert_eq!(whole(&connections(), &url).await, ok("body"));
    let (_, request) = requests.recv().unwrap();
    let told = request.trim_end().split("\r\n");
    let told: Vec<&str> = told.filter(|line| !line.starts_with("date: ")).collect();
    let host = format!("host: {}", &url[Position::BeforeHost..Position::AfterPort]);
    assert_eq!(told, ["GET /some%20thing?x=1 HTTP/1.1", &host]);
}

#[actix_rt::test]
async fn a_connection_is_used_again_after_a_body_that_was_read_to_its_end() {
    let (url, requests) = serve(&[&[KEPT, KEPT], &[KEPT]]);
    let connections = connections();
    let (_, mut unread) = connections.get(ask(&url)).await.unwrap();
    assert_eq!(unread.read(&mut Vec::new(), 3).await, Ok(3));
    assert_eq!(whole(&connections, &url).await, ok("body"), "the first is in use");
    while unread.read(&mut Vec::new(), 3).await.unwrap() > 0 {}
    // The second has ended by then, the first has not.
    assert_eq!(whole(&connections, &url).await, ok("body"));
    let served: Vec<usize> = requests.iter().take(3).map(|(number, _)| number).collect();
    assert_eq!(served, [1, 2, 1]);
}

#[actix_rt::test]
async fn so_it_is_after_chunks_that_ended_and_after_nothing() {
    let (url, requests) = serve(&[&[
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        KEPT,
    ]]);
    let connections = connections();
    for expected in ["body", "", "body"] {
        assert_eq!(whole(&connections, &url).await, ok(expected));
    }
    assert_eq!(requests.iter().take(3).map(|it| it.0).collect::<Vec<_>>(), [1, 1, 1]);
}

#[actix_rt::test]
async fn a_connection_is_used_again_for_nobody_else() {
    let (url, requests) = serve(&[&[KEPT], &[KEPT]]);
    let other: Url = url.as_str().replace("127.0.0.1", "localhost").parse().unwrap();
    let connections = connections();
    assert_eq!(whole(&connections, &url).await, ok("body"));
    let there = Ask { url: &other, ..ask(&url) };
    connections.get(there).await.unwrap();
    assert_eq!(requests.iter().take(2).map(|it| it.0).collect::<Vec<_>>(), [1, 2]);
}

#[actix_rt::test]
async fn a_connection_that_was_closed_just_then_says_nothing_of_its_source() {
    // The second request is read, and the connection closed without an answer.
    let (url, requests) = serve(&[&[KEPT, ""], &[KEPT], &["HTTP/1.1 200"]]);
    let connections = connections();
    assert_eq!(whole(&connections, &url).await, ok("body"));
    assert_eq!(whole(&connections, &url).await, ok("body"));
    assert_eq!(requests.iter().take(3).map(|it| it.0).collect::<Vec<_>>(), [1, 1, 2]);
    let broken = Connections::new(Duration::from_secs(3));
    assert_eq!(whole(&broken, &url).await, Err(Failure::Broken), "an answer had begun");
}

#[actix_rt::test]
async fn a_connection_on_which_more_was_said_is_not_used_again() {
    let (url, requests) = serve(&[
        &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", KEPT],
        &[KEPT],
    ]);
    let connections = connections();
    assert_eq!(whole(&connections, &url).await, ok("ok"));
    assert_eq!(whole(&connections, &url).await, ok("body"));
    assert_eq!(requests.iter().take(2).map(|it| it.0).collect::<Vec<_>>(), [1, 2]);
}

#[actix_rt::test]
async fn few_connections_wait_and_not_for_long() {
    let (listener, connections) = (TcpListener::bind("127.0.0.1:0").unwrap(), connections());
    let address = listener.local_addr().unwrap();
    let to = To { authority: address.to_string(), address };
    let mut servers = Vec::new();
    for _ in 0..MAX_IDLE + 6 {
        connections.keep(TcpStream::connect(address).await.unwrap(), to.clone());
        servers.push(listener.accept().unwrap());
    }
    assert_eq!(connections.idle.borrow().len(), MAX_IDLE);
    tokio::time::pause();
    tokio::time::advance(IDLE_FOR).await;
    assert!(connections.take(&to).is_none());
    assert_eq!(connections.idle.borrow().len(), 0);
}

#[actix_rt::test]
async fn bodies_of_every_kind_are_read_and_what_is_amiss_is_told() {
    const FULL: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, expected) in [
        ("HTTP/1.0 200 OK\r\n\r\nto its end".to_owned(), ok("to its end")),
        ("HTTP/1.1 200 OK\r\n\r\nto its end".to_owned(), ok("to its end")),
        ("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\n\r\nto its end".to_owned(), ok("to its end")),
        (format!("{FULL}5\r\nin ch\r\n4\r\nunks\r\n0\r\n\r\n"), ok("in chunks")),
        (format!("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n{KEPT}"), ok("body")),
        (format!("HTTP/1.1 103 Early\r\nContent-Length: 4\r\n\r\n{KEPT}"), Err(Failure::Broken)),
        ("HTTP/1.1 101 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx".to_owned(), Err(Failure::Broken)),
        (format!("HTTP/1.1 101 X\r\n\r\n{KEPT}"), Err(Failure::Broken)),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Ok((204, String::new()))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_owned(), ok("short")),
        (format!("{FULL}zz\r\n"), Err(Failure::Broken)),
        ("HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody".to_owned(), Err(Failure::Broken)),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), Err(Failure::Broken)),
        (format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)), Err(Failure::Broken)),
    ] {
        let answer: &'static str = answer.leak();
        let (url, _requests) = serve(vec![&*vec![answer].leak()].leak());
        assert_eq!(whole(&connections(), &url).await, expected, "{answer:.60}");
    }
}

#[actix_rt::test]
async fn nothing_is_lost_when_nobody_waits_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Closed with something unread, it would take from the client what that has not read yet.
        let _ = request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").unwrap();
        for byte in b'a'..b'a' + 20 {
            thread::sleep(Duration::from_millis(3));
            stream.write_all(&[byte]).unwrap();
        }
    });
    let (_, mut body) = connections().get(ask(&url)).await.unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 20 {
        let read = timeout(Duration::from_millis(1), body.read(&mut bytes, 64)).await;
        assert!(!matches!(read, Ok(Ok(0) | Err(_))), "{read:?}, after {bytes:?}");
    }
    assert_eq!(bytes, b"abcdefghijklmnopqrst");
}
