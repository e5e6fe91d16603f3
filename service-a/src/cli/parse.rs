//! Parses the command line and the environment, and explains what is wrong with them.

use std::{env, ffi::OsString};

use clap::{
    ArgMatches, Command, CommandFactory as _, FromArgMatches as _,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use crate::cli::{Cli, JSON_VARIABLE, SECRET_VARIABLE};

/// Flags that users might try to pass the secret with (attack S5). None of them exists.
const SECRET_FLAGS: [&str; 4] = [
    "--secret",
    "--client-secret",
    "--client_secret",
    "--password",
];

/// Takes no value: a value that is given anyway is probably the secret.
const SECRET_STDIN: &str = "--secret-stdin";

/// The flag in `arguments` that holds a secret. This check runs first, so that no other error
/// quotes the secret.
pub(crate) fn secret_on_the_command_line(arguments: &[OsString]) -> Option<&'static str> {
    arguments.iter().skip(1).find_map(|argument| {
        let argument = argument.to_string_lossy();
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_ref(), None),
        };
        if name == SECRET_STDIN && value.is_some() {
            return Some(SECRET_STDIN);
        }
        SECRET_FLAGS.into_iter().find(|flag| *flag == name)
    })
}

/// The error for such a flag.
pub(crate) fn secret_flag_refused(flag: &str) -> String {
    format!(
        "{flag} with a secret is refused: other users of the machine can read command lines, and \
         shells keep them. Set {SECRET_VARIABLE}, or use --secret-file FILE or --secret-stdin; and \
         rotate a secret that was typed here"
    )
}

/// The clap command. It ignores variables that are empty, or `false` for a flag without a value.
fn command() -> Command {
    Cli::command().mut_args(|argument| {
        let argument = argument.hide_env_values(true);
        let value = argument.get_env().and_then(env::var_os);
        let is_unset = value.is_some_and(|value| {
            value.is_empty() || (value == "false" && !argument.get_action().takes_values())
        });
        if is_unset {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    })
}

/// Reads the command line and the environment.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    // Each replaces the other, and a flag takes precedence over a variable.
    match (is_flag(&matches, "issuer"), is_flag(&matches, "token_url")) {
        (true, false) => cli.token_url = None,
        (false, true) => cli.issuer = None,
        (true, true) | (false, false) => {}
    }
    Ok(cli)
}

/// The environment variables that cause an error of [`parse`], which names only the flags.
pub(crate) fn variables_at_fault(error: &clap::Error, arguments: &[OsString]) -> Vec<String> {
    let mut flags = Vec::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match error.get(kind) {
            Some(ContextValue::String(flag)) => flags.push(flag.as_str()),
            Some(ContextValue::Strings(more)) => flags.extend(more.iter().map(String::as_str)),
            _ => {}
        }
    }
    if error.kind() == ErrorKind::MissingRequiredArgument {
        // The error names the missing flag; these are the flags that require it.
        flags.extend(["--concurrency", "--rate"]);
    }
    // Drops the name of the value that follows the flag.
    let named: Vec<_> = flags
        .iter()
        .filter_map(|flag| flag.split(' ').next())
        .collect();
    command()
        .get_arguments()
        .filter_map(|argument| {
            let flag = format!("--{}", argument.get_long()?);
            let typed = arguments.iter().any(|argument| {
                let argument = argument.to_string_lossy();
                argument.split('=').next() == Some(flag.as_str())
            });
            let variable = argument.get_env()?;
            let at_fault =
                named.contains(&flag.as_str()) && !typed && env::var_os(variable).is_some();
            at_fault.then(|| variable.to_string_lossy().into_owned())
        })
        .collect()
}

fn is_flag(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
}

/// Whether the user wants JSON, as far as an unusable command line tells.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--json")
        || env::var_os(JSON_VARIABLE).is_some_and(|value| value == "true")
}
