//! From the command line to the exit code.

use std::io;

use tokio::task;
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Called, Caller},
    failure::{Class, Failure},
    http, interrupt,
    output::{self, Report, complain},
    settings::{Cli, Form, SettingError, Settings},
    token::TokenSource,
};

/// The output could not be written.
const UNWRITABLE: u8 = 1;

/// Does what the command line says and returns the exit code.
pub(crate) async fn run(cli: Cli) -> u8 {
    let interrupted = interrupt::watch();
    let form = cli.form();
    let outcome = tokio::select! {
        biased;
        () = interrupted.cancelled() => return interrupt::EXIT_CODE,
        outcome = prepare(cli) => outcome,
    };
    let done = match outcome {
        Ok(caller) => execute(&caller, form, &interrupted).await,
        Err(failure) => report_failure(&failure, form).map(|()| failure.class().exit_code()),
    };
    done.unwrap_or_else(|error| {
        // Whoever closed the pipe has seen enough.
        if error.kind() != io::ErrorKind::BrokenPipe {
            complain(&format!("Error: cannot write: {error}\n"));
        }
        UNWRITABLE
    })
}

/// Checks the settings; reading the secret may block, so it has a thread of its own.
async fn prepare(cli: Cli) -> Result<Caller, Failure> {
    let settings = match task::spawn_blocking(|| cli.settings()).await {
        Ok(Ok(settings)) => settings,
        Ok(Err(errors)) => return Err(wrong_settings(&errors)),
        Err(_) => return Err(wrong_settings(&[])),
    };
    caller(settings).map_err(|error| {
        let next =
            "Check the certificate authorities of this machine (SSL_CERT_FILE, SSL_CERT_DIR).";
        Failure::new(Class::Settings, "tls_unusable", next)
            .described(Some(crate::text::Foreign::new(&error.to_string())))
    })
}

fn wrong_settings(errors: &[SettingError]) -> Failure {
    let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Failure::new(
        Class::Settings,
        "settings",
        "Run service-a --help for all settings.",
    )
    .described(Some(crate::text::Foreign::new(&text.join("; "))))
}

fn caller(settings: Settings) -> Result<Caller, reqwest::Error> {
    // Already there only if this ran before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let to_issuer = http::client(settings.grant.issuer.url(), settings.timeouts)?;
    let to_service_b = http::client(&settings.service_b, settings.timeouts)?;
    let source = TokenSource::new(settings.grant, to_issuer);
    Ok(Caller::new(to_service_b, settings.service_b, source))
}

async fn execute(caller: &Caller, form: Form, interrupted: &CancellationToken) -> io::Result<u8> {
    let work = async {
        if form.token_only {
            token_only(caller).await
        } else {
            once(caller, form).await
        }
    };
    tokio::select! {
        biased;
        () = interrupted.cancelled() => Ok(interrupt::EXIT_CODE),
        code = work => code,
    }
}

async fn token_only(caller: &Caller) -> io::Result<u8> {
    match caller.source().token().await {
        Ok(token) => {
            output::print(&format!("{}\n", token.access().secret()))?;
            Ok(0)
        }
        Err(failure) => {
            complain(&failure.shown());
            Ok(failure.class().exit_code())
        }
    }
}

async fn once(caller: &Caller, form: Form) -> io::Result<u8> {
    let called = caller.call().await;
    let source = caller.source();
    if form.json {
        output::print_json(&Report::of(&called, source.requests(), source.spent()))?;
    } else {
        show(&called)?;
    }
    Ok(called
        .result
        .err()
        .map_or(0, |failure| failure.class().exit_code()))
}

fn show(called: &Called) -> io::Result<()> {
    let mut text = String::new();
    if let Some(token) = &called.token {
        text.push_str(&output::token_line(&token.access().masked()));
    }
    match &called.result {
        Ok((_, document)) => text.push_str(&output::document(document)),
        Err(failure) => complain(&failure.shown()),
    }
    output::print(&text)
}

fn report_failure(failure: &Failure, form: Form) -> io::Result<()> {
    if form.json {
        return output::print_json(&Report::of_failure(failure));
    }
    complain(&failure.shown());
    Ok(())
}
