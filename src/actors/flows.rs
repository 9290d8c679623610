//! Each command from top to bottom, as one readable function.
//!
//! Always holds: a flow sees recipients, never actors; what it reports to a user has been
//! acknowledged by somebody. Never: keeps state between commands.

mod address;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};
use actix::dev::ToEnvelope as _;
use tokio_util::sync::CancellationToken;

use super::messages::{
    Acknowledged, Bootstrap, CountDownloads, CountShares, EventSink, Execute, Fetch, FindShare,
    Found, Get, ObservedAddress, Put, Share, Shared, ViewRouting, ViewStorage, Withdraw,
};
use super::present;
use crate::clock::Clock;
use crate::command::{
    Command, CommandError, Downloaded, ErrorCode, HeldValues, KeyValues, OnConflict, Peers, Reply,
    Status, Stored, Uploaded,
};
use crate::config::{Advertise, BootstrapAddr};
use crate::content::{ContentHash, FileName};
use crate::kademlia::{Dialect, Key, Value, wire::MAX_VALUE_BYTES};
use crate::transfer::ProviderUrl;
