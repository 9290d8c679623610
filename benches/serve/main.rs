//! What `scripts/bench-serve` runs beside the servers it compares: clients that throw away what they
//! get, and a raw sendfile server as the floor.
//!
//! Always holds: every server gets the same client and the same requests. Never: needs anything but
//! the standard library: the script compiles it by itself, in seconds.
//!
//! - `serve floor FOLDER`: serves the files of a folder on a free port of loopback, and prints it
//! - `serve stream HOST:PORT PATH TIMES`: gets it so often over one connection
//! - `serve ranges HOST:PORT PATH BYTES TIMES`: a range of so many bytes after the other, so often
//! - `serve small HOST:PORT PATH CONNECTIONS SECONDS`: over and over, on each connection
//!
//! Clients print bytes (or requests) and seconds.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark that can't go on ends by panicking, and measures time itself"
)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes read at once, as curl and aria2 do at most.
const READ_BYTES: usize = 256 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["floor", folder] => floor(Path::new(folder)),
        ["stream", address, path, times] => {
            let mut client = Client::connect(address);
            let from = Instant::now();
            let bytes = (0..number(times)).map(|_| client.get(path, None)).sum::<u64>();
            println!("{bytes} {}", from.elapsed().as_secs_f64());
        }
        ["ranges", address, path, length, times] => {
            let (mut client, length) = (Client::connect(address), number(length));
            let from = Instant::now();
            let part = |i| Some((i * length, (i + 1) * length - 1));
            let bytes = (0..number(times)).map(|i| client.get(path, part(i))).sum::<u64>();
            println!("{bytes} {}", from.elapsed().as_secs_f64());
        }
        ["small", address, path, connections, seconds] => {
            let ends = Instant::now() + Duration::from_secs(number(seconds));
            let (address, path) = ((*address).to_owned(), (*path).to_owned());
            let run = move || {
                let (mut client, mut requests) = (Client::connect(&address), 0_u64);
                while Instant::now() < ends {
                    client.get(&path, None);
                    requests += 1;
                }
                requests
            };
            let from = Instant::now();
            let threads: Vec<_> =
                (0..number(connections)).map(|_| thread::spawn(run.clone())).collect();
            let requests: u64 = threads.into_iter().map(|it| it.join().unwrap()).sum();
            println!("{requests} {}", from.elapsed().as_secs_f64());
        }
        // As part of `cargo bench` or `cargo test` it has nothing to do.
        _ => eprintln!("run scripts/bench-serve"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

/// One connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
    address: String,
    buffer: Vec<u8>,
    head: String,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::with_capacity(16 * 1024, stream);
        Self {
            stream,
            address: address.to_owned(),
            buffer: vec![0; READ_BYTES],
            head: String::new(),
        }
    }

    /// Bytes of the body, all of which have come.
    fn get(&mut self, path: &str, range: Option<(u64, u64)>) -> u64 {
        let range = range.map(|(first, last)| format!("Range: bytes={first}-{last}\r\n"));
        let (range, address) = (range.unwrap_or_default(), &self.address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{range}\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = None;
        loop {
            self.head.clear();
            assert!(self.stream.read_line(&mut self.head).unwrap() > 0, "the connection ended");
            let line = self.head.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(number(value.trim()));
            }
            assert!(!line.starts_with("HTTP/1.1 4") && !line.starts_with("HTTP/1.1 5"), "{line}");
        }
        let length = length.unwrap();
        let mut left = length;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.stream.read(&mut self.buffer[..most]).unwrap();
            assert!(read > 0, "the connection ended");
            left -= read as u64;
        }
        length
    }
}

/// A thread a connection, and nothing that is not needed to send a file.
fn floor(folder: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let (stream, folder) = (stream.unwrap(), folder.to_owned());
        thread::spawn(move || {
            // The client has gone: so does the thread.
            let _ = serve(&stream, &folder);
        });
    }
}

fn serve(mut stream: &TcpStream, folder: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream).lines();
    loop {
        let Some(first) = requests.next() else { return Ok(()) };
        let first = first?;
        let name = first.split(' ').nth(1).and_then(|path| path.rsplit('/').next());
        let path: PathBuf = folder.join(name.unwrap_or_default());
        let mut range = None;
        for line in requests.by_ref() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((first, last)) =
                line.strip_prefix("Range: bytes=").and_then(|it| it.split_once('-'))
            {
                range = Some((number(first), number(last) + 1));
            }
        }
        let mut file = File::open(path)?;
        let (start, end) = range.unwrap_or((0, file.metadata()?.len()));
        let length = end - start;
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n")?;
        file.seek(SeekFrom::Start(start))?;
        // The standard library uses sendfile for these two.
        io::copy(&mut file.take(length), &mut stream)?;
    }
}
