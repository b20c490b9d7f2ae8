//! Who may change or read a file that decides who a program is.

use std::path::Path;

/// Why others than the owner and the group may change what is at a path, for an error; `None` if they may not, or if it cannot
/// be seen. Everybody can replace a file or a link that lies below a folder to which everybody may write, unless the folder is
/// sticky.
#[must_use]
pub fn writable_by_others(path: impl AsRef<Path>) -> Option<String> {
    let path = path.as_ref();
    if mode(path)? & OTHERS_WRITE != 0 {
        return Some("everybody may write to it; take that away with `chmod o-w`".to_owned());
    }
    let (named, real) = (std::path::absolute(path).ok()?, path.canonicalize().ok()?);
    let mut folders = named.ancestors().skip(1).chain(real.ancestors().skip(1));
    let is_open = |folder: &&Path| mode(folder).is_some_and(|it| it & OTHERS_WRITE != 0 && it & STICKY == 0);
    folders.find(is_open).map(|folder| {
        format!(
            "everybody may replace it, because everybody may write to the folder {}; use another folder",
            crate::shown_path(folder)
        )
    })
}

/// Whether others than the owner and the group may read a file.
#[must_use]
pub fn readable_by_others(path: impl AsRef<Path>) -> bool {
    mode(path.as_ref()).is_some_and(|mode| mode & OTHERS_READ != 0)
}

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::metadata(path).ok()?.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn others_are_who_is_neither_owner_nor_group() {
        let folder = std::env::temp_dir().join(format!("vertex-chat-permissions-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key.json");
        std::fs::write(&path, "").unwrap();
        let set = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (own, of_folder, writable, readable) in [
            (0o600, 0o700, false, false),
            (0o644, 0o755, false, true),
            (0o660, 0o770, false, false),
            (0o666, 0o700, true, true),
            (0o602, 0o700, true, false),
            (0o600, 0o777, true, false),
            (0o600, 0o1777, false, false),
        ] {
            set(&path, own);
            set(&folder, of_folder);
            assert_eq!(writable_by_others(&path).is_some(), writable, "{own:o} in {of_folder:o}");
            assert_eq!(readable_by_others(&path), readable, "{own:o}");
        }
        assert_eq!(writable_by_others(folder.join("nothing")), None);
        // A folder above it, and a link to it.
        let below = folder.join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("key.json"), "").unwrap();
        set(&below.join("key.json"), 0o600);
        set(&folder, 0o700);
        std::os::unix::fs::symlink(below.join("key.json"), folder.join("link.json")).unwrap();
        assert_eq!(writable_by_others(folder.join("link.json")), None);
        set(&folder.join("a"), 0o777);
        assert!(writable_by_others(below.join("key.json")).unwrap().contains("folder"));
        assert!(writable_by_others(folder.join("link.json")).is_some());
        set(&folder.join("a"), 0o755);
        set(&folder, 0o777);
        assert!(writable_by_others(folder.join("link.json")).is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
