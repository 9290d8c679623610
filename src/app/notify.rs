//! Tells a service manager how the node is, where there is one (`Type=notify` of systemd).
//!
//! Always holds: without `NOTIFY_SOCKET` nothing happens. Never: fails the node: whoever started it
//! finds out by its own means.

use sd_notify::NotifyState;

use crate::command::Ready;

/// Everything listens.
pub(super) fn ready(ready: &Ready) {
    let status = format!("node {} at {}", ready.id, ready.dht);
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// No more users are let in.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
