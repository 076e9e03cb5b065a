//! The shape of the workspace, as docs/ARCHITECTURE.md states it: who may depend on whom, and what occurs nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tidegate_tests::project;

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    command.current_dir(project::root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("packages have names")
}

#[test]
fn packages_depend_on_each_other_only_as_allowed() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("tidegate-core", &[][..]),
        ("tidegate-inspect", &["tidegate-core"]),
        ("tidegate-net", &["tidegate-core", "tidegate-inspect"]),
        ("tidegate-loadgen", &[]),
        ("tidegate-forwarder", &[]),
        ("tidegate-tests", &["tidegate-core"]),
        ("tidegate-bench", &["tidegate-core", "tidegate-inspect", "tidegate-net", "tidegate-loadgen"]),
    ]);
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: Vec<_> = packages.iter().filter(|p| name(p).starts_with("tidegate-")).collect();
    assert_eq!(ours.len(), allowed.len());
    for package in ours {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let dependency = name(dependency);
            if dependency.starts_with("tidegate-") {
                let ok = allowed[name(package)].contains(&dependency);
                assert!(ok, "{} must not depend on {dependency}", name(package));
            }
        }
    }
}

#[test]
fn there_is_one_tls_stack_and_no_dependency_from_git() {
    let lock = fs::read_to_string(project::root().join("Cargo.lock")).expect("the lock file");
    let banned = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "tokio-uring", "compio"];
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(" = "));
            line.map(|v| v.trim_matches('"')).unwrap_or_default()
        };
        let name = value("name");
        assert!(!banned.contains(&name), "{name} is banned; see deny.toml");
        assert!(!value("source").starts_with("git"), "{name} comes from git");
        versions.entry(name).or_default().insert(value("version"));
    }
    for single in ["rustls", "ring", "simd-json", "monoio", "regex-automata"] {
        assert_eq!(versions[single].len(), 1, "{single}: {:?}", versions[single]);
    }
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source directory").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, out);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            out.push(entry);
        }
    }
}

/// Lines of code (neither comments nor tests) that contain `needle`, outside the files in `allowed`.
fn occurrences(package: &str, needle: &str, allowed: &[&str]) -> Vec<String> {
    let root = project::root();
    let mut files = Vec::new();
    sources(&root.join(package).join("src"), &mut files);
    let mut found = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).expect("inside the project").display().to_string();
        if allowed.iter().any(|a| relative.starts_with(a)) || relative.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code = text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//"));
        found.extend(
            code.filter(|(_, l)| l.contains(needle)).map(|(i, l)| format!("{relative}:{}: {l}", i + 1)),
        );
    }
    found
}

#[test]
fn each_runtime_stays_in_its_plane() {
    assert_eq!(occurrences("net", "tokio::", &["net/src/control"]), [""; 0]);
    assert_eq!(occurrences("net", "axum::", &["net/src/control"]), [""; 0]);
    assert_eq!(occurrences("net", "monoio::", &["net/src/rt.rs"]), [""; 0]);
}

#[test]
fn unsafe_code_is_where_it_is_declared() {
    let declared = [
        "inspect/src/hs.rs",
        "inspect/src/masks.rs",
        "net/src/rt.rs",
        "net/src/byte_ring.rs",
        "net/src/sha256.rs",
        "loadgen/src/os.rs",
    ];
    for package in ["core", "inspect", "net", "loadgen", "bench", "bench/forwarder"] {
        for needle in ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"] {
            assert_eq!(occurrences(package, needle, &declared), [""; 0], "{needle}");
        }
    }
}

#[test]
fn the_pure_packages_touch_neither_files_nor_sockets_nor_clocks() {
    for package in ["core", "inspect"] {
        for needle in ["std::fs", "std::net::Tcp", "SystemTime", "Instant::now", "std::thread", "println!"] {
            assert_eq!(occurrences(package, needle, &[]), [""; 0], "{package}: {needle}");
        }
    }
}
