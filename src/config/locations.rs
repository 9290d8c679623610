//! Where a node's state and its socket are.
//!
//! Always holds: a node and its clients find the same places from the same flags and environment,
//! whichever spelling of a folder they were given. Never: creates anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy;

use super::ConfigError;
use super::sources::{Given, Sources};

/// Longest path of a Unix socket in bytes: `sun_path` has 108, one of them for the final NUL.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Where a node's state, its socket and its settings are, as given.
#[derive(Debug, Clone, Default, Args)]
pub struct LocationFlags {
    /// Folder of the node's state [default: kad-actor/HOSTNAME in the XDG data home]
    #[arg(long, global = true, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// Unix socket of the node [default: node.sock in the data dir]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Settings file [default: kad-actor/config.toml in the XDG config home]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
}

/// Where a node's state and its socket are. A node and its clients compute the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations {
    /// Absolute.
    pub data_dir: PathBuf,
    /// Absolute, at most [`MAX_SOCKET_PATH_BYTES`] long.
    pub socket: PathBuf,
}

/// What the environment says about places; read once, so that the rules below are testable.
#[derive(Debug, Clone)]
struct Surroundings {
    data_home: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    temp_dir: PathBuf,
    hostname: String,
    uid: u32,
}

impl Surroundings {
    fn read() -> Self {
        let xdg = etcetera::base_strategy::Xdg::new().ok();
        Self {
            data_home: xdg.as_ref().map(BaseStrategy::data_dir),
            runtime_dir: xdg.as_ref().and_then(BaseStrategy::runtime_dir),
            temp_dir: std::env::temp_dir(),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            uid: rustix::process::getuid().as_raw(),
        }
    }
}

impl LocationFlags {
    /// The settings of the data folder and of the socket.
    pub(super) fn given(&self, sources: &Sources) -> [Given; 2] {
        let words = |path: &Option<PathBuf>| path.iter().map(OsString::from).collect::<Vec<_>>();
        sources.locations(&words(&self.data_dir), &words(&self.socket))
    }
}

fn path_of(given: &Given) -> Option<&Path> {
    given.words.first().map(|word| Path::new(&word.text))
}

impl Locations {
    /// Finds the data folder and the socket that these flags mean, for a node and for its clients.
    pub fn find(flags: &LocationFlags) -> Result<Self, ConfigError> {
        Self::of(&flags.given(&Sources::read(flags.config.as_deref())?))
    }

    /// The places that are meant by these two settings: the data folder's and the socket's.
    pub(super) fn of([data_dir, socket]: &[Given; 2]) -> Result<Self, ConfigError> {
        Self::among(path_of(data_dir), path_of(socket), &Surroundings::read())
    }

    fn among(
        data_dir: Option<&Path>,
        socket: Option<&Path>,
        around: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let data_dir = match data_dir {
            Some(path) => resolve("--data-dir", path)?,
            None => resolve("--data-dir", &default_data_dir(around)?)?,
        };
        let socket = match socket {
            Some(path) => resolve("--socket", path)?,
            None => default_socket(&data_dir, around),
        };
        if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            let path = socket.display().to_string();
            return Err(ConfigError::SocketTooLong { path });
        }
        Ok(Self { data_dir, socket })
    }
}

/// Homes are shared between a cluster's machines: each gets its own folder in there.
fn default_data_dir(around: &Surroundings) -> Result<PathBuf, ConfigError> {
    let home = around.data_home.as_ref().ok_or(ConfigError::NoHome)?;
    let mut host: String = around
        .hostname
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect();
    if host.trim_matches('.').is_empty() {
        "localhost".clone_into(&mut host);
    }
    Ok(home.join("kad-actor").join(host))
}

/// The socket lies in the data folder, or, where that path is too long for a socket, under a name
/// derived from it in the user's runtime folder (or one of their own among the temporary files).
fn default_socket(data_dir: &Path, around: &Surroundings) -> PathBuf {
    let plain = data_dir.join("node.sock");
    if plain.as_os_str().len() <= MAX_SOCKET_PATH_BYTES {
        return plain;
    }
    let folder = match &around.runtime_dir {
        Some(runtime_dir) => runtime_dir.join("kad-actor"),
        None => around.temp_dir.join(format!("kad-actor-{}", around.uid)),
    };
    let hash = blake3::hash(data_dir.as_os_str().as_encoded_bytes());
    let digits: String = hash.to_hex().chars().take(16).collect();
    folder.join(format!("{digits}.sock"))
}

/// Absolute, and without symlinks as far as it exists, so that every spelling of a folder gives
/// the same socket, before the folder is created and after.
fn resolve(flag: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    if path.as_os_str().is_empty() {
        let (place, value, reason) =
            (flag.to_owned(), String::new(), "the path is empty".to_owned());
        return Err(ConfigError::Invalid { place, value, reason });
    }
    let absolute = std::path::absolute(path)
        .map_err(|error| ConfigError::NoWorkingFolder(error.to_string()))?;
    for ancestor in absolute.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return Ok(match absolute.strip_prefix(ancestor) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            });
        }
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests;
