//! What a database promises when the power goes, when the disk is full, and when its file is not
//! what it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use redb::StorageBackend;

use super::*;

/// Seeds of the test that cuts the power.
const POWER_CUTS: u64 = 500;
/// The disk keeps or loses this much at once.
const SECTOR: usize = 512;

/// A disk with a cache that it loses when the power goes: what was not synced may be there whole,
/// in part or not at all, in any order.
#[derive(Debug, Default)]
struct Disk {
    synced: Vec<u8>,
    cached: Vec<u8>,
    /// Since the last sync: where something was written, and how long the file was made.
    writes: Vec<Write>,
    /// Writes, syncs and changes of length until the power goes.
    left: Option<u64>,
    /// Takes no more than it has ever held.
    full: bool,
    held: usize,
    /// Takes nothing.
    broken: bool,
}

#[derive(Debug)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Clone, Default)]
struct Drive(Arc<Mutex<Disk>>);

impl Drive {
    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as it is after the power was cut.
    fn after_power_cut(&self, rng: &mut ChaCha8Rng) -> Self {
        let disk = self.disk();
        let mut survived = disk.synced.clone();
        // A cache may write everything back, nothing, or anything between, in any order.
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        for write in &disk.writes {
            match write {
                Write::Length(length) if rng.random_bool(kept) => survived.resize(*length, 0),
                Write::Length(_) => {}
                Write::Bytes(at, bytes) => {
                    let sectors = bytes.chunks(SECTOR).enumerate();
                    for (index, sector) in sectors.filter(|_| rng.random_bool(kept)) {
                        let at = at + index * SECTOR;
                        let end = at + sector.len();
                        if survived.len() < end {
                            survived.resize(end, 0);
                        }
                        survived[at..end].copy_from_slice(sector);
                    }
                }
            }
        }
        let disk = Disk { cached: survived.clone(), synced: survived, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn open(&self) -> Result<Database, DatabaseError> {
        let drive = self.clone();
        Database::on(StateFile::on(Path::new("disk"), move || Ok(drive.clone()))?)
    }
}

impl Disk {
    fn act(&mut self, end: usize) -> Result<(), io::Error> {
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Err(io::Error::other("the power is off"));
            }
            *left -= 1;
        }
        if self.broken || (self.full && end > self.held) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.held = self.held.max(end);
        Ok(())
    }
}

impl StorageBackend for Drive {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.disk().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.disk();
        let at = offset as usize;
        let bytes = disk.cached.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut disk = self.disk();
        disk.act(0)?;
        disk.cached.resize(len as usize, 0);
        disk.writes.push(Write::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut disk = self.disk();
        disk.act(0)?;
        disk.synced = disk.cached.clone();
        disk.writes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = self.disk();
        let at = offset as usize;
        disk.act(at + data.len())?;
        disk.cached[at..at + data.len()].copy_from_slice(data);
        disk.writes.push(Write::Bytes(at, data.to_vec()));
        Ok(())
    }
}

fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Change {
    Change::put(Table::Values, key.into(), value.into())
}

fn rows(database: &Database) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    database
        .each(Table::Values, b"", |key, value| {
            assert_eq!(rows.insert(key.to_owned(), value.to_owned()), None, "shown twice");
        })
        .unwrap();
    rows
}

/// Writes until the power goes; which rows were promised, and which of those that were not might
/// be there.
fn write_until_dark(
    database: &Database,
    rng: &mut ChaCha8Rng,
    promised: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>,
) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    for round in 0u32.. {
        let mut changes = BTreeMap::new();
        for _ in 0..rng.random_range(1..6) {
            let key = vec![rng.random_range(0..40)];
            let long = vec![round as u8; rng.random_range(1..3_000)];
            changes.insert(key, rng.random_bool(0.8).then_some(long));
        }
        let group = changes.iter().map(|(key, value)| match value {
            Some(value) => put(key.clone(), value.clone()),
            None => Change::remove(Table::Values, key.clone()),
        });
        match database.commit_now(group.collect()) {
            Ok(()) => promised.extend(changes),
            Err(_) => return changes,
        }
    }
    unreachable!("the power goes some time");
}

#[test]
fn what_was_promised_is_there_after_the_power_was_cut() {
    let (mut commits, mut cuts_at_start) = (0, 0);
    for seed in 0..POWER_CUTS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut drive = Drive::default();
        let mut promised = BTreeMap::new();
        // A file gets its name when it is whole.
        drop(drive.open().unwrap());
        // Several cuts one after the other, of which some come while it is repaired.
        for _ in 0..3 {
            drive.disk().left = Some(rng.random_range(0..150));
            let mut last = BTreeMap::new();
            match drive.open() {
                Ok(database) => last = write_until_dark(&database, &mut rng, &mut promised),
                Err(_) => cuts_at_start += 1,
            }
            drive = drive.after_power_cut(&mut rng);
            let database = drive.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = rows(&database);
            commits += promised.len();
            let all = |wanted: &BTreeMap<Vec<u8>, Option<Vec<u8>>>| {
                wanted.iter().all(|(key, value)| found.get(key) == value.as_ref())
            };
            let mut also = promised.clone();
            also.extend(last.clone());
            assert!(all(&promised) || all(&also), "seed {seed}: lost, or a group in part");
            if all(&also) {
                promised = also;
            }
        }
    }
    assert!(commits > 1_000 && cuts_at_start > 10, "{commits} rows, {cuts_at_start} cut starts");
}

#[test]
fn a_disk_without_sync_is_found_out() {
    // The test above must be able to fail: here syncs are promised and not made.
    #[derive(Debug, Clone)]
    struct Lying(Drive);

    impl StorageBackend for Lying {
        fn len(&self) -> Result<u64, io::Error> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.0.set_len(len)
        }
        fn sync_data(&self) -> Result<(), io::Error> {
            Ok(())
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.0.write(offset, data)
        }
    }

    let lost = (0..50).any(|seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let drive = Drive::default();
        let lying = Lying(drive.clone());
        let opened = StateFile::on(Path::new("disk"), move || Ok(lying.clone())).unwrap();
        let database = Database::on(opened).unwrap();
        drive.disk().left = Some(rng.random_range(20..80));
        let mut promised = BTreeMap::new();
        write_until_dark(&database, &mut rng, &mut promised);
        let again = drive.after_power_cut(&mut rng).open();
        again.map_or(true, |again| {
            let found = rows(&again);
            promised.iter().any(|(key, value)| found.get(key) != value.as_ref())
        })
    });
    assert!(lost, "a disk that never syncs lost nothing");
}

#[test]
fn a_full_disk_fails_commits_and_keeps_what_is_written_behind() {
    let drive = Drive::default();
    let database = drive.open().unwrap();
    database.commit_now(vec![put("before", "1")]).unwrap();
    drive.disk().full = true;
    let large = vec![3; 3 << 20];
    let error = database.commit_now(vec![put("asked", large.clone())]).unwrap_err();
    assert!(error.full, "{error}");
    assert!(database.write_behind(vec![put("behind", large.clone())]));
    assert!(database.commit_now(vec![put("before", "lost")]).is_err());
    let health = database.health();
    assert!(health.failing.is_some() && health.backlog_bytes > 0, "{health:?}");
    let seen = rows(&database);
    assert!(seen.get(b"behind".as_slice()) == Some(&large), "what waits is shown");
    assert_eq!(seen.get(b"before".as_slice()), Some(&b"1".to_vec()));

    drive.disk().full = false;
    database.commit_now(Vec::new()).unwrap();
    assert_eq!(database.health().failing, None);
    assert!(rows(&database) == seen, "and so it is when it is written");
}

#[test]
fn a_disk_that_fails_is_written_to_again_by_itself() {
    let drive = Drive::default();
    let database = drive.open().unwrap();
    drive.disk().broken = true;
    assert!(database.write_behind(vec![put("behind", "3")]));
    let clock = database.clock();
    let wait_for = |what: &str, condition: &dyn Fn() -> bool| {
        while !condition() {
            let waited = clock.now().since(clock.started());
            assert!(waited.as_secs() < 60, "in vain: {what}");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    wait_for("a failure", &|| database.health().failing.is_some());
    drive.disk().broken = false;
    wait_for("recovery", &|| database.health().failing.is_none());
    assert_eq!(database.health().backlog_bytes, 0);
}

#[test]
fn what_waits_is_bounded_and_a_repeat_costs_nothing() {
    let drive = Drive::default();
    let database = drive.open().unwrap();
    drive.disk().broken = true;
    let _ = database.commit_now(vec![put("x", "y")]);
    for _ in 0..100_000 {
        assert!(database.write_behind(vec![put("same", vec![0; 1_000])]));
    }
    let taken = (0..100_000u32)
        .take_while(|number| database.write_behind(vec![put(number.to_le_bytes(), vec![0; 1_000])]))
        .count();
    assert!((5_000..10_000).contains(&taken), "{taken}");
    assert!(!database.has_room());
    assert!(database.health().backlog_bytes < 9_000_000);
}

#[test]
fn a_later_change_wins_whichever_way_it_went() {
    let drive = Drive::default();
    let database = drive.open().unwrap();
    assert!(database.write_behind(vec![put("a", "1"), put("b", "1")]));
    database.commit_now(vec![put("a", "2"), put("c", "1")]).unwrap();
    assert!(database.write_behind(vec![put("c", "2"), Change::remove(Table::Values, *b"b")]));
    for _ in 0..2 {
        let expected = [("a", "2"), ("c", "2")];
        let expected = expected.map(|(key, value)| (key.into(), value.into()));
        assert_eq!(rows(&database), expected.into());
        database.commit_now(Vec::new()).unwrap();
    }
}

#[test]
fn commits_that_come_together_are_one_group() {
    let drive = Drive::default();
    let database = drive.open().unwrap();
    let wanted: Vec<_> =
        (0..200u32).map(|key| database.commit(vec![put(key.to_le_bytes(), "v")])).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for done in wanted {
        runtime.block_on(done).unwrap();
    }
    assert_eq!(rows(&database).len(), 200);
    assert!(database.health().commits < 100, "{:?}", database.health());
}

#[test]
fn the_file_is_its_owners_alone_and_survives_closing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let database = Database::open(&path).unwrap();
    assert!(database.write_behind(vec![put("k", "v")]));
    let clone = database.clone();
    database.close();
    assert!(clone.commit_now(vec![put("k", "late")]).is_err(), "it is closed");
    assert!(!clone.write_behind(vec![put("k", "late")]));
    drop((database, clone));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let database = Database::open(&path).unwrap();
    assert_eq!(database.row(Table::Values, b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(database.row(Table::Shares, b"k").unwrap(), None);
    let Downtime { ended, began } = database.downtime();
    assert!(began >= ended && began.since(ended).as_secs() < 60, "{ended:?} {began:?}");
}

/// Writes the schema that stands in a file, as a later program would have.
fn set_schema(path: &Path, schema: &[u8]) {
    let redb = redb::Database::create(path).unwrap();
    let write = redb.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("meta");
    write.open_table(meta).unwrap().insert(b"schema".as_slice(), schema).unwrap();
    write.commit().unwrap();
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_an_older_one_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    Database::open(&path).unwrap().commit_now(vec![put("k", "v")]).unwrap();
    set_schema(&path, &7u32.to_le_bytes());
    let error = Database::open(&path).unwrap_err();
    assert!(matches!(error, DatabaseError::Newer { found: 7, .. }), "{error}");
    assert!(error.to_string().contains("newer kad-actor"), "{error}");
    // Schema 0 has no tables yet; the steps leave those that are there.
    set_schema(&path, &0u32.to_le_bytes());
    let database = Database::open(&path).unwrap();
    assert_eq!(database.row(Table::Values, b"k").unwrap(), Some(b"v".to_vec()));
    drop(database);
    set_schema(&path, b"?");
    assert!(matches!(Database::open(&path), Err(DatabaseError::Damaged { .. })));
}

#[test]
fn a_damaged_file_is_named_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let database = Database::open(&path).unwrap();
    let many = (0..2_000u32).map(|key| put(key.to_be_bytes(), vec![7; 100]));
    database.commit_now(many.collect()).unwrap();
    drop(database);
    let sound = fs::read(&path).unwrap();
    let mut refused = 0;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let garbage = [b"not a database".to_vec(), vec![0; 8_192], sound[..sound.len() / 3].to_vec()];
    let flipped = (0..200).map(|_| {
        let mut bytes = sound.clone();
        let at = rng.random_range(0..bytes.len() - 64);
        bytes[at..at + 64].fill(0xa5);
        bytes
    });
    for (number, bytes) in garbage.into_iter().chain(flipped).enumerate() {
        fs::write(&path, &bytes).unwrap();
        match Database::open(&path) {
            // Not every byte matters, and then all rows can be shown.
            Ok(database) => {
                let mut shown = 0;
                database.each(Table::Values, b"", |_, _| shown += 1).unwrap();
                assert!(number >= 3 && shown > 1_000, "{number}: {shown}");
            }
            Err(error) => {
                assert!(matches!(error, DatabaseError::Damaged { .. }), "{number}: {error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
                assert_eq!(error.to_string().lines().count(), 1, "{error}");
                assert!(fs::read(&path).unwrap() == bytes, "{number}: touched: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let redb = redb::Database::create(&path).unwrap();
    let write = redb.begin_write().unwrap();
    let foreign: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("theirs");
    write.open_table(foreign).unwrap().insert(1, 2).unwrap();
    write.commit().unwrap();
    drop(redb);
    let error = Database::open(&path).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn readers_never_miss_a_row_while_it_is_written() {
    let drive = Drive::default();
    let database = drive.open().unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for key in 0..2_000u32 {
                assert!(database.write_behind(vec![put(key.to_be_bytes(), "v")]));
                if key % 50 == 0 {
                    database.commit_now(Vec::new()).unwrap();
                }
            }
            ended.store(true, Ordering::Release);
        });
        let mut seen = BTreeSet::new();
        while !ended.load(Ordering::Acquire) {
            let now: BTreeSet<_> = rows(&database).into_keys().collect();
            assert!(now.is_superset(&seen), "a row was gone for a moment");
            seen = now;
        }
    });
}
