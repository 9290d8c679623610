//! Settings: flags, `KAD_ACTOR_*` variables and the settings file in, proven ones out.
//!
//! Always holds: a [`Config`] can be used as it is; what a node and its clients must agree on, the
//! data folder and the socket, is computed in one place for both; an error names the place where the
//! setting was given. Never: opens a socket, creates a file, or resolves a name.

mod file;
mod in_force;
mod locations;
mod parse;
mod sources;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;
use thiserror::Error;

pub use self::in_force::InForce;
pub use self::locations::{LocationFlags, Locations, MAX_SOCKET_PATH_BYTES};
use self::parse::Wrong;
use self::sources::{
    ADMIN_LISTEN, ADVERTISE, BOOTSTRAP, DIALECT, DISK_QUOTA, Given, LIMIT_RATE, LISTEN, PROFILE,
    SERVE_LIMIT, STORE_QUOTA, Setting, Sources, Word,
};
use crate::kademlia::{Dialect, Profile};

/// Bootstrap addresses a node takes: each is resolved and asked anew at every retry, and a handful
/// already joins any network.
pub const MAX_BOOTSTRAP: usize = 64;
/// Smallest quota for values of others: one full key (64 KiB) must fit, or nothing could be held.
pub const MIN_STORE_QUOTA_BYTES: u64 = 64 * 1024;
/// Slowest that the file service may be told to be, in bytes a second: below that, downloaders take
/// a node for stalled.
pub const MIN_RATE_LIMIT: u64 = 64 * 1024;

/// What `node` takes, as given; what is absent may be said by a variable or the settings file.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeFlags {
    /// UDP for the DHT and TCP for files, one number for both; port 0 takes any free one [default:
    /// 0.0.0.0:8468]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Admin API; beyond loopback it asks for its token; `off` disables it [default:
    /// 127.0.0.1:8469]
    #[arg(long, value_name = "IP:PORT")]
    pub admin_listen: Option<String>,
    /// A node of the network to join; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Vec<String>,
    /// Host (and port) to publish in file URLs, where peers can't see it themselves
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Option<String>,
    /// How values are answered: `list` gives all of a key, `scalar` the newest, as peers of the
    /// Python package kademlia expect [default: list]
    #[arg(long, value_name = "list|scalar")]
    pub dialect: Option<String>,
    /// What kind of network this is: `lan` trusts its neighbours, `public` nobody [default: lan]
    #[arg(long, value_name = "lan|public")]
    pub profile: Option<String>,
    /// Memory for values of others [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub store_quota: Option<String>,
    /// Disk space for own copies of files; `off` sets no limit [default: off]
    #[arg(long, value_name = "SIZE")]
    pub disk_quota: Option<String>,
    /// Bytes a second that all others together may download from here; `off` sets no limit
    /// [default: off]
    #[arg(long, value_name = "SIZE")]
    pub serve_limit: Option<String>,
    /// Bytes a second that all downloads together may take; `off` sets no limit [default: off]
    #[arg(long, value_name = "SIZE")]
    pub limit_rate: Option<String>,
    /// Print every setting in force and where it comes from, as a settings file, and end
    #[arg(long)]
    pub print_config: bool,
}

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value that makes no sense for its setting.
    #[error("{place} '{value}': {reason}")]
    Invalid {
        /// The flag, the variable, or the settings file with line and key.
        place: String,
        /// What was given.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// A settings file that can't be read.
    #[error("the settings file {path} cannot be read: {error}")]
    FileUnreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A settings file that makes no sense.
    #[error("{place}: {reason}")]
    FileWrong {
        /// The file, and the line where there is one.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Neither a data folder nor a home was given.
    #[error("no home folder is known: name a data folder with --data-dir")]
    NoHome,
    /// The working folder is gone, so relative paths mean nothing.
    #[error("the working folder cannot be read ({0}): give absolute paths")]
    NoWorkingFolder(String),
    /// Even the short form of the socket's path is too long.
    #[error("the socket path '{path}' has {} bytes, {MAX_SOCKET_PATH_BYTES} at most: name a shorter one with --socket", path.len())]
    SocketTooLong {
        /// The path.
        path: String,
    },
}

/// A peer to join the network through; its name is resolved anew at each retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapAddr {
    /// A host name or an IPv4 address.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
}

impl fmt::Display for BootstrapAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What to publish in file URLs instead of the observed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// Host as it stands in a URL: a name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// Port; the listening one when absent.
    pub port: Option<u16>,
}

/// Everything a node is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of all state; may not exist yet.
    pub data_dir: PathBuf,
    /// Path of the Unix socket; its folder may not exist yet.
    pub socket: PathBuf,
    /// UDP for the DHT and TCP for files; port 0 for any free one, the same for both.
    pub listen: SocketAddrV4,
    /// Admin API; beyond loopback it asks for its token. None: off.
    pub admin_listen: Option<SocketAddr>,
    /// Peers to join the network through, at most [`MAX_BOOTSTRAP`].
    pub bootstrap: Vec<BootstrapAddr>,
    /// What to publish in file URLs.
    pub advertise: Option<Advertise>,
    /// How values are answered.
    pub dialect: Dialect,
    /// What kind of network.
    pub profile: Profile,
    /// Bytes for values of others.
    pub store_quota: u64,
    /// Bytes on disk for own copies of files. None: no limit.
    pub disk_quota: Option<u64>,
    /// Bytes a second that all answers of the file service may take. None: no limit.
    pub serve_limit: Option<NonZeroU64>,
    /// Bytes a second that all downloads may take. None: no limit.
    pub limit_rate: Option<NonZeroU64>,
    /// Whether the `ready` line is JSON.
    pub json: bool,
}

impl Config {
    /// Proves a node's settings, wherever they were given; with them, where that was.
    pub fn read(
        locations: &LocationFlags,
        node: &NodeFlags,
        json: bool,
    ) -> Result<(Self, InForce), ConfigError> {
        for stray in sources::strays(std::env::vars_os().map(|(name, _)| name)) {
            log::warn!("{stray}");
        }
        Self::among(&Sources::read(locations.config.as_deref())?, locations, node, json)
    }

    fn among(
        sources: &Sources,
        locations: &LocationFlags,
        node: &NodeFlags,
        json: bool,
    ) -> Result<(Self, InForce), ConfigError> {
        let mut places = locations.given(sources);
        let Locations { data_dir, socket } = Locations::of(&places)?;
        for (given, path) in places.iter_mut().zip([&data_dir, &socket]) {
            given.words = vec![Word { text: path.into(), origin: given.origin.clone() }];
        }
        let given = |setting, flag: &[String]| {
            let flag: Vec<OsString> = flag.iter().map(OsString::from).collect();
            sources.given(setting, &flag)
        };
        let [
            listen,
            admin_listen,
            advertise,
            dialect,
            profile,
            store_quota,
            disk_quota,
            serve_limit,
            limit_rate,
        ] = [
            (LISTEN, &node.listen),
            (ADMIN_LISTEN, &node.admin_listen),
            (ADVERTISE, &node.advertise),
            (DIALECT, &node.dialect),
            (PROFILE, &node.profile),
            (STORE_QUOTA, &node.store_quota),
            (DISK_QUOTA, &node.disk_quota),
            (SERVE_LIMIT, &node.serve_limit),
            (LIMIT_RATE, &node.limit_rate),
        ]
        .map(|(setting, flag)| given(setting, flag.as_slice()));
        let bootstrap = given(BOOTSTRAP, &node.bootstrap);
        if let Some(word) = bootstrap.words.get(MAX_BOOTSTRAP) {
            let count = bootstrap.words.len();
            let reason = format!("{count} addresses are given, {MAX_BOOTSTRAP} at most");
            return Err(word.wrong(BOOTSTRAP, reason));
        }
        let address = listen.one(parse::listen)?;
        let on_loopback = address.ip().is_loopback();
        let config = Self {
            data_dir,
            socket,
            listen: address,
            admin_listen: admin_listen.one(parse::admin_listen)?,
            bootstrap: bootstrap.each(parse::bootstrap)?,
            advertise: advertise.each(|text| parse::advertise(text, on_loopback))?.pop(),
            dialect: dialect.one(parse::dialect)?,
            profile: profile.one(parse::profile)?,
            store_quota: store_quota.one(parse::store_quota)?,
            disk_quota: disk_quota.one(parse::disk_quota)?,
            serve_limit: serve_limit.one(parse::rate_limit)?,
            limit_rate: limit_rate.one(parse::rate_limit)?,
            json,
        };
        let mut settings = Vec::from(places);
        settings.extend([listen, admin_listen, bootstrap, advertise]);
        settings.extend([dialect, profile, store_quota, disk_quota, serve_limit, limit_rate]);
        Ok((config, InForce { file: sources.file().map(ToOwned::to_owned), settings }))
    }
}

impl Word {
    fn wrong(&self, setting: Setting, reason: impl Into<String>) -> ConfigError {
        let value = self.text.to_string_lossy().into_owned();
        ConfigError::Invalid { place: self.origin.place(setting), value, reason: reason.into() }
    }
}

impl Given {
    /// What each of its texts means.
    fn each<T>(&self, parse: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, ConfigError> {
        let proven = |word: &Word| {
            let text = word.text.to_str().ok_or_else(|| word.wrong(self.setting, "not UTF-8"))?;
            parse(text).map_err(|wrong| word.wrong(self.setting, wrong.0))
        };
        self.words.iter().map(proven).collect()
    }

    /// What its only text means.
    fn one<T>(&self, parse: impl Fn(&str) -> Result<T, Wrong>) -> Result<T, ConfigError> {
        let mut all = self.each(&parse)?;
        // Settings that must be there have a default.
        all.pop().map_or_else(
            || {
                let absent = Word { text: OsString::new(), origin: self.origin.clone() };
                parse("").map_err(|wrong| absent.wrong(self.setting, wrong.0))
            },
            Ok,
        )
    }
}

#[cfg(test)]
mod tests;
