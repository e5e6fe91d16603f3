//! From the command line to the exit code.

use std::{ffi::OsString, io};

use clap::error::{ContextKind, ContextValue};
use tokio::task;
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Called, Caller},
    cli::{self, Cli, Task},
    failure::{Class, Failure},
    http::Http,
    interrupt, load,
    output::{self, Report, complain},
    settings::{SettingError, Settings},
    text::Foreign,
    token::TokenSource,
    trace::Trace,
};

/// The output could not be written.
const UNWRITABLE: u8 = 1;
/// After what is wrong with the settings.
const SEE_HELP: &str = "Run service-a --help for all settings.";

/// Does what the command line says and returns the exit code.
pub(crate) async fn run(arguments: Vec<OsString>) -> u8 {
    let interrupted = interrupt::watch();
    let done = match command_line(&arguments) {
        Ok(cli) => work(cli, &interrupted).await,
        Err(failure) => report_failure(&failure, cli::json_is_asked_for(&arguments)),
    };
    done.unwrap_or_else(|error| {
        // Whoever closed the pipe has seen enough.
        if error.kind() != io::ErrorKind::BrokenPipe {
            complain(&format!("Error: cannot write: {error}\n"));
        }
        UNWRITABLE
    })
}

/// Reads the command line; prints help and version itself.
fn command_line(arguments: &[OsString]) -> Result<Cli, Failure> {
    let wrong = |problem| Failure::new(Class::Usage, "command_line", SEE_HELP).problems([problem]);
    if let Some(flag) = cli::secret_on_the_command_line(arguments) {
        return Err(wrong(cli::no_such_flag(flag)));
    }
    cli::parse(arguments).map_err(|mut error| {
        let variables = cli::variables_behind(&error, arguments).join(", ");
        let set = format!("the environment sets {variables}");
        if !error.use_stderr() || !cli::json_is_asked_for(arguments) {
            if !variables.is_empty() {
                let tip = ContextValue::StyledStrs(vec![set.into()]);
                error.insert(ContextKind::Suggested, tip);
            }
            error.exit();
        }
        let text = error.render().to_string();
        // What follows an empty line is advice for a terminal.
        let lines = text.lines().take_while(|line| !line.is_empty());
        let sentence = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        let sentence = sentence.trim_start_matches("error: ");
        wrong(if variables.is_empty() {
            sentence.to_owned()
        } else {
            format!("{sentence} ({set})")
        })
    })
}

async fn work(cli: Cli, interrupted: &CancellationToken) -> io::Result<u8> {
    let json = cli.json();
    let task = cli.task();
    let prepared = tokio::select! {
        biased;
        () = interrupted.cancelled() => return Ok(interrupt::EXIT_CODE),
        prepared = prepare(cli) => prepared,
    };
    let caller = match prepared {
        Ok(caller) => caller,
        Err(failure) => return report_failure(&failure, json),
    };
    let single = async {
        match task {
            Task::TokenOnly => token_only(&caller).await,
            Task::Call => once(&caller, json).await,
            // These have something to say when they are stopped.
            Task::Repeat(load) => load::repeat(&caller, load, json, interrupted).await,
            Task::Watch(interval) => load::watch(&caller, interval, json, interrupted).await,
        }
    };
    if matches!(task, Task::Repeat(_) | Task::Watch(_)) {
        return single.await;
    }
    tokio::select! {
        biased;
        () = interrupted.cancelled() => Ok(interrupt::EXIT_CODE),
        code = single => code,
    }
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
        Failure::new(Class::Usage, "tls_unusable", next)
            .described(Some(Foreign::new(&error.to_string())))
    })
}

fn wrong_settings(errors: &[SettingError]) -> Failure {
    Failure::new(Class::Usage, "settings", SEE_HELP)
        .problems(errors.iter().map(ToString::to_string))
}

fn caller(settings: Settings) -> Result<Caller, reqwest::Error> {
    // Refused only if it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trace = settings.verbose.then(Trace::default);
    let issuer = settings.grant.endpoint.url();
    let to_issuer = Http::new(issuer, settings.timeouts, trace.clone())?;
    let to_service_b = Http::new(&settings.service_b, settings.timeouts, trace)?;
    let source = TokenSource::new(settings.grant, to_issuer);
    Ok(Caller::new(to_service_b, settings.service_b, source))
}

async fn token_only(caller: &Caller) -> io::Result<u8> {
    match caller.source().token().await {
        Ok(token) => {
            output::print(&format!("{}\n", token.access().secret()))?;
            Ok(0)
        }
        Err(failure) => report_failure(&failure, false),
    }
}

async fn once(caller: &Caller, json: bool) -> io::Result<u8> {
    let called = caller.call().await;
    let source = caller.source();
    if json {
        output::print_json(&Report::of(&called, source.requests(), source.spent()))?;
    } else {
        show(&called)?;
    }
    let failure = called.result.err();
    Ok(failure.map_or(0, |failure| failure.class().exit_code()))
}

fn show(called: &Called) -> io::Result<()> {
    let mut text = String::new();
    if let Some(token) = &called.token {
        text.push_str(&output::token_line(&token.access().masked()));
    }
    if let Ok((_, document)) = &called.result {
        text.push_str(&output::document(document));
    }
    output::print(&text)?;
    if let Err(failure) = &called.result {
        complain(&failure.shown());
    }
    Ok(())
}

fn report_failure(failure: &Failure, json: bool) -> io::Result<u8> {
    if json {
        output::print_json(&Report::of_failure(failure))?;
    } else {
        complain(&failure.shown());
    }
    Ok(failure.class().exit_code())
}
