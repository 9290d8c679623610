//! How each actor is built: the first time and anew, from what outlives it.
//!
//! Always holds: when a child is built, every link to it leads to the new one. Never: looks at what
//! became of the one before: that is lost, or durable.

use actix::Actor;
use rand::Rng;

use super::Supervisor;
use crate::actors::fetcher::{FetcherActor, FetcherConfig};
use crate::actors::files::FilesActor;
use crate::actors::flows;
use crate::actors::ipc::IpcActor;
use crate::actors::routing::RoutingActor;
use crate::actors::storage::StorageActor;
use crate::actors::vitals::{Child, Vitals};
use crate::kademlia::Node;

impl Supervisor {
    /// Builds a child and leads the links to it.
    pub(super) fn build(&mut self, child: Child) {
        let health = self.links.healths.of(child).clone();
        let shutdown = self.links.shutdown.clone();
        let vitals = Vitals::new(child, health, self.ends.clone(), shutdown);
        match child {
            Child::Storage => self.build_storage(vitals),
            Child::Routing => self.build_routing(vitals),
            Child::Files => self.build_files(vitals),
            Child::Fetcher => self.build_fetcher(vitals),
            Child::Ipc => self.build_ipc(vitals),
        }
    }

    fn build_storage(&self, vitals: Vitals) {
        let on_loopback = self.links.info.settings.on_loopback;
        let mut storage =
            StorageActor::new(self.links.database.clone(), self.parts.quota_bytes, on_loopback);
        storage.vitals = vitals;
        let storage = storage.start();
        self.links.store.lead_to(&storage);
        self.links.view_storage.lead_to(&storage);
    }

    fn build_routing(&mut self, vitals: Vitals) {
        let (parts, links) = (&mut self.parts, &self.links);
        let mut seed = [0; 32];
        // Drawn anew: request ids must not be those of an earlier life.
        parts.rng.fill_bytes(&mut seed);
        let node = Node::new(links.info.settings.clone(), parts.id, seed, parts.clock.now());
        let has_bootstrap = !links.info.bootstrap.is_empty();
        let (udp, store) = (parts.udp.clone(), links.store.clone());
        let mut routing = RoutingActor::new(parts.clock, node, udp, store, has_bootstrap);
        // Whoever knew somebody may soon know them again.
        routing.joining |= !flows::remembered(&links.database).is_empty();
        routing.vitals = vitals;
        let routing = routing.start();
        links.get.lead_to(&routing);
        links.put.lead_to(&routing);
        links.bootstrap.lead_to(&routing);
        links.observed.lead_to(&routing);
        links.reachable.lead_to(&routing);
        links.take_back.lead_to(&routing);
        links.trace.lead_to(&routing);
        links.audit.lead_to(&routing);
        links.view_routing.lead_to(&routing);
    }

    fn build_files(&self, vitals: Vitals) {
        let (copies, trees) = (self.parts.copies.clone(), self.parts.trees.clone());
        let mut files =
            FilesActor::new(self.links.database.clone(), copies, trees, self.parts.changes.clone());
        files.vitals = vitals;
        let files = files.start();
        self.links.share.lead_to(&files);
        self.links.share_stream.lead_to(&files);
        self.links.unshare.lead_to(&files);
        self.links.rebase.lead_to(&files);
        self.links.list_shares.lead_to(&files);
        self.links.count_shares.lead_to(&files);
        self.links.find_share.lead_to(&files);
        self.links.find_served.lead_to(&files);
        self.links.offer_pieces.lead_to(&files);
        self.links.wanted_mirrors.lead_to(&files);
        self.links.tell_mirrors.lead_to(&files);
        self.links.withdraw.lead_to(&files);
    }

    fn build_fetcher(&mut self, vitals: Vitals) {
        let config = FetcherConfig {
            seed: self.parts.rng.next_u64(),
            offer: Some(self.links.offer_pieces.clone()),
            ..self.parts.fetcher.clone()
        };
        let fetcher = FetcherActor::start_in_arbiter(&self.downloads.handle(), |_| {
            let mut fetcher = FetcherActor::new(config);
            fetcher.vitals = vitals;
            fetcher
        });
        let links = &self.links;
        links.fetch.lead_to(&fetcher);
        links.enlist.lead_to(&fetcher);
        links.settle.lead_to(&fetcher);
        links.list_transfers.lead_to(&fetcher);
        links.cancel_transfer.lead_to(&fetcher);
        links.probe.lead_to(&fetcher);
        links.count_downloads.lead_to(&fetcher);
    }

    fn build_ipc(&mut self, vitals: Vitals) {
        let mut ipc = IpcActor::new(self.parts.ipc.clone(), self.execute.clone());
        ipc.vitals = vitals;
        self.ipc = Some(ipc.start());
    }
}
