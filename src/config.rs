//! Settings: raw flags and `KAD_ACTOR_*` variables in, proven ones out.
//!
//! Always holds: a [`Config`] can be used as it is; what a node and its clients must agree on, the
//! data folder and the socket, is computed in one place for both. Never: opens a socket, creates a
//! file, or resolves a name.

mod locations;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use thiserror::Error;

pub use self::locations::{LocationFlags, Locations, MAX_SOCKET_PATH_BYTES};
use crate::kademlia::{Dialect, Profile};

/// Bootstrap addresses a node takes: each is resolved and asked anew at every retry, and a handful
/// already joins any network.
pub const MAX_BOOTSTRAP: usize = 64;
/// Smallest quota for values of others: one full key (64 KiB) must fit, or nothing could be held.
pub const MIN_STORE_QUOTA_BYTES: u64 = 64 * 1024;

/// What `node` takes, as given.
#[derive(Debug, Clone, Args)]
pub struct NodeFlags {
    /// UDP for the DHT and TCP for files, one number for both; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", env = "KAD_ACTOR_LISTEN", default_value = "0.0.0.0:8468")]
    pub listen: String,
    /// Admin API, on loopback; `off` disables it
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "KAD_ACTOR_ADMIN_LISTEN",
        default_value = "127.0.0.1:8469"
    )]
    pub admin_listen: String,
    /// A node of the network to join; may be repeated
    #[arg(long, value_name = "HOST:PORT", env = "KAD_ACTOR_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// Host (and port) to publish in file URLs, where peers can't see it themselves
    #[arg(long, value_name = "HOST[:PORT]", env = "KAD_ACTOR_ADVERTISE")]
    pub advertise: Option<String>,
    /// How values are answered: `list` gives all of a key, `scalar` the newest, as peers of the
    /// Python package kademlia expect
    #[arg(long, value_name = "list|scalar", env = "KAD_ACTOR_DIALECT", default_value = "list")]
    pub dialect: String,
    /// What kind of network this is: `lan` trusts its neighbours, `public` nobody
    #[arg(long, value_name = "lan|public", env = "KAD_ACTOR_PROFILE", default_value = "lan")]
    pub profile: String,
    /// Memory for values of others
    #[arg(long, value_name = "SIZE", env = "KAD_ACTOR_STORE_QUOTA", default_value = "64MiB")]
    pub store_quota: String,
    /// Disk space for own copies of files (`upload --copy`, stdin); without it as much as there is
    #[arg(long, value_name = "SIZE", env = "KAD_ACTOR_DISK_QUOTA")]
    pub disk_quota: Option<String>,
}

/// A setting that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A value that makes no sense for its flag.
    #[error("--{flag} '{value}': {reason}")]
    Invalid {
        /// The flag, without dashes; `KAD_ACTOR_` and its name in capitals is its variable.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
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
    /// Admin API; a loopback address. None: off.
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
    /// Bytes for own copies of files; none: as many as the disk takes.
    pub disk_quota: Option<u64>,
    /// Whether the `ready` line is JSON.
    pub json: bool,
}

impl Config {
    /// Proves a node's flags.
    pub fn new(
        locations: &LocationFlags,
        node: &NodeFlags,
        json: bool,
    ) -> Result<Self, ConfigError> {
        let Locations { data_dir, socket } = Locations::find(locations)?;
        let listen = parse_listen(&node.listen)?;
        Ok(Self {
            data_dir,
            socket,
            listen,
            admin_listen: parse_admin_listen(&node.admin_listen)?,
            bootstrap: parse_bootstrap(&node.bootstrap)?,
            advertise: node
                .advertise
                .as_deref()
                .map(|text| parse_advertise(text, listen.ip().is_loopback()))
                .transpose()?,
            dialect: parse_dialect(&node.dialect)?,
            profile: parse_profile(&node.profile)?,
            store_quota: parse_store_quota(&node.store_quota)?,
            disk_quota: node.disk_quota.as_deref().map(parse_disk_quota).transpose()?,
            json,
        })
    }
}

fn invalid(flag: &'static str, value: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { flag, value: value.to_owned(), reason: reason.into() }
}

fn parse_listen(text: &str) -> Result<SocketAddrV4, ConfigError> {
    let address: SocketAddrV4 = text.parse().map_err(|_| {
        invalid("listen", text, "not an IPv4 address and port, such as 0.0.0.0:8468")
    })?;
    if address.ip().is_multicast() || address.ip().is_broadcast() {
        return Err(invalid("listen", text, "not an address of one machine"));
    }
    Ok(address)
}

fn parse_admin_listen(text: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if text == "off" {
        return Ok(None);
    }
    let address: SocketAddr = text.parse().map_err(|_| {
        invalid(
            "admin-listen",
            text,
            "not an IP address and port, such as 127.0.0.1:8469, nor 'off'",
        )
    })?;
    // What the admin API shows without asking for a token is meant for this machine alone.
    if !address.ip().to_canonical().is_loopback() {
        return Err(invalid("admin-listen", text, "not a loopback address: use 127.0.0.1"));
    }
    Ok(Some(address))
}

fn parse_bootstrap(texts: &[String]) -> Result<Vec<BootstrapAddr>, ConfigError> {
    if texts.len() > MAX_BOOTSTRAP {
        let reason = format!("{} addresses are given, {MAX_BOOTSTRAP} at most", texts.len());
        return Err(invalid("bootstrap", &texts[MAX_BOOTSTRAP], reason));
    }
    texts.iter().map(|text| parse_bootstrap_addr(text)).collect()
}

fn parse_bootstrap_addr(text: &str) -> Result<BootstrapAddr, ConfigError> {
    let wrong = |reason: &str| invalid("bootstrap", text, reason);
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| wrong("not HOST:PORT, such as node1.example:8468"))?;
    let port = parse_port(port).ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
    match url::Host::parse(host) {
        Ok(url::Host::Ipv6(_)) => Err(wrong("the DHT speaks IPv4 only")),
        Ok(url::Host::Ipv4(ip)) if ip == Ipv4Addr::UNSPECIFIED => {
            Err(wrong("0.0.0.0 is nobody's address"))
        }
        Ok(host) => Ok(BootstrapAddr { host: host.to_string(), port }),
        Err(_) => Err(wrong("not a host name or an IPv4 address before the port")),
    }
}

/// Loopback means another machine to each reader, so only a node that is on it itself may say it.
fn parse_advertise(text: &str, on_loopback: bool) -> Result<Advertise, ConfigError> {
    let wrong = |reason: &str| invalid("advertise", text, reason);
    // A colon inside brackets belongs to an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) => Some(
            parse_port(port).ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?,
        ),
        None => None,
    };
    let host = url::Host::parse(host)
        .map_err(|_| wrong("not a host name, an IPv4 address or an IPv6 address in brackets"))?;
    let (wildcard, loopback) = match &host {
        url::Host::Domain(name) => (false, name.trim_end_matches('.') == "localhost"),
        url::Host::Ipv4(ip) => (ip.is_unspecified(), ip.is_loopback()),
        url::Host::Ipv6(ip) => {
            let ip = ip.to_canonical();
            (ip.is_unspecified(), ip.is_loopback())
        }
    };
    if wildcard {
        return Err(wrong("a wildcard is nobody's address"));
    }
    if loopback && !on_loopback {
        return Err(wrong("peers would ask themselves: that is each machine's own address"));
    }
    Ok(Advertise { host: host.to_string(), port })
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

fn parse_dialect(text: &str) -> Result<Dialect, ConfigError> {
    match text {
        "list" => Ok(Dialect::List),
        "scalar" => Ok(Dialect::Scalar),
        _ => Err(invalid("dialect", text, "neither 'list' nor 'scalar'")),
    }
}

fn parse_profile(text: &str) -> Result<Profile, ConfigError> {
    match text {
        "lan" => Ok(Profile::Lan),
        "public" => Ok(Profile::Public),
        _ => Err(invalid("profile", text, "neither 'lan' nor 'public'")),
    }
}

fn parse_store_quota(text: &str) -> Result<u64, ConfigError> {
    let size: ByteSize =
        text.parse().map_err(|_| invalid("store-quota", text, "not a size, such as 64MiB"))?;
    if size.as_u64() < MIN_STORE_QUOTA_BYTES {
        let reason = format!("less than {}, one full key", ByteSize(MIN_STORE_QUOTA_BYTES));
        return Err(invalid("store-quota", text, reason));
    }
    Ok(size.as_u64())
}

fn parse_disk_quota(text: &str) -> Result<u64, ConfigError> {
    let size: ByteSize =
        text.parse().map_err(|_| invalid("disk-quota", text, "not a size, such as 10GiB"))?;
    Ok(size.as_u64())
}

#[cfg(test)]
mod tests;
