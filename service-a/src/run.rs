//! Runs the program, from the command line to the exit code.

use std::{ffi::OsString, io};

use clap::error::{ContextKind, ContextValue};
use tokio::task;
use tokio_util::sync::CancellationToken;

use crate::{
    advice,
    call::{CallResult, Caller},
    cli::{self, Cli, Task},
    console::{self, print_error},
    dpop::Dpop,
    failure::{Class, Failure},
    http::Http,
    interrupt, load,
    report::{self, Report},
    settings::{SettingError, Settings},
    token_source::TokenSource,
    trace::Trace,
    untrusted_text::UntrustedText,
};

/// The exit code if the output cannot be written.
const UNWRITABLE: u8 = 1;
/// The advice after wrong settings.
const SEE_HELP: &str = "Run service-a --help for all settings.";

/// Runs the command line and returns the exit code.
pub(crate) async fn run(arguments: Vec<OsString>) -> u8 {
    let interrupted = interrupt::watch();
    let code = match parse(&arguments) {
        Ok(cli) => run_task(cli, &interrupted).await,
        Err(failure) => report_failure(&failure, cli::wants_json(&arguments)),
    };
    code.unwrap_or_else(|error| {
        // A closed pipe is not an error.
        if error.kind() != io::ErrorKind::BrokenPipe {
            print_error(&format!("Error: cannot write: {error}\n"));
        }
        UNWRITABLE
    })
}

/// Parses the command line. Help, version and clap's errors end the program here, unless JSON is
/// wanted.
fn parse(arguments: &[OsString]) -> Result<Cli, Failure> {
    let wrong =
        |problem| Failure::new(Class::Usage, "command_line", SEE_HELP).with_problems([problem]);
    if let Some(flag) = cli::secret_on_the_command_line(arguments) {
        return Err(wrong(cli::secret_flag_refused(flag)));
    }
    cli::parse(arguments).map_err(|mut error| {
        let variables = cli::variables_at_fault(&error, arguments).join(", ");
        let set = format!("the environment sets {variables}");
        if !error.use_stderr() || !cli::wants_json(arguments) {
            if !variables.is_empty() {
                let tip = ContextValue::StyledStrs(vec![set.into()]);
                error.insert(ContextKind::Suggested, tip);
            }
            error.exit();
        }
        let text = error.render().to_string();
        // After an empty line clap gives advice for a terminal.
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

/// Checks the settings and runs the task until it ends or Ctrl-C stops it.
async fn run_task(cli: Cli, interrupted: &CancellationToken) -> io::Result<u8> {
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
    let run = async {
        match task {
            Task::TokenOnly => token_only(&caller).await,
            Task::Call => call_once(&caller, json).await,
            // These two handle Ctrl-C themselves: they end with a summary.
            Task::Repeat(load) => load::repeat(&caller, load, json, interrupted).await,
            Task::Watch(interval) => load::watch(&caller, interval, json, interrupted).await,
        }
    };
    if matches!(task, Task::Repeat(_) | Task::Watch(_)) {
        return run.await;
    }
    tokio::select! {
        biased;
        () = interrupted.cancelled() => Ok(interrupt::EXIT_CODE),
        code = run => code,
    }
}

/// Checks the settings on a thread of their own, since reading the secret may block.
async fn prepare(cli: Cli) -> Result<Caller, Failure> {
    let settings = match task::spawn_blocking(|| Settings::from_cli(cli)).await {
        Ok(Ok(settings)) => settings,
        Ok(Err(errors)) => return Err(wrong_settings(&errors)),
        Err(_) => return Err(wrong_settings(&[])),
    };
    let dpop = if settings.use_dpop {
        let cannot_sign = || Failure::new(Class::Usage, "cannot_sign", advice::CANNOT_SIGN);
        Some(Dpop::new().ok_or_else(cannot_sign)?)
    } else {
        None
    };
    caller(settings, dpop).map_err(|error| {
        let next =
            "Check the certificate authorities of this machine (SSL_CERT_FILE, SSL_CERT_DIR).";
        Failure::new(Class::Usage, "tls_unusable", next)
            .with_description(Some(UntrustedText::new(&error.to_string())))
    })
}

fn wrong_settings(errors: &[SettingError]) -> Failure {
    Failure::new(Class::Usage, "settings", SEE_HELP)
        .with_problems(errors.iter().map(ToString::to_string))
}

fn caller(settings: Settings, dpop: Option<Dpop>) -> Result<Caller, reqwest::Error> {
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trace = settings.verbose.then(Trace::default);
    let issuer = settings.grant.endpoint.url();
    let Settings {
        timeouts,
        certificate,
        ..
    } = &settings;
    let to_issuer =
        Http::new(issuer, *timeouts, certificate.clone(), trace.clone())?.with_dpop(dpop.clone());
    let to_service_b =
        Http::new(&settings.service_b, *timeouts, certificate.clone(), trace)?.with_dpop(dpop);
    let source = TokenSource::new(settings.grant, to_issuer);
    Ok(Caller::new(to_service_b, settings.service_b, source))
}

async fn token_only(caller: &Caller) -> io::Result<u8> {
    match caller.source().token().await {
        Ok(token) => {
            console::print(&format!("{}\n", token.access().secret()))?;
            Ok(0)
        }
        Err(failure) => report_failure(&failure, false),
    }
}

async fn call_once(caller: &Caller, json: bool) -> io::Result<u8> {
    let result = caller.call().await;
    let source = caller.source();
    if json {
        console::print_json(&Report::new(&result, source.requests(), source.timings()))?;
    } else {
        show(&result)?;
    }
    let failure = result.result.err();
    Ok(failure.map_or(0, |failure| failure.class().exit_code()))
}

fn show(result: &CallResult) -> io::Result<()> {
    let mut text = String::new();
    if let Some(token) = &result.token {
        text.push_str(&report::token_line(&token.access().masked()));
    }
    if let Ok((_, document)) = &result.result {
        text.push_str(&report::document(document));
    }
    console::print(&text)?;
    if let Err(failure) = &result.result {
        print_error(&failure.render());
    }
    Ok(())
}

fn report_failure(failure: &Failure, json: bool) -> io::Result<u8> {
    if json {
        console::print_json(&Report::from_failure(failure))?;
    } else {
        print_error(&failure.render());
    }
    Ok(failure.class().exit_code())
}
