//! A share as it outlives the process.
//!
//! Always holds: what comes out of a record is what went in, or nothing. Never: vouches for the
//! file: that is looked at whenever it is opened.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ContentHash, FileName, FileStamp, Listed, Loss, ShareEntry, Verified};

/// A share in plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRecord {
    name: String,
    path: Vec<u8>,
    hash: [u8; 32],
    size: u64,
    stamp: FileStamp,
    url: String,
    copy: bool,
    /// 0 while it is served, 1 when its file had changed, 2 when that was gone.
    loss: u8,
    sha256: Option<[u8; 32]>,
}

impl ShareRecord {
    /// Of a share, served or not.
    pub fn of(listed: &Listed) -> Self {
        let entry = &listed.entry;
        Self {
            name: entry.name.as_str().to_owned(),
            path: entry.path.as_os_str().as_bytes().to_vec(),
            hash: *entry.verified.hash().as_bytes(),
            size: entry.verified.size(),
            stamp: entry.stamp,
            url: entry.url.clone(),
            copy: entry.copy,
            loss: match listed.loss {
                None => 0,
                Some(Loss::Changed) => 1,
                Some(Loss::Gone) => 2,
            },
            sha256: listed.sha256,
        }
    }

    /// The share; none if this makes no sense.
    pub fn listed(self) -> Option<Listed> {
        let path = PathBuf::from(OsString::from_vec(self.path));
        let name = FileName::parse(&self.name).ok()?;
        let loss = match self.loss {
            0 => None,
            1 => Some(Loss::Changed),
            2 => Some(Loss::Gone),
            _ => return None,
        };
        let verified = Verified::recorded(ContentHash::new(self.hash), self.size);
        let Self { stamp, url, copy, .. } = self;
        let sound = path.is_absolute() && stamp.size == self.size;
        sound.then_some(Listed {
            entry: ShareEntry { name, path, verified, stamp, url, copy },
            loss,
            sha256: self.sha256,
        })
    }
}
