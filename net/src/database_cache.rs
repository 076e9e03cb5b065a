//! Keeps compiled triggers on disk, so that a start does not compile them anew: one file for each set of patterns.
//!
//! The directory is systemd's `CACHE_DIRECTORY`, or `tidegate` under the user's cache directory. It and its files must
//! belong to this user and be writable by nobody else, because a database is trusted; otherwise, and whenever anything
//! fails, triggers are compiled. Only at start and reload; never on the way of a request.

use ring::digest::{SHA256, digest};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tidegate_inspect::DatabaseCache;

/// Largest database that is kept or read, in bytes: those of a thousand rules have one or two million.
const DATABASE_BYTES_MAX: u64 = 64 << 20;

/// Most databases that are kept: those of eight sets of rules, each with up to eight.
const FILES_MAX: usize = 64;

const ENDING: &str = "hsdb";
const DIGEST_BYTES: usize = 32;

/// The cache of this user; `None` when there is no place for it.
pub fn shared() -> Option<&'static dyn DatabaseCache> {
    static SHARED: OnceLock<Option<Files>> = OnceLock::new();
    SHARED.get_or_init(|| directory().and_then(Files::at)).as_ref().map(|f| f as &dyn DatabaseCache)
}

fn directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("CACHE_DIRECTORY")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|p| p.join("tidegate")))
        .or_else(|| absolute("HOME").map(|p| p.join(".cache/tidegate")))
}

/// Files in a directory that is this user's alone.
#[derive(Debug)]
struct Files {
    dir: PathBuf,
    user: u32,
}

impl Files {
    fn at(dir: PathBuf) -> Option<Files> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).ok()?;
        let files = Files { user: fs::metadata("/proc/self").ok()?.uid(), dir };
        let is_ours = files.is_ours(&fs::symlink_metadata(&files.dir).ok()?);
        is_ours.then_some(files)
    }

    fn is_ours(&self, m: &Metadata) -> bool {
        !m.is_symlink() && m.uid() == self.user && m.mode() & 0o022 == 0
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.{ENDING}"))
    }

    fn write(&self, key: &str, bytes: &[u8]) -> std::io::Result<()> {
        let draft = self.dir.join(format!("{key}.{}.draft", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let done = file
            .write_all(digest(&SHA256, bytes).as_ref())
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| fs::rename(&draft, self.path(key)));
        if done.is_err() {
            let _ = fs::remove_file(&draft);
        }
        done
    }

    /// Removes the oldest files when there are too many.
    fn thin_out(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<(std::time::SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|e| Path::new(&e.file_name()).extension().is_some_and(|x| x == ENDING))
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(FILES_MAX) {
            let _ = fs::remove_file(path);
        }
    }
}

impl DatabaseCache for Files {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key);
        if fs::symlink_metadata(&path).ok()?.is_symlink() {
            return None;
        }
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        if !self.is_ours(&metadata) || metadata.len() > DATABASE_BYTES_MAX {
            return None;
        }
        let mut all = Vec::with_capacity(metadata.len() as usize);
        file.take(DATABASE_BYTES_MAX).read_to_end(&mut all).ok()?;
        let (sum, bytes) = all.split_at_checked(DIGEST_BYTES)?;
        (digest(&SHA256, bytes).as_ref() == sum).then(|| bytes.to_vec())
    }

    fn store(&self, key: &str, bytes: &[u8]) {
        if bytes.len() as u64 <= DATABASE_BYTES_MAX && self.write(key, bytes).is_ok() {
            self.thin_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tidegate-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn gives_back_what_it_got_and_nothing_else() {
        let dir = scratch("kept");
        let files = Files::at(dir.clone()).unwrap();
        assert_eq!(files.load("a"), None);
        files.store("a", b"database");
        assert_eq!(files.load("a").as_deref(), Some(&b"database"[..]));
        assert_eq!(files.load("b"), None);
        let path = files.path("a");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(files.load("a"), None, "damaged");
        files.store("a", b"database");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(files.load("a"), None, "others could have written it");
        for i in 0..FILES_MAX + 10 {
            files.store(&i.to_string(), b"x");
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), FILES_MAX);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_is_not_used() {
        let dir = scratch("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Files::at(dir.clone()).is_none());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(Files::at(dir.clone()).is_some());
        fs::remove_dir_all(dir).unwrap();
    }
}
