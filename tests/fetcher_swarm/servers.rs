//! HTTP servers on loopback that know hash trees and ranges, and those that lie about either.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kad_actor::content::ContentHasher;

use crate::hostile::hash_of;

/// Bytes written at a time.
const PART: usize = 16 * 1024;

/// How a server behaves when it is asked for the content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// As it should.
    Honest,
    /// So many bytes a second, over all connections.
    Paced(u64),
    /// As it should for so many bytes; then it is silent.
    StallsAfter(u64),
    /// As it should for so many bytes; then it closes, and refuses all.
    DiesAfter(u64),
    /// The right length, the wrong bytes.
    WrongBytes,
    /// Right up to the last byte of each answer.
    LastByteWrong,
    /// Closes each body half-way.
    Short,
    /// Never stops.
    Endless,
    /// A few bytes a second.
    Drips,
    /// 200 for a range.
    NoRanges,
    /// Another range than was asked for.
    WrongRange,
    /// Says it is compressed.
    Gzip,
    /// Redirects there.
    Redirect(String),
    /// Redirects to itself.
    RedirectLoop,
    /// A status and no content.
    Status(u16),
}

/// What a server has for a hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeKind {
    Right,
    None,
    /// Of the right length, with wrong hashes in it.
    Lying,
    /// Says that the content is huge, and never stops.
    Endless,
    /// A head, and nothing after it.
    Hangs,
}

/// A server; it ends when dropped.
pub(crate) struct Node {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    way: Way,
    tree_kind: TreeKind,
    content: Arc<[u8]>,
    tree: Vec<u8>,
    hex: String,
    stop: AtomicBool,
    sent: AtomicU64,
    open: AtomicUsize,
    most_open: AtomicUsize,
    ranges: Mutex<Vec<String>>,
    haves: AtomicUsize,
    /// When the next bytes may go out, for all connections together.
    next: Mutex<std::time::Instant>,
}

impl Node {
    pub(crate) fn start(way: Way, tree_kind: TreeKind, content: &Arc<[u8]>) -> Self {
        let mut hasher = ContentHasher::new();
        hasher.update(content);
        let mut tree = hasher.finish_tree().1.encode();
        if tree_kind == TreeKind::Lying {
            let middle = tree.len() / 2;
            tree[middle] ^= 1;
        }
        Self::with_tree(way, tree_kind, content, tree, hash_of(content).to_string())
    }

    /// With any tree, under any hash.
    pub(crate) fn with_tree(
        way: Way,
        tree_kind: TreeKind,
        content: &Arc<[u8]>,
        tree: Vec<u8>,
        hex: String,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            way,
            tree_kind,
            content: Arc::clone(content),
            tree,
            hex,
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            ranges: Mutex::default(),
            haves: AtomicUsize::new(0),
            next: Mutex::new(std::time::Instant::now()),
        });
        let for_all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_all.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&for_all);
                thread::spawn(move || {
                    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most_open.fetch_max(open, Ordering::SeqCst);
                    // The client may hang up at any time.
                    let _ = stream.and_then(|stream| shared.serve(stream));
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn honest(content: &Arc<[u8]>) -> Self {
        Self::start(Way::Honest, TreeKind::Right, content)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/files/x#blake3={}", self.address, self.shared.hex)
    }

    /// Where one that is known by the hash alone has it.
    pub(crate) fn blob_url(&self) -> String {
        format!("http://{}/blobs/{hex}#blake3={hex}", self.address, hex = self.shared.hex)
    }

    /// How often it was asked which pieces it has.
    pub(crate) fn haves(&self) -> usize {
        self.shared.haves.load(Ordering::SeqCst)
    }

    /// Bytes of the content that it sent.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Connections it had at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// The ranges it was asked for.
    pub(crate) fn ranges(&self) -> Vec<String> {
        self.shared.ranges.lock().unwrap().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accept loop.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

impl Shared {
    /// Answers one request after the other.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut out = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            if path.starts_with("/blobs/") {
                self.give_tree(&mut out, &path)?;
                continue;
            }
            let lower = head.to_ascii_lowercase();
            let range = lower.split("range: bytes=").nth(1).and_then(|rest| rest.lines().next());
            self.ranges.lock().unwrap().push(range.unwrap_or("all").to_owned());
            let range = range.and_then(|range| {
                let (first, last) = range.split_once('-')?;
                let all = self.content.len();
                let end = last.parse().map_or(all, |last: usize| (last + 1).min(all));
                Some(first.parse().ok()?..end)
            });
            if head.starts_with("HEAD ") {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.content.len())?;
                continue;
            }
            if !self.give(&mut out, &path, range)? || lower.contains("connection: close") {
                return Ok(());
            }
        }
    }

    fn give_tree(&self, out: &mut TcpStream, path: &str) -> std::io::Result<()> {
        self.haves.fetch_add(usize::from(path.ends_with("/have")), Ordering::SeqCst);
        if self.tree_kind == TreeKind::None || !path.ends_with("/tree") {
            return write!(out, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno");
        }
        if self.tree_kind == TreeKind::Endless {
            write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            while !self.stop.load(Ordering::SeqCst) {
                write!(out, "1000\r\n{:4096}\r\n", 0)?;
            }
        }
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.tree.len())?;
        while self.tree_kind == TreeKind::Hangs && !self.stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
        }
        out.write_all(&self.tree)
    }

    /// Whether the connection goes on.
    fn give(
        &self,
        out: &mut TcpStream,
        path: &str,
        range: Option<std::ops::Range<usize>>,
    ) -> std::io::Result<bool> {
        let total = self.content.len();
        let range = range.filter(|_| self.way != Way::NoRanges);
        match &self.way {
            Way::Status(status) => {
                write!(out, "HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno")?;
                return Ok(true);
            }
            Way::Redirect(to) => return redirect(out, to),
            Way::RedirectLoop => return redirect(out, &format!("{path}x")),
            Way::DiesAfter(most) if self.sent() >= *most => return Ok(false),
            Way::Endless => {
                write!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                while !self.stop.load(Ordering::SeqCst) {
                    write!(out, "1000\r\n{:4096}\r\n", 0)?;
                }
                return Ok(false);
            }
            _ => {}
        }
        let part = range.clone().unwrap_or(0..total);
        let encoding = if self.way == Way::Gzip { "Content-Encoding: gzip\r\n" } else { "" };
        let length = part.len();
        if range.is_some() {
            let away = if self.way == Way::WrongRange { PART.min(part.start + 1) } else { 0 };
            let (first, last) = (part.start.max(away) - away, part.end - 1 - away);
            write!(
                out,
                "HTTP/1.1 206 Partial\r\n{encoding}Content-Range: bytes {first}-{last}/{total}\r\n\
                 Content-Length: {length}\r\n\r\n"
            )?;
        } else {
            write!(out, "HTTP/1.1 200 OK\r\n{encoding}Content-Length: {length}\r\n\r\n")?;
        }
        self.send(out, part)
    }

    fn send(&self, out: &mut TcpStream, part: std::ops::Range<usize>) -> std::io::Result<bool> {
        let half = usize::midpoint(part.start, part.end);
        let mut at = part.start;
        while at < part.end && !self.stop.load(Ordering::SeqCst) {
            let end = part.end.min(at + PART);
            let bytes = &self.content[at..end];
            match &self.way {
                Way::Short if at >= half => return Ok(false),
                Way::Drips => thread::sleep(Duration::from_millis(100)),
                Way::Paced(rate) => self.wait(bytes.len(), *rate),
                Way::StallsAfter(most) if self.sent() >= *most => {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Way::DiesAfter(most) if self.sent() >= *most => return Ok(false),
                _ => {}
            }
            match &self.way {
                Way::Drips => out.write_all(&bytes[..1])?,
                Way::WrongBytes => out.write_all(&vec![b'!'; bytes.len()])?,
                Way::LastByteWrong if end == part.end => {
                    out.write_all(&bytes[..bytes.len() - 1])?;
                    out.write_all(&[!bytes[bytes.len() - 1]])?;
                }
                _ => out.write_all(bytes)?,
            }
            at = if self.way == Way::Drips { at + 1 } else { end };
            self.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        }
        Ok(true)
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Waits for the turn of some bytes.
    fn wait(&self, bytes: usize, rate: u64) {
        let now = std::time::Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap();
            let turn = (*next).max(now);
            *next = turn + Duration::from_secs_f64(bytes as f64 / rate as f64);
            turn
        };
        thread::sleep(turn.saturating_duration_since(now));
    }
}

fn redirect(out: &mut TcpStream, to: &str) -> std::io::Result<bool> {
    write!(out, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
    Ok(true)
}
