//! The process, which never outlives us.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::on_path;

/// How often to check whether it has exited.
const LOOK: Duration = Duration::from_millis(20);

/// A process whose output is collected. Dropping it kills and reaps it.
pub struct Process {
    id: u32,
    log: Text,
    out: Text,
    exit_status: Arc<Mutex<Option<ExitStatus>>>,
    /// Dropped to kill the process.
    keep: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a program. `prepare` adds arguments, environment and folder; settings of this shell
    /// (`WORKOUT18_*`) do not reach the program unless it adds them.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(program: &Path, prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        // The system kills it when the thread that started it ends, and so also when this process
        // is killed.
        let mut command = match on_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Its child processes, such as those of `spin up`, end with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WORKOUT18_") {
                command.env_remove(name);
            }
        }
        prepare(&mut command);

        let (keep, kept) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let exit_status = Arc::new(Mutex::new(None));
        let status = Arc::clone(&exit_status);
        let keeper = std::thread::spawn(move || match command.spawn() {
            Ok(mut child) => {
                let log = collect(child.stderr.take());
                let out = collect(child.stdout.take());
                let _ = started.send(Ok((child.id(), log, out)));
                look_after(&mut child, &kept, &status);
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        });
        let (id, log, out) = start
            .recv()
            .context("the thread that starts a process is gone")?
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self {
            id,
            log,
            out,
            exit_status,
            keep: Some(keep),
            keeper: Some(keeper),
        })
    }

    /// Its process id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Its exit status, if it has exited.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self
            .exit_status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to exit (SIGTERM).
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn terminate(&self) -> Result<()> {
        let status = Command::new("kill")
            .args(["-TERM", "--", &self.id.to_string()])
            .stderr(Stdio::null())
            .status()
            .context("kill cannot be started")?;
        ensure!(status.success(), "kill ended with {status}");
        Ok(())
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// The system does not report it (only Linux does).
    pub fn rss_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.id);
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| anyhow!("{path} tells no VmRSS"))
    }

    /// Its standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.get()
    }

    /// Its standard output so far.
    #[must_use]
    pub fn out(&self) -> String {
        self.out.get()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.keep = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn look_after(child: &mut Child, kept: &Receiver<()>, status: &Mutex<Option<ExitStatus>>) {
    let ended = loop {
        match kept.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {
                if let Ok(Some(ended)) = child.try_wait() {
                    break Some(ended);
                }
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                kill(child);
                break child.wait().ok();
            }
        }
    };
    *status.lock().unwrap_or_else(PoisonError::into_inner) = ended;
}

/// Kills it and, on systems with process groups, its child processes.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    let _ = Command::new("kill")
        .args(["-KILL", "--", &format!("-{}", child.id())])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
}

/// The output read from a pipe so far.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Text {
    fn get(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Reads the pipe to its end in a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Text {
    let text = Text::default();
    let Some(pipe) = pipe else {
        return text;
    };
    let into = text.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let mut text = into.0.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}
