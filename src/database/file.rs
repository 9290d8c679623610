//! The database file: opened, brought to the schema of this program, read, and written a group of
//! changes at a time.
//!
//! Always holds: a group is written whole or not at all, and is synced when its writing returns;
//! after a kill the file opens without being read through. Never: opens what a newer program
//! wrote, or makes anew what is damaged.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};

use super::trial::Trial;
use super::{CommitError, DatabaseError, Downtime, Table};
use crate::clock::{Clock, Mark};
use crate::kademlia::Timestamp;

/// Pages kept in memory: the upper levels of the trees. Rows are read once, at the start.
const CACHE_BYTES: usize = 2 * 1024 * 1024;
/// What the file says of itself.
const META: Definition = TableDefinition::new("meta");
const SCHEMA_ROW: &[u8] = b"schema";
const MARK_ROW: &[u8] = b"last_alive";
const MARK_BYTES: usize = 40;

/// Each lifts a file by one schema; an empty file has schema 0.
const STEPS: &[Step] = &[make_tables];

type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The table and the key of a row.
pub(super) type Name = (Table, Box<[u8]>);
/// Changes by the row they are about: the last one counts.
pub(super) type Rows = BTreeMap<Name, Option<Bytes>>;

impl Table {
    const ALL: [Self; 4] = [Self::Node, Self::Values, Self::Shares, Self::Downloads];

    const fn definition(self) -> Definition {
        TableDefinition::new(match self {
            Self::Node => "node",
            Self::Values => "values",
            Self::Shares => "shares",
            Self::Downloads => "downloads",
        })
    }
}

/// An open file. After a failure to write, redb's handle is of no further use: it is opened again.
pub(super) struct StateFile {
    path: PathBuf,
    open: Box<dyn Fn() -> Result<redb::Database, redb::Error> + Send + Sync>,
    redb: RwLock<Option<redb::Database>>,
}

/// A file, and what it says of the run before.
pub(super) struct Opened {
    pub(super) file: StateFile,
    pub(super) clock: Clock,
    pub(super) downtime: Downtime,
}

impl StateFile {
    pub(super) fn open(path: &Path) -> Result<Opened, DatabaseError> {
        let unusable = |error| DatabaseError::Io { path: path.to_owned(), error };
        if !path.try_exists().map_err(unusable)? {
            // Under another name until it is whole: one that is half made would pass for damaged.
            let new = path.with_extension("new");
            if let Err(error) = fs::remove_file(&new)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(unusable(error));
            }
            Self::at(&new)?.file.close();
            fs::rename(&new, path).map_err(unusable)?;
            // That the file is there must survive as well.
            let folder = path.parent().unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
        }
        Self::at(path)
    }

    fn at(path: &Path) -> Result<Opened, DatabaseError> {
        let of = path.to_owned();
        Self::on(path, move || {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
            Ok(FileBackend::new(file.open(&of)?)?)
        })
    }

    /// On any backend; `make` is called again after a failure.
    pub(super) fn on<B: StorageBackend>(
        path: &Path,
        make: impl Fn() -> Result<B, redb::Error> + Send + Sync + 'static,
    ) -> Result<Opened, DatabaseError> {
        let make = Arc::new(make);
        let file = make().map_err(|error| told(path, error))?;
        let looked = unwound(|| {
            // A file that is just being made has nothing that could be lost.
            if file.len()? > 0 { look(Trial::new(file)?) } else { Ok(0) }
        });
        let found = looked.map_err(|error| told(path, error))?;
        let known = STEPS.len() as u32;
        if found > known {
            return Err(DatabaseError::Newer { path: path.to_owned(), found, known });
        }
        let open = move || Ok(builder().create_with_backend(make()?)?);
        let opened = unwound(|| {
            let redb = open()?;
            lift(&redb, schema(&redb)?)?;
            let mark = meta(&redb, MARK_ROW)?.and_then(|row| decode_mark(&row));
            Ok((redb, mark))
        });
        let (redb, mark) = opened.map_err(|error| told(path, error))?;
        let path = path.to_owned();
        let clock = mark.as_ref().map_or_else(Clock::start, Clock::go_on);
        let began = clock.started();
        let downtime = Downtime { ended: mark.map_or(began, |mark| mark.time), began };
        let file = Self { path, open: Box::new(open), redb: RwLock::new(Some(redb)) };
        Ok(Opened { file, clock, downtime })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it is now: later commits don't show in it.
    pub(super) fn view(&self) -> Result<View<'_>, DatabaseError> {
        let redb = self.redb.read().unwrap_or_else(PoisonError::into_inner);
        let begun = match redb.as_ref() {
            Some(redb) => redb.begin_read().map_err(redb::Error::from),
            None => Err(redb::Error::PreviousIo),
        };
        let read = begun.map_err(|error| told(&self.path, error))?;
        Ok(View { path: &self.path, read, _open: redb })
    }

    /// Writes a group, all or nothing; it is synced when this returns.
    pub(super) fn write(&self, rows: &Rows, mark: &Mark) -> Result<(), CommitError> {
        let written = {
            let redb = self.redb.read().unwrap_or_else(PoisonError::into_inner);
            redb.as_ref().map(|redb| unwound(|| write(redb, rows, mark)))
        };
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.reopen();
                Err(failure(&error))
            }
            None if self.reopen() => self.write(rows, mark),
            None => Err(CommitError { full: false, why: "it cannot be opened again".to_owned() }),
        }
    }

    fn reopen(&self) -> bool {
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        // Its locks must be gone before the file is opened anew.
        drop(redb.take());
        match unwound(|| (self.open)()) {
            Ok(opened) => *redb = Some(opened),
            Err(error) => log::info!("{} cannot be opened again: {error}", self.path.display()),
        }
        redb.is_some()
    }

    pub(super) fn close(&self) {
        let redb = self.redb.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = redb.map(|redb| unwound(|| Ok(redb.close()?))) {
            log::warn!("{} was not closed cleanly: {error}", self.path.display());
        }
    }
}

/// The committed rows at one moment.
pub(super) struct View<'a> {
    path: &'a Path,
    read: redb::ReadTransaction,
    _open: RwLockReadGuard<'a, Option<redb::Database>>,
}

impl View<'_> {
    /// Shows every row whose key begins so, in the order of their keys.
    pub(super) fn each(
        &self,
        table: Table,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), DatabaseError> {
        let shown = unwound(|| {
            let table = self.read.open_table(table.definition())?;
            for row in table.range(prefix..)? {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                visit(key.value(), value.value());
            }
            Ok(())
        });
        shown.map_err(|error| told(self.path, error))
    }
}

fn write(redb: &redb::Database, rows: &Rows, mark: &Mark) -> Result<(), redb::Error> {
    let mut write = redb.begin_write()?;
    // Each commit syncs twice for it, and a restart after a kill need not walk the whole file.
    write.set_quick_repair(true);
    for name in Table::ALL {
        let of_table = (name, Box::default())..;
        let mut rows = rows.range(of_table).take_while(|((table, _), _)| *table == name).peekable();
        if rows.peek().is_none() {
            continue;
        }
        let mut table = write.open_table(name.definition())?;
        for ((_, key), value) in rows {
            match value {
                Some(value) => drop(table.insert(key.as_ref(), value.as_ref())?),
                None => drop(table.remove(key.as_ref())?),
            }
        }
    }
    write.open_table(META)?.insert(MARK_ROW, encode_mark(mark).as_slice())?;
    Ok(write.commit()?)
}

fn meta(redb: &redb::Database, row: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    let read = redb.begin_read()?;
    match read.open_table(META) {
        Ok(table) => Ok(table.get(row)?.map(|value| value.value().to_owned())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// 0 for a file that is new.
fn schema(redb: &redb::Database) -> Result<u32, redb::Error> {
    match meta(redb, SCHEMA_ROW)? {
        Some(row) => row
            .as_slice()
            .try_into()
            .map(u32::from_le_bytes)
            .map_err(|_| redb::Error::Corrupted("its schema is unreadable".to_owned())),
        None if redb.begin_read()?.list_tables()?.next().is_none() => Ok(0),
        None => Err(redb::Error::Corrupted("it is the database of another program".to_owned())),
    }
}

/// Brings an older file to this program's schema, all steps or none.
fn lift(redb: &redb::Database, from: u32) -> Result<(), redb::Error> {
    if from as usize == STEPS.len() {
        return Ok(());
    }
    let mut write = redb.begin_write()?;
    write.set_quick_repair(true);
    for step in STEPS.iter().skip(from as usize) {
        step(&write)?;
    }
    let schema = (STEPS.len() as u32).to_le_bytes();
    write.open_table(META)?.insert(SCHEMA_ROW, schema.as_slice())?;
    Ok(write.commit()?)
}

fn make_tables(write: &WriteTransaction) -> Result<(), redb::Error> {
    for table in Table::ALL {
        write.open_table(table.definition())?;
    }
    Ok(())
}

/// The schema of a file, after finding out whether every row can be read: later, an actor would
/// stand there without its state.
fn look(file: impl StorageBackend) -> Result<u32, redb::Error> {
    let redb = builder().create_with_backend(file)?;
    let found = schema(&redb)?;
    if (1..=STEPS.len() as u32).contains(&found) {
        let read = redb.begin_read()?;
        for table in Table::ALL {
            for row in read.open_table(table.definition())?.iter()? {
                let (key, value) = row?;
                // Where they lie in their page is found out only now.
                let _ = (key.value(), value.value());
            }
        }
    }
    Ok(found)
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A damaged file makes redb panic here and there.
fn unwound<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(redb::Error::Corrupted(format!("reading it broke off: {}", said(panic.as_ref()))))
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

fn told(path: &Path, error: redb::Error) -> DatabaseError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            DatabaseError::Io { path, error }
        }
        error => DatabaseError::Damaged { path, why: error.to_string() },
    }
}

fn failure(error: &redb::Error) -> CommitError {
    let full = matches!(error, redb::Error::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    ));
    CommitError { full, why: error.to_string() }
}

fn encode_mark(mark: &Mark) -> [u8; MARK_BYTES] {
    let mut row = [0; MARK_BYTES];
    row[..8].copy_from_slice(&mark.time.as_micros().to_le_bytes());
    row[8..16].copy_from_slice(&mark.wall_micros.to_le_bytes());
    row[16..24].copy_from_slice(&mark.since_boot_micros.to_le_bytes());
    row[24..].copy_from_slice(&mark.boot.to_le_bytes());
    row
}

fn decode_mark(row: &[u8]) -> Option<Mark> {
    let row: &[u8; MARK_BYTES] = row.try_into().ok()?;
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&row[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let mut boot = [0; 16];
    boot.copy_from_slice(&row[24..]);
    Some(Mark {
        time: Timestamp::from_micros(number(0)),
        wall_micros: number(8),
        since_boot_micros: number(16),
        boot: u128::from_le_bytes(boot),
    })
}
