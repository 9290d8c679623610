//! Carries out the plan of a download whose tree is known: many requests at once.
//!
//! Always holds: the plan decides, and is told what came. Never: gives anything its final name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::destination::io_error;
use super::drive::no_source;
use super::http::Http;
use super::progress::Progress;
use super::pull::{Pool, pull};
use super::store::Store;
use crate::actors::link::Link;
use crate::actors::messages::{Newcomers, OFFER_EVERY, OfferPieces};
use crate::command::{CommandError, ErrorCode, SourceReport};
use crate::content::{Have, Verified};
use crate::transfer::swarm::{Order, Outcome, Ranges, Swarm, TICK};
use crate::transfer::{Failure, PlanFailure, Source};

/// How often the record of what is there is written.
const SAVE_EVERY: Duration = Duration::from_millis(200);

/// How often sources that have only a part are asked which.
const HAVE_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for that.
const HAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The plan, and what it is carried out with.
pub(super) struct SwarmDownload<'a> {
    name: &'a str,
    pool: Pool<'a>,
    progress: &'a mut Progress,
    offer: Option<Link<OfferPieces>>,
}

impl<'a> SwarmDownload<'a> {
    /// Of what is not in the store yet.
    pub(super) fn new(
        name: &'a str,
        http: &'a Http,
        swarm: Swarm,
        store: Store,
        progress: &'a mut Progress,
        offer: Option<Link<OfferPieces>>,
    ) -> Self {
        let pool = Pool {
            http,
            swarm: RefCell::new(swarm),
            store: RefCell::new(store),
            started: Instant::now(),
            orders: RefCell::default(),
            changed: Notify::new(),
        };
        Self { name, pool, progress, offer }
    }

    /// Carries out the plan to its end. `newcomers` are sources that were found meanwhile.
    pub(super) async fn drive(
        &mut self,
        newcomers: &mut mpsc::Receiver<Newcomers>,
    ) -> Result<Verified, CommandError> {
        self.has_room().await?;
        let pool = &self.pool;
        let mut under_way = FuturesUnordered::new();
        let mut handles: BTreeMap<u64, AbortHandle> = BTreeMap::new();
        let (mut asking, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        let (mut saved, mut saving) = (Instant::now(), FuturesUnordered::new());
        let (mut offered, mut asked) = (Instant::now(), None);
        loop {
            under_way.extend(pool.begin(&mut handles));
            match pool.swarm.borrow().outcome(pool.now()) {
                Outcome::Going => {}
                Outcome::Whole => break,
                Outcome::Failed(failure) => return Err(self.failed(failure)),
            }
            tokio::select! {
                biased;
                Some(ended) = under_way.next() => {
                    if let Ok((id, result)) = ended {
                        handles.remove(&id);
                        result.map_err(|error| io_error(pool.store.borrow().path(), &error))?;
                    }
                }
                () = pool.changed.notified() => {}
                Some(found) = newcomers.recv() => pool.add(found),
                Some(source) = asking.next() => {
                    busy.remove(&source);
                }
                // A slow disk keeps nobody from being asked, or given up.
                Some(()) = saving.next() => {}
                () = sleep(TICK) => {}
            }
            if saved.elapsed() >= SAVE_EVERY && saving.is_empty() {
                saving.push(pool.store.borrow().saving());
                saved = Instant::now();
            }
            if asked.is_none_or(|at: Instant| at.elapsed() >= HAVE_EVERY) {
                let mut partial = pool.swarm.borrow().partial();
                // One that takes its time keeps nobody from asking the others.
                partial.retain(|source| busy.insert(*source));
                asking.extend(partial.into_iter().map(|source| pool.ask_have(source)));
                asked = Some(Instant::now());
            }
            if offered.elapsed() >= OFFER_EVERY {
                self.offer_pieces();
                offered = Instant::now();
            }
            self.progress.tick_swarm(&mut pool.swarm.borrow_mut(), pool.now());
        }
        // What others are still writing is right, too; but the file is to be left alone. None of
        // them may hold a writer's place that nobody moves on.
        drop((under_way, saving));
        let settled = self.pool.store.borrow().settled();
        settled.await;
        self.offer_pieces();
        let verified = self.pool.store.borrow().verified();
        verified.ok_or_else(|| CommandError::failed("a piece was lost: try again"))
    }

    fn failed(&self, failure: PlanFailure) -> CommandError {
        let swarm = self.pool.swarm.borrow();
        let sources: Vec<&Source> = swarm.sources().collect();
        let kept = self.pool.store.borrow().is_found_again() && swarm.held() > 0;
        no_source(self.name, failure, &sources, kept)
    }

    /// Ends it: what there is, and how the sources fared.
    pub(super) fn into_parts(self) -> (Store, Vec<SourceReport>) {
        let now = self.pool.now();
        let mut swarm = self.pool.swarm.into_inner();
        swarm.end();
        self.progress.settle_swarm(&mut swarm, now);
        (self.pool.store.into_inner(), super::progress::swarm_reports(&mut swarm, now))
    }

    /// Whether what is still to come may fit: told before it comes.
    async fn has_room(&self) -> Result<(), CommandError> {
        let (left, path) = {
            let swarm = self.pool.swarm.borrow();
            (swarm.size() - swarm.held(), self.pool.store.borrow().path().to_owned())
        };
        let room = super::claimed::room_at(path).await;
        match room {
            Some(room) if room < left => Err(CommandError::new(
                ErrorCode::NoSpace,
                format!(
                    "{:?}: it has more than the disk has room for ({left} bytes to come, {room} \
                     free): make some, or save elsewhere with -o",
                    self.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Lets others have what is there.
    fn offer_pieces(&self) {
        let Some(offer) = &self.offer else { return };
        let store = self.pool.store.borrow();
        let pieces = OfferPieces {
            tree: store.tree().clone(),
            file: std::sync::Arc::downgrade(store.file()),
            have: store.have().clone(),
        };
        let offered = offer.send(pieces);
        // One that is lost is made up for by the next.
        actix_rt::spawn(async move {
            let _ = offered.await;
        });
    }
}

impl<'a> Pool<'a> {
    /// Follows the plan's orders: the requests to be made, after those given up were ended.
    fn begin<'p>(
        &'p self,
        handles: &mut BTreeMap<u64, AbortHandle>,
    ) -> Vec<Abortable<impl Future<Output = (u64, io::Result<()>)> + use<'p, 'a>>> {
        let mut orders = self.orders.take();
        orders.extend(self.swarm.borrow_mut().orders(self.now()));
        let mut requests = Vec::new();
        for order in orders {
            match order {
                Order::Stop(id) => {
                    if let Some(handle) = handles.remove(&id) {
                        handle.abort();
                    }
                }
                Order::Ask(ask) => {
                    let (handle, registration) = AbortHandle::new_pair();
                    handles.insert(ask.id, handle);
                    let pulled = async move { (ask.id, pull(self, &ask).await) };
                    requests.push(Abortable::new(pulled, registration));
                }
            }
        }
        requests
    }

    /// Sources that were found. Those that are known by the hash alone may have only a part.
    fn add(&self, found: Newcomers) {
        let hash = self.store.borrow().tree().root();
        let mut swarm = self.swarm.borrow_mut();
        if let Some(own) = &found.own {
            swarm.is_at(own);
        }
        for source in found.sources.into_iter().filter(|source| source.hash() == Some(hash)) {
            let partial = source.request_url().path() == source.blob_url(hash, "").path();
            if let Some(index) = swarm.add(source)
                && partial
            {
                swarm.has(index, Some(Ranges::new()));
            }
        }
    }

    /// Asks a source which pieces it has. Says which source that was.
    async fn ask_have(&self, source: usize) -> usize {
        let (hash, size) = {
            let store = self.store.borrow();
            (store.tree().root(), store.tree().size())
        };
        let provider = self.swarm.borrow().sources().nth(source).map(|it| it.provider().clone());
        let Some(provider) = provider else { return source };
        let url = provider.blob_url(hash, "/have");
        let asked = timeout(HAVE_TIMEOUT, self.http.small(&url, Have::encoded_len(size) as u64));
        let answer = asked.await.unwrap_or(Err(Failure::Stalled));
        let have = answer.and_then(|bytes| Have::decode(&bytes, size).ok_or(Failure::Broken));
        match have {
            Ok(have) => {
                let groups = (!have.is_all()).then(|| self.store.borrow().groups_in(&have));
                self.swarm.borrow_mut().has(source, groups);
            }
            Err(failure) => self.swarm.borrow_mut().unheard(source, failure),
        }
        self.changed.notify_one();
        source
    }
}
