//! Child processes that cannot outlive the test, with their output kept in a file.

#![allow(unsafe_code)] // kill(2), in one function below.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::{temp::TempDir, wait};

/// A running child. Dropping it kills it (SIGKILL) and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    // Dropped after the child, which may still write into it.
    dir: TempDir,
}

/// How a child ended that was run to its end.
#[derive(Debug)]
pub struct Done {
    /// `None`: it was killed because its time was up.
    pub status: Option<ExitStatus>,
    /// Standard output and standard error, in the order of writing.
    pub output: String,
}

impl Done {
    /// It ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Process {
    /// Starts the command with nothing on its standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let name = PathBuf::from(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let dir = TempDir::new(&name);
        let log = dir.join("output.log");
        let file = File::create(&log).expect("a fresh directory takes a file");
        let copy = file.try_clone().expect("a file handle can be duplicated");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, name, log, dir }
    }

    /// Runs the command to its end; kills it when the time is up.
    #[track_caller]
    pub fn run(command: Command, time_max: Duration) -> Done {
        let mut process = Self::start(command);
        let status = wait::poll(time_max, || process.exited());
        if status.is_none() {
            process.kill();
        }
        let mut output = process.output();
        if status.is_none() {
            output.push_str(&format!("\n(killed after {time_max:?})"));
        }
        Done { status, output }
    }

    /// A directory of the process's own, removed with it.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output and standard error so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal. Does nothing if the process has ended.
    pub fn signal(&mut self, signal: i32) {
        if self.exited().is_some() {
            return;
        }
        let pid = i32::try_from(self.pid()).expect("a pid fits");
        // SAFETY: kill(2) touches no memory of ours. The child has not been reaped (checked above, and only `self`
        // reaps it), so the pid is still its own. `processes_end_when_told` in tests/harness.rs would see a wrong target.
        unsafe { libc::kill(pid, signal) };
    }

    /// SIGKILL, then reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then its exit status.
    ///
    /// # Panics
    /// If it has not ended after `time_max`.
    #[track_caller]
    pub fn stop(&mut self, time_max: Duration) -> ExitStatus {
        self.signal(libc::SIGTERM);
        match wait::poll(time_max, || self.exited()) {
            Some(status) => status,
            None => panic!("{} did not end within {time_max:?} of SIGTERM:\n{}", self.name, self.output()),
        }
    }

    /// Waits for the file in which the process says where it listens, and gives back its JSON.
    ///
    /// # Panics
    /// If the process ends or the file is not there after [`wait::START`].
    #[track_caller]
    pub fn ready(&mut self, addr_file: &std::path::Path) -> serde_json::Value {
        let found = wait::poll(wait::START, || {
            if let Some(status) = self.exited() {
                panic!("{} ended at its start ({status}):\n{}", self.name, self.output());
            }
            serde_json::from_slice(&fs::read(addr_file).ok()?).ok()
        });
        found.unwrap_or_else(|| {
            panic!("{} was not ready after {:?}:\n{}", self.name, wait::START, self.output())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let tail = output.len().saturating_sub(4000);
            let tail = (tail..).find(|&at| output.is_char_boundary(at)).unwrap_or_default();
            eprintln!("--- the last of {} ({}):\n{}\n---", self.name, self.log.display(), &output[tail..]);
        }
    }
}
