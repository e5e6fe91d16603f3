//! The command line and the environment, as clap reads them. What the values must be is checked in `settings`.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// Where the secret may come from the environment.
pub(crate) const SECRET_VARIABLE: &str = "WORKOUT18_CLIENT_SECRET";
/// Asks for JSON, which failures of the command line itself are printed as too.
const JSON_VARIABLE: &str = "WORKOUT18_JSON";
/// The longest time that a flag may give, in seconds.
const LONGEST_SECONDS: f64 = 3600.0;

/// More would take days, and keeps the arithmetic of times far from its limits.
const MOST_CALLS: u64 = 1_000_000_000;
/// Each call under way holds a socket, and 1024 open files are a common limit.
const MOST_AT_ONCE: i64 = 1000;
/// Above this a clock cannot tell the calls apart.
const HIGHEST_RATE: f64 = 1e6;
/// Below this nobody waits for the second call.
const LOWEST_RATE: f64 = 1e-3;

/// What the program ends with, and why.
const EXIT_CODES: [(u8, &str); 8] = [
    (
        0,
        "Service B granted the call; with `--token-only`: there is a token",
    ),
    (1, "the output could not be written"),
    (2, "a flag or a setting is missing or wrong"),
    (3, "the issuer cannot be reached"),
    (4, "the issuer gave no access token"),
    (5, "Service B refused the call"),
    (6, "Service B cannot be reached"),
    (130, "Ctrl-C"),
];

/// The end of --help.
fn after_help() -> String {
    let mut text = String::from(
        "The secret comes from WORKOUT18_CLIENT_SECRET, --secret-file or --secret-stdin. There is no flag for the \
         secret itself: other users of the machine can read command lines, and shells keep them.\n\n\
         A flag wins over its variable. An empty variable is the same as none; that of a flag without a value is \
         `true` or `false`. SSL_CERT_FILE names a file of certificate authorities to trust in place of the system's. \
         A proxy is taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.\n\nExit codes:\n",
    );
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text.push_str(
        "With --repeat and --watch it is that of the first call that failed, or Ctrl-C's.",
    );
    text
}

/// Service A: gets an access token from its OAuth 2.0 issuer (client credentials grant) and calls Service B with it.
#[derive(Parser)]
#[command(name = "service-a", version, after_help = after_help(), max_term_width = 100)]
pub(crate) struct Cli {
    /// The issuer, as it calls itself: https, or http on loopback or with --allow-http. It says where its token endpoint is.
    #[arg(long, env = "WORKOUT18_ISSUER", value_name = "URL")]
    pub(crate) issuer: Option<String>,

    /// The token endpoint itself, in place of --issuer: for an issuer whose metadata is missing or wrong.
    #[arg(long, env = "WORKOUT18_TOKEN_URL", value_name = "URL")]
    pub(crate) token_url: Option<String>,

    /// The client id of Service A at the issuer.
    #[arg(long, env = "WORKOUT18_CLIENT_ID", value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Reads the client secret from this file, and again if the issuer refuses it: secrets are rotated.
    #[arg(
        long,
        env = "WORKOUT18_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "secret_stdin"
    )]
    pub(crate) secret_file: Option<PathBuf>,

    /// Reads the client secret from standard input, to its end.
    #[arg(long, env = "WORKOUT18_SECRET_STDIN")]
    pub(crate) secret_stdin: bool,

    /// Where Service B is. [default: http://127.0.0.1:9000/data]
    #[arg(long, env = "WORKOUT18_SERVICE_B_URL", value_name = "URL")]
    pub(crate) service_b_url: Option<String>,

    /// Scopes to ask for, separated by spaces.
    #[arg(long, env = "WORKOUT18_SCOPE", value_name = "SCOPES")]
    pub(crate) scope: Option<String>,

    /// Asks for a token for this audience (a parameter of some issuers).
    #[arg(long, env = "WORKOUT18_AUDIENCE", value_name = "AUDIENCE")]
    pub(crate) audience: Option<String>,

    /// Asks for a token for this resource (RFC 8707). May be repeated; in the variable separated by spaces.
    #[arg(
        long = "resource",
        env = "WORKOUT18_RESOURCE",
        value_name = "URI",
        value_delimiter = ' '
    )]
    pub(crate) resources: Vec<String>,

    /// How the client authenticates at the issuer: `basic` (Authorization header, id and secret form-encoded first),
    /// `basic-raw` (not encoded, for issuers that do not decode them) or `post` (body).
    #[arg(
        long,
        env = "WORKOUT18_CLIENT_AUTH",
        value_enum,
        default_value = "basic",
        value_name = "STYLE",
        hide_possible_values = true
    )]
    pub(crate) client_auth: ClientAuth,

    /// Longest time for each request to the issuer and to Service B, in seconds.
    #[arg(long, env = "WORKOUT18_TIMEOUT", default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Longest time for each connection, in seconds.
    #[arg(long, env = "WORKOUT18_CONNECT_TIMEOUT", default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,

    /// Lets the issuer and Service B be plain http on another machine. Dangerous: anyone in between can read the
    /// secret and the token.
    #[arg(long, env = "WORKOUT18_ALLOW_HTTP")]
    pub(crate) allow_http: bool,

    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    repetition: Repetition,
}

/// What is printed.
#[derive(Args, Clone, Copy)]
struct Form {
    /// Shows each request and each answer on standard error, secrets and tokens masked.
    #[arg(short, long, env = "WORKOUT18_VERBOSE")]
    verbose: bool,

    /// Prints JSON, failures included.
    #[arg(long, env = JSON_VARIABLE)]
    json: bool,

    /// Prints the access token and nothing else; does not call Service B.
    #[arg(long, env = "WORKOUT18_TOKEN_ONLY", conflicts_with = "json")]
    token_only: bool,
}

/// How often Service B is called.
#[derive(Args, Clone, Copy)]
#[group(multiple = true)]
struct Repetition {
    /// Calls this many times with one token and prints a summary of the latencies.
    #[arg(long, env = "WORKOUT18_REPEAT", value_name = "COUNT", conflicts_with_all = ["token_only", "watch"], value_parser = clap::value_parser!(u64).range(1..=MOST_CALLS))]
    repeat: Option<u64>,

    /// With --repeat: calls that are under way at the same time.
    #[arg(long, env = "WORKOUT18_CONCURRENCY", value_name = "COUNT", default_value = "1", requires = "repeat", value_parser = clap::value_parser!(u16).range(1..=MOST_AT_ONCE))]
    concurrency: u16,

    /// With --repeat: calls that are begun per second. Latencies then count from when a call was due.
    #[arg(long, env = "WORKOUT18_RATE", value_name = "PER_SECOND", requires = "repeat", value_parser = rate)]
    rate: Option<f64>,

    /// Calls at this interval, in seconds, until Ctrl-C; shows each call, and then a summary.
    #[arg(long, env = "WORKOUT18_WATCH", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "token_only", value_parser = seconds)]
    watch: Option<Duration>,
}

/// What is done with the token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    /// It is printed.
    TokenOnly,
    /// One call.
    Call,
    /// Many calls.
    Repeat(Load),
    /// A call at each interval.
    Watch(Duration),
}

/// How many calls are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) calls: u64,
    pub(crate) at_once: u16,
    /// From the start of one call to that of the next.
    pub(crate) spacing: Option<Duration>,
}

/// How the client authenticates at the token endpoint (RFC 6749 section 2.3.1). One style only: trying both would send
/// the secret twice (attack S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// HTTP Basic, id and secret form-encoded first.
    Basic,
    /// HTTP Basic, id and secret as they are (RFC 7617): some issuers do not form-decode.
    BasicRaw,
    /// In the body.
    Post,
}

/// Flags that would put the secret on the command line (attack S5).
const SECRET_FLAGS: [&str; 4] = [
    "--secret",
    "--client-secret",
    "--client_secret",
    "--password",
];

/// This one takes no value; who gives one means the secret.
const SECRET_STDIN: &str = "--secret-stdin";

/// The flag among `arguments` that holds a secret. Looked for before anything else, so that no other error quotes it.
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

/// Why such a flag is refused.
pub(crate) fn no_such_flag(flag: &str) -> String {
    format!(
        "{flag} with a secret is refused: other users of the machine can read command lines, and shells keep them. \
         Set {SECRET_VARIABLE}, or use --secret-file FILE or --secret-stdin; and change a secret that was typed here"
    )
}

/// The command, with the variables that are set. An empty value is the same as none, and so is `false` for a flag that
/// takes no value.
fn command() -> Command {
    Cli::command().mut_args(|argument| {
        let argument = argument.hide_env_values(true);
        let value = argument.get_env().and_then(env::var_os);
        let none = value.is_some_and(|value| {
            value.is_empty() || (value == "false" && !argument.get_action().takes_values())
        });
        if none {
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
    // Each stands for the other; the one that was typed wins over the one that was exported.
    match (typed(&matches, "issuer"), typed(&matches, "token_url")) {
        (true, false) => cli.token_url = None,
        (false, true) => cli.issuer = None,
        (true, true) | (false, false) => {}
    }
    Ok(cli)
}

/// The variables behind an error of [`parse`], which names the flags only.
pub(crate) fn variables_behind(error: &clap::Error, arguments: &[OsString]) -> Vec<String> {
    let mut flags = Vec::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match error.get(kind) {
            Some(ContextValue::String(flag)) => flags.push(flag.as_str()),
            Some(ContextValue::Strings(more)) => flags.extend(more.iter().map(String::as_str)),
            _ => {}
        }
    }
    if error.kind() == ErrorKind::MissingRequiredArgument {
        // It names what is missing, and not these, which miss it.
        flags.extend(["--concurrency", "--rate"]);
    }
    // What is written behind a flag is the name of its value.
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
            let behind =
                named.contains(&flag.as_str()) && !typed && env::var_os(variable).is_some();
            behind.then(|| variable.to_string_lossy().into_owned())
        })
        .collect()
}

fn typed(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(flag) == Some(ValueSource::CommandLine)
}

/// Whether JSON is asked for, when the command line itself cannot be read.
pub(crate) fn json_is_asked_for(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--json")
        || env::var_os(JSON_VARIABLE).is_some_and(|value| value == "true")
}

impl Cli {
    /// Whether requests and answers are shown.
    pub(crate) const fn verbose(&self) -> bool {
        self.form.verbose
    }

    /// Whether everything is printed as JSON.
    pub(crate) const fn json(&self) -> bool {
        self.form.json
    }

    /// What is to be done.
    pub(crate) fn task(&self) -> Task {
        let Repetition {
            repeat,
            concurrency,
            rate,
            watch,
        } = self.repetition;
        match (repeat, watch) {
            _ if self.form.token_only => Task::TokenOnly,
            (Some(calls), _) => Task::Repeat(Load {
                calls,
                at_once: concurrency,
                spacing: rate.map(|rate| Duration::from_secs_f64(rate.recip())),
            }),
            (None, Some(interval)) => Task::Watch(interval),
            (None, None) => Task::Call,
        }
    }
}

/// A time that a flag gives.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_SECONDS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("a number of seconds is needed, above 0, at most {LONGEST_SECONDS}"))
}

/// Calls per second.
fn rate(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|rate| (LOWEST_RATE..=HIGHEST_RATE).contains(rate))
        .ok_or_else(|| format!("a number from {LOWEST_RATE} to {HIGHEST_RATE} is needed"))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/service-a.md");

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_table_of_flags_in_the_readme_is_that_of_help() {
        let mut table =
            String::from("| flag | environment | default | meaning |\n| --- | --- | --- | --- |\n");
        for argument in Cli::command().get_arguments() {
            let name = argument.get_long().unwrap();
            let value = argument
                .get_value_names()
                .filter(|_| argument.get_action().takes_values())
                .map(|names| format!(" {}", names[0]))
                .unwrap_or_default();
            let variable = argument.get_env().map_or_else(
                || "none".to_owned(),
                |variable| format!("`{}`", variable.to_str().unwrap()),
            );
            let help = argument.get_help().unwrap().to_string();
            let (help, default) = match help.split_once(" [default: ") {
                Some((help, default)) => {
                    (help.to_owned(), default.trim_end_matches(']').to_owned())
                }
                None => {
                    let defaults = argument.get_default_values();
                    let default = defaults
                        .first()
                        .map(|value| value.to_str().unwrap().to_owned());
                    (help, default.unwrap_or_default())
                }
            };
            let default = match default.as_str() {
                _ if name == "issuer" => "this or `--token-url`".to_owned(),
                _ if name == "client-id" => "must be set".to_owned(),
                "" | "false" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let help = help.trim_end_matches('.');
            let short = argument
                .get_short()
                .map(|short| format!("`-{short}`, "))
                .unwrap_or_default();
            table.push_str(&format!(
                "| {short}`--{name}{value}` | {variable} | {default} | {help}. |\n"
            ));
        }
        assert!(
            DOCUMENT.contains(&table),
            "the document should have:\n{table}"
        );
    }

    #[test]
    fn the_variables_are_those_that_service_b_knows_to_be_ours() {
        let command = Cli::command();
        let of_flags = command.get_arguments().filter_map(Arg::get_env);
        let mut variables: Vec<_> = of_flags
            .map(|name| name.to_str().unwrap().to_owned())
            .chain([SECRET_VARIABLE.to_owned()])
            .collect();
        variables.sort();
        let mut known: Vec<_> = token_check::SERVICE_A_KEYS
            .iter()
            .map(|key| token_check::variable(key))
            .collect();
        known.sort();
        assert_eq!(variables, known);
    }

    #[test]
    fn the_table_of_exit_codes_in_the_readme_is_that_of_help() {
        let mut table = String::from("| exit code | meaning |\n| --- | --- |\n");
        for (code, meaning) in EXIT_CODES {
            table.push_str(&format!("| {code} | {meaning} |\n"));
        }
        assert!(
            DOCUMENT.contains(&table),
            "the document should have:\n{table}"
        );
    }

    #[test]
    fn tasks_are_what_the_flags_say() {
        let table: [(&[&str], Task); 6] = [
            (&[], Task::Call),
            (&["--json"], Task::Call),
            (&["--token-only"], Task::TokenOnly),
            (&["--watch"], Task::Watch(Duration::from_secs(1))),
            (&["--watch", "0.5"], Task::Watch(Duration::from_millis(500))),
            (
                &["--repeat", "10", "--concurrency", "3", "--rate", "4"],
                Task::Repeat(Load {
                    calls: 10,
                    at_once: 3,
                    spacing: Some(Duration::from_millis(250)),
                }),
            ),
        ];
        for (flags, task) in table {
            let arguments = ["service-a"].iter().chain(flags);
            assert_eq!(
                Cli::try_parse_from(arguments).unwrap().task(),
                task,
                "{flags:?}"
            );
        }
    }

    #[test]
    fn times_are_seconds_within_bounds() {
        let table = [
            ("1", Some(1000)),
            ("0.25", Some(250)),
            ("3600", Some(3_600_000)),
            ("3601", None),
            ("0", None),
            ("-1", None),
            ("1e-12", None),
            ("nan", None),
            ("inf", None),
            ("1s", None),
            ("", None),
        ];
        for (text, milliseconds) in table {
            assert_eq!(
                seconds(text).ok(),
                milliseconds.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
