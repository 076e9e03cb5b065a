//! Which files a scan reads: those named, and in folders everything below that the kind of input asks for. Symbolic links
//! in folders are not followed, so that no file is read twice and nothing outside is read.

use crate::cli::ScanInput;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file that is read from a folder, in bytes: it is held in memory whole.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Bytes looked at to tell text from binary data, as git does.
const SNIFF_BYTES: usize = 8000;

/// What to do with a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// Read it.
    File(PathBuf),
    /// Found in a folder and left out; why.
    Skipped(&'static str),
    /// It cannot be read.
    Failed(PathBuf, String),
}

/// The entries below `path`, files in the order of their names. A named file is always read, whatever it is called.
pub fn entries(path: &Path, input: ScanInput, found: &mut dyn FnMut(Entry)) {
    if !path.is_dir() {
        return found(Entry::File(path.to_owned()));
    }
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        let listed = std::fs::read_dir(&dir).and_then(|all| all.collect::<Result<Vec<_>, _>>());
        let mut all = match listed {
            Ok(all) => all,
            Err(e) => {
                found(Entry::Failed(dir, e.to_string()));
                continue;
            }
        };
        all.sort_by_key(std::fs::DirEntry::file_name);
        let mut folders = Vec::new();
        for entry in all {
            match entry.file_type() {
                Ok(t) if t.is_dir() => folders.push(entry.path()),
                Ok(t) if t.is_file() && fits(&entry.path(), input) => found(judge(&entry.path(), input)),
                Ok(_) => {}
                Err(e) => found(Entry::Failed(entry.path(), e.to_string())),
            }
        }
        // The last one is taken first.
        open.extend(folders.into_iter().rev());
    }
}

/// Whether a file in a folder is of the kind, by its name.
fn fits(path: &Path, input: ScanInput) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match input {
        ScanInput::Text => true,
        ScanInput::Json => ending == "json",
        ScanInput::Jsonl => matches!(ending.as_str(), "jsonl" | "ndjson"),
        ScanInput::Audit => ending == "ndjson",
    }
}

fn judge(path: &Path, input: ScanInput) -> Entry {
    let look = || -> std::io::Result<Option<&'static str>> {
        let mut file = std::fs::File::open(path)?;
        // Audit records are read line by line.
        if input != ScanInput::Audit && file.metadata()?.len() > FILE_BYTES_MAX {
            return Ok(Some("files over 256 MiB"));
        }
        let mut start = Vec::with_capacity(SNIFF_BYTES);
        file.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut start)?;
        Ok(memchr::memchr(0, &start).map(|_| "binary files"))
    };
    match look() {
        Ok(None) => Entry::File(path.to_owned()),
        Ok(Some(why)) => Entry::Skipped(why),
        Err(e) => Entry::Failed(path.to_owned(), e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_in_order() {
        let dir = std::env::temp_dir().join(format!("tidegate-scan-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("b/c")).expect("a directory");
        for (name, content) in
            [("z.txt", &b"text"[..]), ("a.json", b"{}"), ("b/x.jsonl", b"{}"), ("b/c/bin", b"\x7fELF\0")]
        {
            std::fs::write(dir.join(name), content).expect("writes");
        }
        std::os::unix::fs::symlink(&dir, dir.join("b/loop")).expect("links");
        let all = |path: &Path, input| {
            let mut out = Vec::new();
            entries(path, input, &mut |e| out.push(e));
            out
        };
        let file = |name: &str| Entry::File(dir.join(name));
        assert_eq!(
            all(&dir, ScanInput::Text),
            [file("a.json"), file("z.txt"), file("b/x.jsonl"), Entry::Skipped("binary files")]
        );
        assert_eq!(all(&dir, ScanInput::Json), [file("a.json")]);
        assert_eq!(all(&dir, ScanInput::Jsonl), [file("b/x.jsonl")]);
        assert_eq!(all(&dir, ScanInput::Audit), []);
        assert_eq!(all(&dir.join("b/c/bin"), ScanInput::Json), [file("b/c/bin")], "named: read");
        assert_eq!(all(&dir.join("none"), ScanInput::Text), [file("none")], "reading will tell");
        std::fs::remove_dir_all(&dir).expect("cleans up");
    }
}
