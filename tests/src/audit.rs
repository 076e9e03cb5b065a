//! Reading audit segments the way any log shipper would: as lines of JSON.

use std::{fs, path::Path};

use serde_json::Value;

/// All records of all `audit-*.ndjson` files, by file name and then in the order of writing. A file's last line may be
/// torn, which is what a crash leaves; it is left out. No directory means no records.
///
/// # Panics
/// If any other line is not JSON.
#[track_caller]
pub fn audit_records(dir: &Path) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> =
        entries.map(|entry| entry.expect("the audit directory can be listed").path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("audit-") && name.ends_with(".ndjson")
    });
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        records.extend(lines(&bytes, &path.display().to_string()));
    }
    records
}

#[track_caller]
fn lines(bytes: &[u8], file: &str) -> Vec<Value> {
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut records = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(_) if index + 1 == lines.len() => {}
            Err(error) => panic!("{file}:{}: {error}: {}", index + 1, String::from_utf8_lossy(line)),
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_left_out() {
        for text in [
            "{\"seq\":1}\n{\"seq\":2}\n{\"se",
            "{\"seq\":1}\n{\"seq\":2}\n{\"se\n",
            "{\"seq\":1}   \n{\"seq\":2}",
        ] {
            let seqs: Vec<_> =
                lines(text.as_bytes(), "x").iter().map(|record| record["seq"].clone()).collect();
            assert_eq!(seqs, [1, 2], "{text:?}");
        }
    }

    #[test]
    #[should_panic = "x:1:"]
    fn a_torn_line_elsewhere_is_an_error() {
        lines(b"{\"se\n{\"seq\":2}\n", "x");
    }
}
