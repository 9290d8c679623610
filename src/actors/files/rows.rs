//! How shares stand in the database: one row a name.
//!
//! Always holds: decoding is total. Never: changes what a version means: another layout gets
//! another version.

use std::future::Future;

use crate::content::{Listed, ShareRecord, Shares};
use crate::database::{Change, CommitError, Database, Table};

const VERSION: u8 = 2;
/// The same without the SHA-256 at its end.
const WITHOUT_SHA256: u8 = 1;

fn encode(listed: &Listed) -> Option<Vec<u8>> {
    postcard::to_extend(&ShareRecord::of(listed), vec![VERSION]).ok()
}

fn decode(row: &[u8]) -> Option<Listed> {
    let (version, row) = row.split_first()?;
    let record: ShareRecord = match *version {
        VERSION => postcard::from_bytes(row).ok()?,
        // Nothing is written down as one zero.
        WITHOUT_SHA256 => postcard::from_bytes(&[row, &[0]].concat()).ok()?,
        _ => return None,
    };
    record.listed()
}

/// Every share of an earlier run.
pub(super) fn load(database: &Database) -> Shares {
    let (mut shares, mut bad) = (Shares::new(), 0);
    let read = database.each(Table::Shares, b"", |_, row| match decode(row) {
        Some(listed) => shares.restore(listed),
        None => bad += 1,
    });
    if bad > 0 {
        log::warn!("{bad} shares of the node's state are unreadable and left out");
    }
    if let Err(error) = read {
        log::error!("{error}; shares that it could not read are left out");
    }
    shares
}

/// Makes a share durable as it stands on the list now, or that it no longer does.
pub(super) fn commit(
    database: &Database,
    name: &str,
    listed: Option<&Listed>,
) -> impl Future<Output = Result<(), CommitError>> + Send + 'static + use<> {
    database.commit(vec![change(name, listed)])
}

/// The same, for what nobody waits for.
pub(super) fn write_behind(database: &Database, name: &str, listed: Option<&Listed>) {
    // Without it, the next run finds out again.
    let _ = database.write_behind(vec![change(name, listed)]);
}

fn change(name: &str, listed: Option<&Listed>) -> Change {
    match listed.and_then(encode) {
        Some(row) => Change::put(Table::Shares, name.as_bytes(), row),
        None => Change::remove(Table::Shares, name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::content::{FileName, Hashed, Loss, ShareEntry, hash_in_place};

    proptest! {
        #[test]
        fn any_bytes_are_a_share_or_none(row in any::<Vec<u8>>()) {
            let _ = decode(&row);
        }
    }

    #[test]
    fn a_share_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("a file");
        fs::write(&path, "content").unwrap();
        let hashed = hash_in_place(&path, |_, _| std::ops::ControlFlow::Continue(()));
        let Hashed { verified, stamp, .. } = hashed.unwrap().unwrap();
        let name = FileName::parse("name").unwrap();
        let url = ShareEntry::url_of("http://10.0.0.1:1", &name, &verified);
        let entry = ShareEntry { name, path, verified, stamp, url, copy: false };
        for loss in [None, Some(Loss::Changed), Some(Loss::Gone)] {
            let mut listed = Listed { entry: entry.clone(), loss, sha256: None };
            let mut row = encode(&listed).unwrap();
            assert_eq!(decode(&row).as_ref(), Some(&listed));
            assert_eq!(decode(&row[..row.len() - 1]), None);
            row[0] = WITHOUT_SHA256;
            assert_eq!(decode(&row[..row.len() - 1]).as_ref(), Some(&listed));
            listed.sha256 = Some([7; 32]);
            assert_eq!(decode(&encode(&listed).unwrap()), Some(listed));
        }
        entry.open().unwrap();
    }
}
