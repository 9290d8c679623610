//! A connection that can send parts of files without their bytes passing through this process.
//!
//! What speaks HTTP here knows only of bytes in its buffer. So a body gives it stand-ins for a part
//! of a file, as many as the part has bytes, and says so in the connection's [`Gap`]; when their
//! turn comes, the connection has the kernel send the file's bytes in their place (sendfile), and
//! those behind them that the body will have stand-ins for next: in large parts, since each wakes
//! whoever receives it.
//!
//! Always holds: stand-ins are the last bytes of the buffer until they are sent, since the body
//! gives nothing more before. Never: sends a stand-in, or goes on behind a body of which more was
//! sent than stand-ins came for: a connection that would have to fails.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::rt::net::TcpStream;
use rustix::fs::sendfile;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::turns::Turns;

/// Bytes that the kernel is told to send at once: others who are served by the same thread have
/// their turn in between.
const AT_ONCE_BYTES: u64 = 1024 * 1024;

/// The part of a file for which stand-ins wait in the buffer of a connection; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gap(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    part: Option<Part>,
    /// Bytes that were sent before their stand-ins came.
    ahead: usize,
}

#[derive(Debug)]
struct Part {
    file: Arc<File>,
    /// What is to be sent next, and up to where it may be.
    at: u64,
    until: u64,
    /// Stand-ins that wait.
    left: usize,
    /// Who waits for the end of it.
    waker: Option<Waker>,
}

impl Gap {
    /// Ready when no stand-ins wait; whoever asks is woken then.
    pub(super) fn poll_empty(&self, context: &Context<'_>) -> Poll<()> {
        match &mut self.0.borrow_mut().part {
            None => Poll::Ready(()),
            Some(part) => {
                part.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next bytes of the buffer stand for this part of a file, of which as much may be sent as
    /// lies before `until`: no less than that, and nothing that no stand-ins will come for. None wait
    /// so far.
    pub(super) fn fill(&self, file: Arc<File>, at: u64, length: usize, until: u64) {
        let mut state = self.0.borrow_mut();
        let at = at + state.ahead as u64;
        state.part = Some(Part { file, at, until, left: length, waker: None });
    }
}

/// A connection with its gap.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    gap: Gap,
    turns: Turns,
}

impl Stream {
    /// No stand-ins yet.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, gap: Gap::default(), turns: Turns::default() }
    }

    /// The connection itself.
    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// For whoever sends files over it.
    pub(super) const fn gap(&self) -> &Gap {
        &self.gap
    }

    /// For whoever answers requests that came over it.
    pub(super) const fn turns(&self) -> &Turns {
        &self.turns
    }
}

/// Sends of a part, and of what is behind it, what the connection takes now.
fn poll_send(
    tcp: &TcpStream,
    part: &mut Part,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(context))?;
        let sent = tcp.try_io(Interest::WRITABLE, || {
            let mut at = part.at;
            let most = part.until.saturating_sub(at).min(AT_ONCE_BYTES) as usize;
            Ok(sendfile(tcp, &part.file, Some(&mut at), most)?)
        });
        match sent {
            // The file has become shorter than what was promised.
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(sent) => {
                part.at += sent as u64;
                return Poll::Ready(Ok(sent));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { tcp, gap, .. } = self.get_mut();
        let State { part, ahead } = &mut *gap.0.borrow_mut();
        let Some(waiting) = part else {
            if *ahead > 0 {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            return Pin::new(tcp).poll_write(context, bytes);
        };
        // Fewer would be there if they had been taken for the body of an answer to HEAD: a head
        // alone, which is shorter than a piece.
        let Some(before) = bytes.len().checked_sub(waiting.left) else {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        };
        if before > 0 {
            return Pin::new(tcp).poll_write(context, &bytes[..before]);
        }
        if *ahead == 0 {
            *ahead = ready!(poll_send(tcp, waiting, context))?;
        }
        let sent = waiting.left.min(*ahead);
        *ahead -= sent;
        waiting.left -= sent;
        if waiting.left == 0
            && let Some(waker) = part.take().and_then(|part| part.waker)
        {
            waker.wake();
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(context)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { tcp, turns, .. } = self.get_mut();
        turns.poll_read(Pin::new(tcp), context, buffer)
    }
}
