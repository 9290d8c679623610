//! One request of a swarm: bytes come, are checked and written, and the plan is told.
//!
//! Always holds: what a source sends is noted only once it was checked and written; while the own
//! disk is waited for, no source is blamed. Never: holds more than two buffers, each at most twice
//! as long as what is handed over.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::http::{Ask, Http, Response};
use super::store::{Store, Wrote};
use crate::content::Checking;
use crate::transfer::Failure;
use crate::transfer::swarm::{self, Order, Swarm};

/// What has come is checked and written after this time, though it be little: others may want it.
const WRITE_AFTER: Duration = Duration::from_millis(250);
/// Bytes checked and written at a time: what has just come is still near the processor then, and a
/// hand-over to another thread costs little beside it.
const BUFFER_BYTES: usize = 256 * 1024;
/// A body that is all there ends at once; its connection can be used again then.
const END_TIMEOUT: Duration = Duration::from_millis(20);

/// What all requests of a download share.
pub(super) struct Pool<'a> {
    pub(super) http: &'a Http,
    pub(super) swarm: RefCell<Swarm>,
    pub(super) store: RefCell<Store>,
    /// The clock of the plan begins here.
    pub(super) started: Instant,
    /// Orders that events gave rise to.
    pub(super) orders: RefCell<Vec<Order>>,
    /// The plan has something new to be asked about.
    pub(super) changed: Notify,
}

impl Pool<'_> {
    /// The time of the plan.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn failed(&self, id: u64, failure: Failure) {
        self.swarm.borrow_mut().failed(id, failure, self.now());
    }
}

/// Makes a request. An error is one of the own disk.
pub(super) async fn pull(pool: &Pool<'_>, ask: &swarm::Ask) -> io::Result<()> {
    let url = pool.swarm.borrow().url(ask.source);
    let Some(url) = url else {
        pool.failed(ask.id, Failure::Broken);
        return Ok(());
    };
    let range = Ask {
        offset: if ask.whole { 0 } else { ask.bytes.start },
        end: (!ask.whole).then_some(ask.bytes.end),
        keeps: !ask.whole,
        if_range: None,
    };
    let mut response = match pool.http.get(&url, &range).await {
        Ok(response) => response,
        Err(failure) => {
            pool.failed(ask.id, failure);
            return Ok(());
        }
    };
    let at = pool.swarm.borrow_mut().answered(ask.id, response.head(), pool.now());
    pool.changed.notify_one();
    let Some(at) = at else { return Ok(()) };
    let checking = pool.store.borrow().tree().check_from(at);
    let Ok(checking) = checking else {
        pool.failed(ask.id, Failure::BadRange);
        return Ok(());
    };
    let group = pool.store.borrow().tree().group_bytes() as usize;
    let mut pulling = Pulling {
        pool,
        id: ask.id,
        source: ask.source,
        group,
        checking: Some(checking),
        at,
        buffer: Vec::new(),
        spare: Vec::new(),
        job: None,
        write_at: Instant::now() + WRITE_AFTER,
    };
    match pulling.pour(&mut response).await {
        Ok(()) => pulling.finish().await?,
        Err(End::Failed(failure)) => {
            pulling.finish().await?;
            pool.failed(ask.id, failure);
        }
        Err(End::Early) => {
            pulling.finish().await?;
            pool.swarm.borrow_mut().ended(ask.id, pool.now());
        }
        Err(End::Liar) => {}
        Err(End::Disk(error)) => return Err(error),
    }
    Ok(())
}

/// What a writer has done, once it has; never without one.
async fn ready(job: &mut Option<JoinHandle<Wrote>>) -> io::Result<Wrote> {
    match job {
        Some(job) => job.await.map_err(io::Error::other),
        None => std::future::pending().await,
    }
}

/// Why a body is not read on.
enum End {
    Failed(Failure),
    /// As if it were whole.
    Early,
    Liar,
    Disk(io::Error),
}

struct Pulling<'a, 'b> {
    pool: &'a Pool<'b>,
    id: u64,
    source: usize,
    group: usize,
    /// With the writer while it writes.
    checking: Option<Checking>,
    /// Where the next byte to come belongs.
    at: u64,
    buffer: Vec<u8>,
    spare: Vec<u8>,
    job: Option<JoinHandle<Wrote>>,
    write_at: Instant,
}

impl Pulling<'_, '_> {
    /// Takes the body as far as it is wanted.
    async fn pour(&mut self, response: &mut Response) -> Result<(), End> {
        loop {
            if self.job.is_some() && self.buffer.len() >= 2 * BUFFER_BYTES {
                self.pause(true);
                let wrote = self.settle().await;
                self.pause(false);
                wrote?;
            }
            self.hand_over(false).await?;
            if let Some(until) = self.pool.http.closed_until() {
                self.pause(true);
                sleep_until(until).await;
                self.pause(false);
            }
            let has_group = self.whole() > 0 && self.job.is_none();
            let before = self.buffer.len();
            let room = self.room();
            let read = tokio::select! {
                biased;
                wrote = ready(&mut self.job) => {
                    self.take(wrote.map_err(End::Disk)?)?;
                    continue;
                }
                read = response.read(&mut self.buffer, room) => read,
                () = sleep_until(self.write_at), if has_group => continue,
            };
            let length = match read {
                Ok(0) => return Err(End::Early),
                Err(failure) => return Err(End::Failed(failure)),
                Ok(length) => length as u64,
            };
            let end = self.pool.swarm.borrow_mut().arrived(self.id, length, self.pool.now());
            let wanted = end.saturating_sub(self.at).min(length);
            self.buffer.truncate(before + wanted as usize);
            self.at += wanted;
            if self.at >= end {
                // The connection is free for the next request.
                let _ = timeout(END_TIMEOUT, response.read(&mut Vec::new(), 1)).await;
                self.pool.changed.notify_one();
                return Ok(());
            }
        }
    }

    /// Bytes to read at most: no more than are wanted, and into a second buffer only while the first
    /// is being written.
    fn room(&self) -> usize {
        let most = if self.job.is_some() { 2 * BUFFER_BYTES } else { BUFFER_BYTES };
        let swarm = self.pool.swarm.borrow();
        let wanted = swarm.bytes(&swarm.wanted(self.id)).end.saturating_sub(self.at);
        (most.saturating_sub(self.buffer.len()) as u64).min(wanted).max(1) as usize
    }

    /// Has what came written, if that is worth it by now, and nothing is being written.
    async fn hand_over(&mut self, all: bool) -> Result<(), End> {
        let due = all || self.write_at <= Instant::now();
        let full = self.buffer.len() >= BUFFER_BYTES;
        let length = self.whole();
        if self.job.is_some() || length == 0 || !(due || full) {
            return Ok(());
        }
        let Some(checking) = self.checking.take() else { return Ok(()) };
        let mut rest = std::mem::take(&mut self.spare);
        rest.extend_from_slice(&self.buffer[length..]);
        self.buffer.truncate(length);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let writing = self.pool.store.borrow().writing(checking, bytes);
        self.job = Some(writing.await.map_err(End::Disk)?);
        self.write_at = Instant::now() + WRITE_AFTER;
        Ok(())
    }

    /// Bytes in the buffer that can be checked: whole groups, the end of the content, or any part
    /// of a group that is larger than a buffer.
    fn whole(&self) -> usize {
        let length = self.buffer.len();
        let ends = self.at == self.pool.swarm.borrow().size();
        if ends || self.group > BUFFER_BYTES { length } else { length - length % self.group }
    }

    /// Waits for what is being written.
    async fn settle(&mut self) -> Result<(), End> {
        let Some(job) = &mut self.job else { return Ok(()) };
        let wrote = job.await.map_err(io::Error::other).map_err(End::Disk)?;
        self.take(wrote)
    }

    /// Notes what was written.
    fn take(&mut self, (checking, mut bytes, result): Wrote) -> Result<(), End> {
        self.job = None;
        bytes.clear();
        (self.checking, self.spare) = (Some(checking), bytes);
        let now = self.pool.now();
        match result.map_err(End::Disk)? {
            Ok(proven) => {
                let groups = self.pool.store.borrow_mut().note(&proven);
                self.pool.swarm.borrow_mut().right(self.source, self.id, groups);
                Ok(())
            }
            Err(wrong) => {
                log::debug!("source {}: {wrong}", self.source);
                let orders = self.pool.swarm.borrow_mut().wrong(self.source, now);
                let others = orders.into_iter().filter(|order| *order != Order::Stop(self.id));
                self.pool.orders.borrow_mut().extend(others);
                self.pool.changed.notify_one();
                Err(End::Liar)
            }
        }
    }

    /// Has all that came written.
    async fn finish(&mut self) -> io::Result<()> {
        loop {
            let settled = match self.settle().await {
                Ok(()) => self.hand_over(true).await,
                other => other,
            };
            match settled {
                Ok(()) if self.job.is_some() => {}
                Err(End::Disk(error)) => return Err(error),
                _ => return Ok(()),
            }
        }
    }

    fn pause(&self, paused: bool) {
        self.pool.swarm.borrow_mut().paused(self.id, paused, self.pool.now());
    }
}
