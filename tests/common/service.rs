//! The file service on a free port, before real files in a temporary folder.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_web::dev::ServerHandle;
use kad_actor::actors::file_service;
use kad_actor::actors::files::FilesActor;
use kad_actor::actors::link::{Link, Load};
use kad_actor::actors::messages::{EventSink, Keeping, Share, Shared};
use kad_actor::actors::vitals::Health;
use kad_actor::clock::Clock;
use kad_actor::content::{Changes, Copies, FileName, Trees};
use kad_actor::database::Database;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::http::{Answer, ask};

/// What must never be seen by anybody.
pub(crate) const CANARY: &[u8] = b"canary-5f1d";

pub(crate) struct Service {
    pub(crate) files: Addr<FilesActor>,
    pub(crate) address: SocketAddr,
    /// The same socket that the server listens on.
    pub(crate) listener: TcpListener,
    server: ServerHandle,
    pub(crate) dir: PathBuf,
    _dir: TempDir,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::start_on([127, 0, 0, 1])
    }

    pub(crate) fn start_on(ip: [u8; 4]) -> Self {
        Self::start_with(ip, None)
    }

    pub(crate) fn start_with(ip: [u8; 4], limit: Option<NonZeroU64>) -> Self {
        let listener = TcpListener::bind((IpAddr::from(ip), 0)).unwrap();
        let address = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()).into();
        let settings = listener.try_clone().unwrap();
        let temporary = TempDir::new().unwrap();
        let copies = Copies::new(temporary.path().join("copies"), None);
        let database = Database::open(&temporary.path().join("state.redb")).unwrap();
        let changes = Changes::default();
        let trees = Trees::new(temporary.path().join("trees"));
        let files = FilesActor::new(database, copies, trees.clone(), changes.clone()).start();
        let find = Link::new(&Load::new(64));
        find.lead_to(&files);
        let withdraw = files.clone().recipient();
        let health = Health::new("http", Clock::start());
        let shared = file_service::Shared { find, withdraw, trees, changes, limit };
        let server = file_service::serve(listener, shared, health).unwrap();
        let handle = server.handle();
        actix::spawn(server);
        let dir = temporary.path().canonicalize().unwrap();
        fs::write(dir.join("canary"), CANARY).unwrap();
        Self { files, address, listener: settings, server: handle, dir, _dir: temporary }
    }

    pub(crate) async fn share(&self, name: &str, content: &[u8]) -> Shared {
        let path = self.dir.join("shared");
        fs::create_dir_all(&path).unwrap();
        let path = path.join(name);
        fs::write(&path, content).unwrap();
        let share = Share {
            path,
            name: Some(FileName::parse(name).unwrap()),
            base: format!("http://{}", self.address),
            verified: None,
            tree: None,
            keeping: Keeping::InPlace,
            events: EventSink::none(),
            cancel: CancellationToken::new(),
        };
        let shared = self.files.send(share).await.unwrap().unwrap();
        // Older kernels stamp files with the time of their last tick.
        tokio::time::sleep(Duration::from_millis(25)).await;
        shared
    }

    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.dir.join("shared").join(name)
    }

    pub(crate) async fn get(&self, target: &str, headers: &[&str]) -> Answer {
        ask(self.address, "GET", target, headers).await
    }

    pub(crate) async fn stop(self) {
        self.server.stop(false).await;
    }
}
