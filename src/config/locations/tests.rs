//! The rules for places, in made-up surroundings.

use super::*;

fn around() -> Surroundings {
    Surroundings {
        data_home: Some(PathBuf::from("/nowhere/share")),
        runtime_dir: Some(PathBuf::from("/nowhere/run")),
        temp_dir: PathBuf::from("/nowhere/tmp"),
        hostname: "node7".to_owned(),
        uid: 1000,
    }
}

#[test]
fn the_data_folder_is_the_machines_own() {
    let found = Locations::among(None, None, &around()).unwrap();
    assert_eq!(found.data_dir, Path::new("/nowhere/share/kad-actor/node7"));
    for (hostname, folder) in [("a/../b", "a_.._b"), ("..", "localhost"), ("", "localhost")] {
        let odd = Surroundings { hostname: hostname.to_owned(), ..around() };
        let found = Locations::among(None, None, &odd).unwrap();
        assert_eq!(found.data_dir.file_name().unwrap(), folder, "{hostname}");
    }
    let homeless = Surroundings { data_home: None, ..around() };
    let error = Locations::among(None, None, &homeless).unwrap_err();
    assert!(matches!(error, ConfigError::NoHome), "{error}");
}

#[test]
fn a_long_path_falls_back_to_a_short_socket_of_its_own() {
    let at = |data_dir: &str, around: &Surroundings| {
        Locations::among(Some(Path::new(data_dir)), None, around).unwrap().socket
    };
    // "/nowhere/" + n + "/node.sock" has 19 bytes around the n.
    let longest = format!("/nowhere/{}", "d".repeat(MAX_SOCKET_PATH_BYTES - 19));
    assert_eq!(at(&longest, &around()), Path::new(&longest).join("node.sock"));

    let (one, two) = (format!("{longest}1"), format!("{longest}2"));
    let short = at(&one, &around());
    assert!(short.starts_with("/nowhere/run/kad-actor"), "{short:?}");
    assert_eq!(short, at(&one, &around()), "node and client agree");
    assert_ne!(short, at(&two, &around()), "two nodes do not meet");

    let bare = Surroundings { runtime_dir: None, ..around() };
    assert!(at(&one, &bare).starts_with("/nowhere/tmp/kad-actor-1000"));

    let socket = format!("{one}/node.sock");
    let error = Locations::among(None, Some(Path::new(&socket)), &around()).unwrap_err();
    assert!(
        matches!(error, ConfigError::SocketTooLong { .. }),
        "a path that was asked for is not swapped"
    );
}

#[test]
fn every_spelling_of_a_folder_is_the_same_folder() {
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().canonicalize().unwrap();
    std::fs::create_dir(real.join("real")).unwrap();
    std::os::unix::fs::symlink(real.join("real"), real.join("link")).unwrap();
    let find = |path: PathBuf| Locations::among(Some(&path), None, &around()).unwrap();
    let before = find(real.join("link/node"));
    assert_eq!(before.data_dir, real.join("real/node"));
    std::fs::create_dir(real.join("real/node")).unwrap();
    assert_eq!(find(real.join("link/../real/node/")), before, "and after it was created");
}
