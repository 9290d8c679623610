//! A plain HTTP client that sends what it is told, right or wrong, and shows all that comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer as it came.
pub(crate) struct Answer {
    /// Zero when nothing came that looks like HTTP.
    pub(crate) status: u16,
    /// The status line and headers.
    pub(crate) head: String,
    /// Everything after them, to the end of the connection.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "{name} twice in {}", self.head);
        Some(value)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Between two reads nobody is waited for longer than this: an answer that never ends is a failure, not
/// a test that hangs.
const SILENCE: Duration = Duration::from_secs(30);

/// Sends bytes, and reads until the other side closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Closed early by a server that has seen enough: what it said is still to be read.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    loop {
        let read = timeout(SILENCE, stream.read_buf(&mut bytes)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing for {SILENCE:?}, and no end"));
        if read.is_err() || read.is_ok_and(|count| count == 0) {
            break;
        }
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.map_or(bytes.len(), |end| end + 4));
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.unwrap_or(0), head, body: body.to_vec() }
}

/// One request on a connection of its own; headers as `Name: value`.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
) -> Answer {
    ask_with(address, method, target, headers, &[]).await
}

/// The same with a body; an empty one is none.
pub(crate) async fn ask_with(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let named = headers.iter().any(|header| header.starts_with("Host:"));
    let host = format!("Host: {address}");
    let own = (!named).then_some(host.as_str());
    let length = format!("Content-Length: {}", body.len());
    let length = (!body.is_empty()).then_some(length.as_str());
    let lines: Vec<&str> = own.into_iter().chain(headers.iter().copied()).chain(length).collect();
    let head = lines.join("\r\n");
    let request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{head}\r\n\r\n");
    exchange(address, &[request.as_bytes(), body].concat()).await
}
