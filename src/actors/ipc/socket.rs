//! The socket as a file: bound with care, and taken away again.
//!
//! Always holds: the file is removed when the last handle is dropped, if it is still the one that
//! was bound; one that somebody took away is bound anew when it is looked for. Never: touches a
//! file that is no socket, or a socket that answers.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Why a node cannot have its socket.
#[derive(Debug, Error)]
pub enum IpcError {
    /// Another process listens there.
    #[error("the socket {path} is in use: a node answers on it")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else bears the name.
    #[error("{path} exists and is no socket: remove it, or choose another with --socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The folder could be swapped by its owner.
    #[error(
        "the folder {path} of the socket belongs to user {owner}: choose another with --socket"
    )]
    ForeignFolder {
        /// The folder.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// The system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound Unix socket. Clones share it: the supervisor keeps one, so that an actor that has to be
/// built anew finds its socket open.
#[derive(Debug, Clone)]
pub struct IpcSocket {
    path: Arc<Path>,
    /// None once it is closed.
    bound: Arc<Mutex<Option<Bound>>>,
}

#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket's file.
    identity: (u64, u64),
}

impl IpcSocket {
    /// Binds the socket (mode 0600) and creates its folder (mode 0700) where that is missing. A
    /// socket on which nobody answers is replaced; the caller holds the data dir's lock, so that no
    /// other node is about to listen there.
    pub fn bind(path: &Path) -> Result<Self, IpcError> {
        let bound = Arc::new(Mutex::new(Some(Bound::bind(path)?)));
        Ok(Self { path: path.into(), bound })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file still is the one that was bound, and binds it anew if not; says
    /// whether it was. Whoever listened on the old one reaches nobody any more. Blocks.
    pub(super) fn renew(&self) -> Result<bool, IpcError> {
        let mut bound = self.bound();
        if bound.as_ref().is_none_or(Bound::is_in_place) {
            return Ok(false);
        }
        *bound = Some(Bound::bind(&self.path)?);
        Ok(true)
    }

    /// Takes the file away: nobody gets in any more.
    pub(in crate::actors) fn close(&self) {
        *self.bound() = None;
    }

    /// A handle that accepts connections, for the runtime of the calling thread.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let bound = self.bound();
        let Some(bound) = bound.as_ref() else { return Err(io::ErrorKind::NotConnected.into()) };
        tokio::net::UnixListener::from_std(bound.listener.try_clone()?)
    }

    fn bound(&self) -> MutexGuard<'_, Option<Bound>> {
        // Replaced in one step: whoever panicked has left it whole.
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bound {
    fn bind(path: &Path) -> Result<Self, IpcError> {
        prepare_folder(path)?;
        remove_stale(path)?;
        let io = |doing| move |source| IpcError::Io { doing, path: path.to_owned(), source };
        let listener = UnixListener::bind(path).map_err(io("bind the socket"))?;
        // Whoever connects before this line is still asked for credentials.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(io("protect the socket"))?;
        listener.set_nonblocking(true).map_err(io("listen on the socket"))?;
        let identity = identity(&path.symlink_metadata().map_err(io("look at the socket"))?);
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Whether its name leads to it. The kernel keeps the file's number as long as it is bound, so
    /// that no other can have it.
    fn is_in_place(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|metadata| identity(&metadata) == self.identity)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_in_place()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("the socket {} stays behind: {error}", self.path.display());
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn prepare_folder(path: &Path) -> Result<(), IpcError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    let io = |doing| move |source| IpcError::Io { doing, path: folder.to_owned(), source };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io("create the socket's folder"))?;
    // A predictable name among the temporary files may have been taken by somebody else, who could
    // put a socket of their own in our place.
    let owner = folder.metadata().map_err(io("look at the socket's folder"))?.uid();
    if owner != rustix::process::getuid().as_raw() && owner != 0 {
        let path = folder.to_owned();
        return Err(IpcError::ForeignFolder { path, owner });
    }
    Ok(())
}

fn remove_stale(path: &Path) -> Result<(), IpcError> {
    let io = |doing, source| IpcError::Io { doing, path: path.to_owned(), source };
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at the socket", error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let path = path.to_owned();
            return Err(IpcError::NotASocket { path });
        }
        Ok(_) => {}
    }
    match try_connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| io("replace the stale socket", error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // `WouldBlock`: its queue is full, so somebody holds it.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            Err(io("tell whether a node answers on the socket", error))
        }
        _ => Err(IpcError::InUse { path: path.to_owned() }),
    }
}

/// Connects without waiting: a hung node with a full queue must not hang its successor.
fn try_connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}
