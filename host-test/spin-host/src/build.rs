//! Runs the build commands of a manifest.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

/// One `component.<id>.build.command`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCommand {
    /// The component it builds.
    pub component: String,
    /// The shell command line.
    pub command: String,
    /// The folder in which it runs.
    pub directory: PathBuf,
}

impl BuildCommand {
    /// Runs the command to its end, with the output of this process.
    ///
    /// # Errors
    /// The command cannot be started, or it fails.
    pub fn run(&self) -> Result<()> {
        let (shell, flag) = if cfg!(windows) {
            ("cmd", "/C")
        } else {
            ("sh", "-c")
        };
        let status = Command::new(shell)
            .arg(flag)
            .arg(&self.command)
            .current_dir(&self.directory)
            .status()
            .with_context(|| {
                format!(
                    "cannot start `{}` in {}",
                    self.command,
                    self.directory.display()
                )
            })?;
        ensure!(
            status.success(),
            "building component {} failed: `{}` in {} ended with {status}; its own message stands above",
            self.component,
            self.command,
            self.directory.display()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_build_names_the_component_and_the_command() {
        let build = BuildCommand {
            component: "app".into(),
            command: "exit 3".into(),
            directory: ".".into(),
        };
        let error = build.run().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "building component app failed: `exit 3` in . ended with exit status: 3"
            ),
            "{error}"
        );
    }
}
