//! The flags and their environment variables. `settings` checks the values.

mod parse;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser};

use crate::grant::ClientAuth;

pub(crate) use self::parse::{
    parse, secret_flag_refused, secret_on_the_command_line, variables_at_fault, wants_json,
};

/// The environment variable of the client secret.
pub(crate) const SECRET_VARIABLE: &str = "WORKOUT18_CLIENT_SECRET";
/// The variable of `--json`. It also applies to errors of the command line itself.
const JSON_VARIABLE: &str = "WORKOUT18_JSON";
/// The longest time that a flag accepts, in seconds.
const MAX_SECONDS: f64 = 3600.0;

/// More calls would take days. The limit also keeps the arithmetic of times far from overflow.
const MAX_CALLS: u64 = 1_000_000_000;
/// Each pending call holds a socket, and 1024 open files are a common limit.
const MAX_CONCURRENCY: i64 = 1000;
/// Above this rate the clock cannot tell the calls apart.
const MAX_RATE: f64 = 1e6;
/// Below this rate nobody would wait for the second call.
const MIN_RATE: f64 = 1e-3;

/// The exit codes and their meanings.
const EXIT_CODES: [(u8, &str); 8] = [
    (
        0,
        "Service B granted the call; with `--token-only`: the issuer gave a token",
    ),
    (1, "the output could not be written"),
    (2, "a flag or a setting is missing or wrong"),
    (3, "the issuer cannot be reached"),
    (4, "the issuer gave no access token"),
    (5, "Service B refused the call"),
    (6, "Service B cannot be reached"),
    (130, "Ctrl-C"),
];

/// The text at the end of `--help`.
fn after_help() -> String {
    let mut text = String::from(
        "The secret comes from WORKOUT18_CLIENT_SECRET, --secret-file or --secret-stdin. No flag \
         takes the secret itself, because other users of the machine can read command lines, and \
         shells keep them.\n\n\
         A flag takes precedence over its variable. An empty variable counts as not set. The \
         variable of a flag without a value is `true` or `false`. SSL_CERT_FILE names a file of \
         certificate authorities that replace the system's. HTTPS_PROXY, HTTP_PROXY and NO_PROXY \
         are obeyed, except for loopback.\n\nExit codes:\n",
    );
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text.push_str(
        "With --repeat and --watch it is the code of the first call that failed, or that of Ctrl-C.",
    );
    text
}

/// Service A: gets an access token from its OAuth 2.0 issuer (client credentials grant) and calls
/// Service B with it.
#[derive(Parser)]
#[command(name = "service-a", version, after_help = after_help(), max_term_width = 100)]
pub(crate) struct Cli {
    /// The issuer, exactly as its metadata names it: https, or http on loopback or with
    /// --allow-http. The metadata names the token endpoint.
    #[arg(long, env = "WORKOUT18_ISSUER", value_name = "URL")]
    pub(crate) issuer: Option<String>,

    /// The token endpoint itself, in place of --issuer, if the metadata is missing or wrong.
    #[arg(long, env = "WORKOUT18_TOKEN_URL", value_name = "URL")]
    pub(crate) token_url: Option<String>,

    /// The client id of Service A at the issuer.
    #[arg(long, env = "WORKOUT18_CLIENT_ID", value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Reads the client secret, or the private key, from this file, and again if the issuer rejects
    /// it, as after a rotation.
    #[arg(
        long,
        env = "WORKOUT18_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "secret_stdin"
    )]
    pub(crate) secret_file: Option<PathBuf>,

    /// Reads the client secret, or the private key, from standard input, to its end.
    #[arg(long, env = "WORKOUT18_SECRET_STDIN")]
    pub(crate) secret_stdin: bool,

    /// The URL to call at Service B. [default: http://127.0.0.1:9000/data]
    #[arg(long, env = "WORKOUT18_SERVICE_B_URL", value_name = "URL")]
    pub(crate) service_b_url: Option<String>,

    /// Requests these scopes, separated by spaces.
    #[arg(long, env = "WORKOUT18_SCOPE", value_name = "SCOPES")]
    pub(crate) scope: Option<String>,

    /// Requests a token for this audience (a parameter of some issuers).
    #[arg(long, env = "WORKOUT18_AUDIENCE", value_name = "AUDIENCE")]
    pub(crate) audience: Option<String>,

    /// Requests a token for this resource (RFC 8707). May be repeated; the variable separates
    /// resources by spaces.
    #[arg(
        long = "resource",
        env = "WORKOUT18_RESOURCE",
        value_name = "URI",
        value_delimiter = ' '
    )]
    pub(crate) resources: Vec<String>,

    /// How the client authenticates at the issuer: `basic` (Authorization header, id and secret
    /// form-encoded first), `basic-raw` (not encoded, for issuers that do not decode them), `post`
    /// (request body), `client_secret_jwt` or `private_key_jwt` (RFC 7523: an assertion signed with
    /// the secret or with a private key, which then stands in place of the secret, as a JWK or in
    /// PEM), or `none` (only the client id).
    #[arg(
        long,
        env = "WORKOUT18_CLIENT_AUTH",
        value_enum,
        default_value = "basic",
        value_name = "STYLE",
        hide_possible_values = true
    )]
    pub(crate) client_auth: ClientAuth,

    /// The audience of assertions. If not set, the issuer; with --token-url, the token endpoint.
    #[arg(long, env = "WORKOUT18_ASSERTION_AUDIENCE", value_name = "AUDIENCE")]
    pub(crate) assertion_audience: Option<String>,

    /// A PEM file with a certificate, its chain and its private key, for TLS to the issuer and to
    /// Service B (RFC 8705).
    #[arg(long, env = "WORKOUT18_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub(crate) client_certificate: Option<PathBuf>,

    /// Requests tokens that are bound to a key, which is made anew by each run, and proves with each
    /// request that it holds the key (DPoP, RFC 9449).
    #[arg(long, env = "WORKOUT18_USE_DPOP")]
    pub(crate) use_dpop: bool,

    /// Timeout of each request to the issuer and to Service B, in seconds.
    #[arg(long, env = "WORKOUT18_TIMEOUT", default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Timeout for establishing each connection, in seconds.
    #[arg(long, env = "WORKOUT18_CONNECT_TIMEOUT", default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,

    /// Allows plain http to an issuer or Service B on another machine. Dangerous: anyone in between
    /// can read the secret and the token.
    #[arg(long, env = "WORKOUT18_ALLOW_HTTP")]
    pub(crate) allow_http: bool,

    #[command(flatten)]
    output: OutputFormat,

    #[command(flatten)]
    repetition: Repetition,
}

/// What is printed.
#[derive(Args, Clone, Copy)]
struct OutputFormat {
    /// Shows each request and response on standard error, with secrets and tokens masked.
    #[arg(short, long, env = "WORKOUT18_VERBOSE")]
    verbose: bool,

    /// Prints JSON, for failures too.
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
    #[arg(long, env = "WORKOUT18_REPEAT", value_name = "COUNT", conflicts_with_all = ["token_only", "watch"], value_parser = clap::value_parser!(u64).range(1..=MAX_CALLS))]
    repeat: Option<u64>,

    /// With --repeat: the number of concurrent calls.
    #[arg(long, env = "WORKOUT18_CONCURRENCY", value_name = "COUNT", default_value = "1", requires = "repeat", value_parser = clap::value_parser!(u16).range(1..=MAX_CONCURRENCY))]
    concurrency: u16,

    /// With --repeat: the number of calls to start per second. Latencies then count from the time
    /// at which a call was due.
    #[arg(long, env = "WORKOUT18_RATE", value_name = "PER_SECOND", requires = "repeat", value_parser = rate)]
    rate: Option<f64>,

    /// Calls at this interval, in seconds, until Ctrl-C; shows each call, and a summary at the end.
    #[arg(long, env = "WORKOUT18_WATCH", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "token_only", value_parser = seconds)]
    watch: Option<Duration>,
}

/// What to do with the token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    /// Print it.
    TokenOnly,
    /// Call Service B once.
    Call,
    /// Call many times.
    Repeat(LoadOptions),
    /// Call at each interval.
    Watch(Duration),
}

/// How many calls to make, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoadOptions {
    pub(crate) calls: u64,
    pub(crate) concurrency: u16,
    /// The time from the start of one call to the start of the next.
    pub(crate) interval: Option<Duration>,
}

impl Cli {
    /// Whether requests and responses are shown.
    pub(crate) const fn verbose(&self) -> bool {
        self.output.verbose
    }

    /// Whether everything is printed as JSON.
    pub(crate) const fn json(&self) -> bool {
        self.output.json
    }

    /// What to do.
    pub(crate) fn task(&self) -> Task {
        let Repetition {
            repeat,
            concurrency,
            rate,
            watch,
        } = self.repetition;
        match (repeat, watch) {
            _ if self.output.token_only => Task::TokenOnly,
            (Some(calls), _) => Task::Repeat(LoadOptions {
                calls,
                concurrency,
                interval: rate.map(|rate| Duration::from_secs_f64(rate.recip())),
            }),
            (None, Some(interval)) => Task::Watch(interval),
            (None, None) => Task::Call,
        }
    }
}

/// Parses a time.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= MAX_SECONDS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("expected a number of seconds above 0, at most {MAX_SECONDS}"))
}

/// Parses a number of calls per second.
fn rate(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|rate| (MIN_RATE..=MAX_RATE).contains(rate))
        .ok_or_else(|| format!("expected a number from {MIN_RATE} to {MAX_RATE}"))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _};

    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/service-a.md");

    #[test]
    fn the_clap_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_table_of_flags_is_that_of_help() {
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
            "docs/service-a.md should have:\n{table}"
        );
    }

    #[test]
    fn the_variables_are_those_that_service_b_accepts_as_ours() {
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
    fn the_documented_table_of_exit_codes_is_that_of_help() {
        let mut table = String::from("| exit code | meaning |\n| --- | --- |\n");
        for (code, meaning) in EXIT_CODES {
            table.push_str(&format!("| {code} | {meaning} |\n"));
        }
        assert!(
            DOCUMENT.contains(&table),
            "docs/service-a.md should have:\n{table}"
        );
    }

    #[test]
    fn flags_select_the_task() {
        let table: [(&[&str], Task); 6] = [
            (&[], Task::Call),
            (&["--json"], Task::Call),
            (&["--token-only"], Task::TokenOnly),
            (&["--watch"], Task::Watch(Duration::from_secs(1))),
            (&["--watch", "0.5"], Task::Watch(Duration::from_millis(500))),
            (
                &["--repeat", "10", "--concurrency", "3", "--rate", "4"],
                Task::Repeat(LoadOptions {
                    calls: 10,
                    concurrency: 3,
                    interval: Some(Duration::from_millis(250)),
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
