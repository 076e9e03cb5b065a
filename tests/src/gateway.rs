//! The gateway under test, as a process.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use serde_json::Value;

use crate::{audit_records, process::Process, project, temp::TempDir, wait};

/// SIGTERM drains: what is in flight may end first.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);

/// A running `tidegate run`. Dropping it kills it.
///
/// Its temporary directory holds the config and, where the config says `{dir}`, whatever the gateway writes.
#[derive(Debug)]
pub struct Gateway {
    /// `None` between [`Gateway::stop`] or [`Gateway::kill`] and [`Gateway::restart`].
    process: Option<Process>,
    /// Where MCP is served.
    pub mcp_addr: SocketAddr,
    /// Where the admin interface is.
    pub admin_addr: SocketAddr,
    /// `{dir}/audit`, where [`Gateway::config`] puts the audit files.
    pub audit_dir: PathBuf,
    dir: TempDir,
}

impl Gateway {
    /// The usual config for tests: the named upstreams, redaction on, audit under [`Gateway::audit_dir`].
    pub fn config(servers: &[(&str, &str)]) -> String {
        let mut yaml = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nservers:\n".to_owned();
        for (name, url) in servers {
            yaml += &format!("  {name}: {{ url: \"{url}\" }}\n");
        }
        yaml + "inspection: { mode: redact }\naudit: { dir: \"{dir}/audit\" }\n"
    }

    /// Starts the gateway with this config and waits until it is ready. Every `{dir}` in the config becomes a
    /// temporary directory.
    ///
    /// # Panics
    /// If it does not become ready; its output is printed.
    #[track_caller]
    pub fn start(yaml: &str) -> Self {
        let dir = TempDir::new("gateway");
        fs::write(dir.join("tidegate.yaml"), expanded(yaml, dir.path()))
            .expect("a fresh directory takes a file");
        let (process, mcp_addr, admin_addr) = run(&dir);
        Self { process: Some(process), mcp_addr, admin_addr, audit_dir: dir.join("audit"), dir }
    }

    /// Where the gateway serves this upstream.
    pub fn url(&self, server: &str) -> String {
        format!("http://{}/mcp/{server}", self.mcp_addr)
    }

    /// Its temporary directory: `{dir}` in the config.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it is stopped.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the gateway runs").pid()
    }

    /// Writes another config and sends SIGHUP. Whether and when it takes effect is for the test to find out.
    #[track_caller]
    pub fn reload(&mut self, yaml: &str) {
        let path = self.dir.join("tidegate.yaml");
        // Whole or not at all: the gateway watches the file, and a slow machine may look between the two steps of a write.
        let next = self.dir.join("tidegate.yaml.next");
        fs::write(&next, expanded(yaml, self.dir.path())).expect("the config can be written");
        fs::rename(&next, &path).expect("the config can be replaced");
        self.process.as_mut().expect("the gateway runs").signal(libc::SIGHUP);
    }

    /// SIGTERM, then its exit status.
    ///
    /// # Panics
    /// If it has not drained within 20 s.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.take().expect("the gateway runs").stop(DRAIN_TIME_MAX)
    }

    /// SIGKILL: a crash.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the gateway runs").kill();
    }

    /// Starts it again with the config as it is now; kills it first if it runs. The addresses may change.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = None;
        let (process, mcp_addr, admin_addr) = run(&self.dir);
        (self.process, self.mcp_addr, self.admin_addr) = (Some(process), mcp_addr, admin_addr);
    }

    /// All audit records so far.
    pub fn audit(&self) -> Vec<Value> {
        audit_records(&self.audit_dir)
    }

    /// The audit records that `wanted` picks, once there are at least `count` of them. Group commit makes them
    /// visible a little later than the response.
    ///
    /// # Panics
    /// If there are fewer after [`wait::SOON`].
    #[track_caller]
    pub fn audit_until(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        wait::until(&format!("{count} audit records"), wait::SOON, || {
            let mut records = self.audit();
            records.retain(&wanted);
            (records.len() >= count).then_some(records)
        })
    }
}

fn expanded(yaml: &str, dir: &Path) -> String {
    yaml.replace("{dir}", dir.to_str().expect("temporary directories have plain names"))
}

#[track_caller]
fn run(dir: &TempDir) -> (Process, SocketAddr, SocketAddr) {
    let addr_file = dir.join("addr.json");
    let _ = fs::remove_file(&addr_file);
    let mut command = Command::new(project::tidegate());
    command.current_dir(dir.path()).arg("run").arg("--config").arg(dir.join("tidegate.yaml"));
    command.arg("--addr-file").arg(&addr_file);
    let mut process = Process::start(command);
    let ready = process.ready(&addr_file);
    let addr = |key: &str| {
        let text = ready[key].as_str().unwrap_or_else(|| panic!("no {key:?} in the address file: {ready}"));
        text.parse().unwrap_or_else(|_| panic!("{key:?} in the address file is no ip:port: {ready}"))
    };
    (process, addr("mcp"), addr("admin"))
}
