//! An HTTP server that takes its time, for tests of what happens meanwhile.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes sent at once: well over the rate below which a source counts as stalled.
const CHUNK_BYTES: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the same content at every path but those of hash trees, at about 320 KiB/s; ends when dropped.
#[derive(Debug)]
pub struct SlowServer {
    /// `http://127.0.0.1:PORT/slow.bin`.
    pub url: String,
    address: std::net::SocketAddr,
    stopped: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
}

impl SlowServer {
    /// A server of one content.
    pub fn start(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicUsize::new(0));
        let (stop, count, content) = (stopped.clone(), requests.clone(), Arc::new(content));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (stop, count, content) = (stop.clone(), count.clone(), content.clone());
                // The client may leave at any time, and that is no failure here.
                thread::spawn(move || serve(&stream, &content, &stop, &count).unwrap_or_default());
            }
        });
        Self { url: format!("http://{address}/slow.bin"), address, stopped, requests }
    }

    /// Requests for the content so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for SlowServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: &TcpStream,
    content: &[u8],
    stop: &AtomicBool,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(stream);
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    if request.contains(" /blobs/") {
        // It knows nothing of hash trees.
        return write!(stream, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let size = content.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: application/octet-stream\r\n\
         Connection: close\r\n\r\n"
    )?;
    if request.starts_with("HEAD") {
        return Ok(());
    }
    count.fetch_add(1, Ordering::Relaxed);
    for chunk in content.chunks(CHUNK_BYTES) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(chunk)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// One request over a connection of its own: status, head and body of the answer.
pub fn request(base: &str, head: &str) -> (u16, String, Vec<u8>) {
    request_with(base, head, b"")
}

/// The same with a body.
pub fn request_with(base: &str, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(stream, "{head}\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status line"), head, answer.split_off(end + 4))
}
