//! Where things are: the project, the built binaries, the installed peers, the shared data.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::process::Process;

/// A first installation of the peers downloads about 100 MB.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(600);

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie inside the project").to_owned()
}

/// A binary of this build: `target/<profile>/NAME`, found from the running test's own place.
///
/// # Panics
/// If it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a process knows its executable");
    // Tests are in target/<profile>/deps.
    let path = own.ancestors().nth(2).expect("a test has a target directory").join(name);
    assert!(path.is_file(), "{} is not built; run cargo build --workspace first", path.display());
    path
}

/// The gateway: `$TIDEGATE_BIN`, else the one of this build.
pub fn tidegate() -> PathBuf {
    env::var_os("TIDEGATE_BIN").map_or_else(|| binary("tidegate"), PathBuf::from)
}

/// A script of `tests/peers`.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/peers").join(name)
}

/// Where the third-party peers are installed; installs them if that has not been done for these lock files.
///
/// # Panics
/// If the installation fails; its messages are printed.
pub fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let done = Process::run(Command::new(script("setup.sh")), INSTALL_TIME_MAX);
        assert!(done.success(), "tests/peers/setup.sh failed:\n{}", done.output);
        root().join(".cache/peers")
    })
}

/// The data folder beside the project, if this machine has it. Prints that tests are left out where it is missing.
pub fn shared_data() -> Option<PathBuf> {
    let path = root().join("../shared/data");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("left out: there is no ../shared/data here");
    None
}
