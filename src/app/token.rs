//! The token of the admin API: made at the first start, kept afterwards.
//!
//! Always holds: the file is the user's own and nobody else can read it, or the token in it is none:
//! one that others may have seen, or chosen, is replaced by a new one. Never: follows a link, or
//! logs a token.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::http::{TOKEN_BYTES, Token};

/// Its file, beneath the data dir: 64 hexadecimal digits and a newline.
const FILE: &str = "admin.token";
/// A token is written here first, so that its file is whole whenever it is there.
const NEW_FILE: &str = "admin.token.new";

/// The token in the data dir; with none there that can be trusted, a new one is made of these
/// bytes.
pub(super) fn token(data_dir: &Path, fresh: [u8; TOKEN_BYTES]) -> io::Result<Token> {
    let path = data_dir.join(FILE);
    match read(&path) {
        Ok(text) => return Ok(Token::of(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::warn!(
            "{}: {error}: it is replaced by a new token, and the old one opens nothing any more",
            path.display()
        ),
    }
    let text = hex::encode(fresh);
    write(data_dir, &text)?;
    Ok(Token::of(&text))
}

fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("not a file of this user's"));
    }
    if about.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read or write it"));
    }
    let mut text = String::new();
    file.take(2 * TOKEN_BYTES as u64 + 2).read_to_string(&mut text)?;
    let digits = text.trim_end_matches('\n');
    let mut bytes = [0; TOKEN_BYTES];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| io::Error::other("its content is no token"))?;
    Ok(digits.to_owned())
}

fn write(data_dir: &Path, text: &str) -> io::Result<()> {
    let new = data_dir.join(NEW_FILE);
    // Left by a node that was killed while it wrote.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&new, data_dir.join(FILE))?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const KEPT: [u8; TOKEN_BYTES] = [1; TOKEN_BYTES];
    const FRESH: [u8; TOKEN_BYTES] = [2; TOKEN_BYTES];

    fn assert_holds(folder: &Path, bytes: [u8; TOKEN_BYTES]) {
        let path = folder.join(FILE);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", hex::encode(bytes)));
        let about = fs::symlink_metadata(&path).unwrap();
        assert!(about.is_file());
        assert_eq!(about.mode() & 0o7777, 0o600);
        assert!(!folder.join(NEW_FILE).exists());
    }

    #[test]
    fn it_is_made_once_and_kept() {
        let home = tempfile::tempdir().unwrap();
        // Half of one, left by a node that was killed.
        fs::write(home.path().join(NEW_FILE), "0").unwrap();
        token(home.path(), KEPT).unwrap();
        assert_holds(home.path(), KEPT);
        token(home.path(), FRESH).unwrap();
        assert_holds(home.path(), KEPT);
    }

    #[test]
    fn what_others_may_have_seen_or_chosen_is_replaced() {
        type Spoil = fn(&Path);
        let spoils: [(&str, Spoil); 8] = [
            ("readable by others", |path| chmod(path, 0o604)),
            ("readable by the group", |path| chmod(path, 0o640)),
            ("writable by others", |path| chmod(path, 0o602)),
            ("empty", |path| fs::write(path, "").unwrap()),
            ("short", |path| fs::write(path, "ab\n").unwrap()),
            ("long", |path| fs::write(path, "ab".repeat(33)).unwrap()),
            ("no digits", |path| fs::write(path, [0xff; 64]).unwrap()),
            ("a link", |path| {
                let elsewhere = path.with_file_name("elsewhere");
                fs::rename(path, &elsewhere).unwrap();
                symlink(elsewhere, path).unwrap();
            }),
        ];
        for (what, spoil) in spoils {
            let home = tempfile::tempdir().unwrap();
            token(home.path(), KEPT).unwrap();
            spoil(&home.path().join(FILE));
            token(home.path(), FRESH).unwrap();
            println!("{what}");
            assert_holds(home.path(), FRESH);
        }
    }

    #[test]
    fn where_it_cannot_be_written_there_is_none() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(FILE).join("full")).unwrap();
        assert!(token(home.path(), FRESH).is_err());
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}
