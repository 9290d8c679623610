//! Small HTTP servers on loopback that fail and lie in all the ways a source may.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kad_actor::content::{ContentHash, ContentHasher};
use socket2::{Domain, Socket, Type};

/// How a server behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Serves the content, with ranges.
    Honest,
    /// Serves the content, answers 200 to a range.
    NoRanges,
    /// Serves the content in chunks, without a length.
    Chunked,
    /// Nobody listens.
    Refuses,
    /// Accepts, and says nothing.
    Silent,
    /// A byte now and then.
    Drips,
    /// Closes after half of what it promised.
    EarlyClose,
    /// Sends half, and then nothing, without closing.
    HalfThenSilent,
    /// Closes in the middle of a chunk.
    ChunkedEarlyClose,
    /// An error page with status 200.
    ErrorPage,
    /// The right length, the wrong bytes.
    WrongBytes,
    /// A status and no content.
    Status(u16),
    /// A range from elsewhere.
    WrongRange,
    /// Says it is compressed.
    Gzip,
    /// Never stops.
    Endless,
    /// Redirects there.
    Redirect(String),
    /// Redirects to itself.
    RedirectLoop,
    /// Speaks something else.
    Garbage,
}

/// A server; it ends when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
    /// Holds the port of a server that refuses: freed, another test's server might take it.
    _unheard: Option<Socket>,
}

impl Server {
    /// Starts one that serves this content, in its way.
    pub(crate) fn start(kind: Kind, content: &[u8]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(Mutex::new(Vec::new()));
        if kind == Kind::Refuses {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            return Self { address, stop, requests, _unheard: Some(socket) };
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            address,
            stop: Arc::clone(&stop),
            requests: Arc::clone(&requests),
            _unheard: None,
        };
        let content: Arc<[u8]> = content.into();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (kind, content) = (kind.clone(), Arc::clone(&content));
                let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
                thread::spawn(move || {
                    // The client may hang up at any time: that is what is tested.
                    let _ = answer(stream?, &kind, &content, &stop, &requests);
                    Ok::<_, std::io::Error>(())
                });
            }
        });
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Its URL of the content, without a hash.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/files/x", self.address)
    }

    /// The same with the hash of what it should serve.
    pub(crate) fn url_of(&self, content: &[u8]) -> String {
        format!("{}#blake3={}", self.url(), hash_of(content))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept loop.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

/// The BLAKE3 of a content.
pub(crate) fn hash_of(content: &[u8]) -> ContentHash {
    let mut hasher = ContentHasher::new();
    hasher.update(content);
    hasher.finish().hash()
}

fn answer(
    stream: TcpStream,
    kind: &Kind,
    content: &[u8],
    stop: &AtomicBool,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    if path.starts_with("/blobs/") {
        // A server of files that knows nothing of hash trees.
        return write!(out, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno");
    }
    requests.lock().unwrap().push(head.clone());
    let is_head = head.starts_with("HEAD ");
    let from = head
        .to_ascii_lowercase()
        .split("range: bytes=")
        .nth(1)
        .and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());
    let from = from.filter(|_| *kind != Kind::NoRanges);
    if is_head && !matches!(kind, Kind::Silent | Kind::Status(_)) {
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())?;
        return Ok(());
    }
    let request = Request { path, from, stop };
    misbehave(&mut out, kind, content, &request)
}

struct Request<'a> {
    path: String,
    from: Option<usize>,
    stop: &'a AtomicBool,
}

fn misbehave(
    out: &mut TcpStream,
    kind: &Kind,
    content: &[u8],
    request: &Request<'_>,
) -> std::io::Result<()> {
    let &Request { from, stop, .. } = request;
    match kind {
        Kind::Silent => hang(stop),
        Kind::Garbage => write!(out, "220 ready for SMTP\r\n")?,
        Kind::Status(status) => {
            write!(out, "HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno")?;
        }
        Kind::Redirect(to) => redirect(out, to)?,
        Kind::RedirectLoop => redirect(out, &format!("{}x", request.path))?,
        Kind::ErrorPage => page(out, "", b"<h1>We are sorry</h1>")?,
        Kind::Gzip => page(out, "Content-Encoding: gzip\r\n", content)?,
        Kind::WrongBytes => ranged(out, &vec![b'!'; content.len()], from)?,
        Kind::Chunked => chunked(out, content, true)?,
        Kind::ChunkedEarlyClose => chunked(out, &content[..content.len() / 2], false)?,
        Kind::WrongRange => {
            let len = content.len();
            write!(
                out,
                "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-{}/{len}\r\nContent-Length: {len}\r\n\r\n",
                len - 1
            )?;
            out.write_all(content)?;
        }
        Kind::Drips => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())?;
            while !stop.load(Ordering::SeqCst) {
                out.write_all(b"d")?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        Kind::Endless => {
            write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let piece = vec![b'e'; 0x8000];
            while !stop.load(Ordering::SeqCst) {
                out.write_all(b"8000\r\n")?;
                out.write_all(&piece)?;
                out.write_all(b"\r\n")?;
            }
        }
        Kind::EarlyClose | Kind::HalfThenSilent => {
            let start = from.unwrap_or(0);
            send_head(out, content.len(), from)?;
            let half = content.len() / 2;
            out.write_all(&content[start..half.max(start)])?;
            if *kind == Kind::HalfThenSilent {
                hang(stop);
            }
        }
        Kind::Honest | Kind::NoRanges => ranged(out, content, from)?,
        Kind::Refuses => {}
    }
    Ok(())
}

fn hang(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
    }
}

fn redirect(out: &mut TcpStream, to: &str) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

fn page(out: &mut TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
    out.write_all(body)
}

fn send_head(out: &mut TcpStream, total: usize, from: Option<usize>) -> std::io::Result<()> {
    match from {
        None => write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"),
        Some(from) if from >= total => write!(
            out,
            "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n\r\n"
        ),
        Some(from) => write!(
            out,
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
            total - 1,
            total - from
        ),
    }
}

fn ranged(out: &mut TcpStream, content: &[u8], from: Option<usize>) -> std::io::Result<()> {
    send_head(out, content.len(), from)?;
    out.write_all(content.get(from.unwrap_or(0)..).unwrap_or_default())
}

fn chunked(out: &mut TcpStream, content: &[u8], whole: bool) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for piece in content.chunks(50_000) {
        write!(out, "{:x}\r\n", piece.len())?;
        out.write_all(piece)?;
        write!(out, "\r\n")?;
    }
    if whole { write!(out, "0\r\n\r\n") } else { Ok(()) }
}
