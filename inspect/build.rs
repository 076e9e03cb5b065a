//! Links Intel Hyperscan statically.
//!
//! Only the static library is accepted: a dynamic one would tie the gateway to whatever version is installed where
//! it runs, and other versions were seen to miss matches. `-bundle` keeps the 19 MB archive out of the rlib.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=HYPERSCAN_ROOT");
    if std::env::var_os("CARGO_FEATURE_HYPERSCAN").is_none() {
        return;
    }

    let mut dirs: Vec<PathBuf> = Vec::new();
    if let Some(root) = std::env::var_os("HYPERSCAN_ROOT") {
        dirs.push(Path::new(&root).join("lib"));
    }
    dirs.extend(["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));

    let Some(dir) = dirs.iter().find(|d| d.join("libhs.a").is_file()) else {
        let looked: Vec<String> = dirs.iter().map(|d| d.display().to_string()).collect();
        panic!(
            "libhs.a (Hyperscan 5.4, static) not found in {}: run `apt-get install libhyperscan-dev`, \
             or set HYPERSCAN_ROOT to a prefix with lib/libhs.a",
            looked.join(", ")
        );
    };
    println!("cargo:rustc-link-search=native={}", dir.display());
    println!("cargo:rustc-link-lib=static:-bundle=hs");
    println!("cargo:rustc-link-lib=dylib=stdc++");
    println!("cargo:rustc-link-lib=dylib=m");
}
