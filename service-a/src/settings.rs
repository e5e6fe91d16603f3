//! What the command line and the environment say, checked. Every error names the variable and the flag, never a value.

use std::{
    env,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, ValueEnum};
use secrecy::zeroize::Zeroizing;
use url::Url;

use crate::{
    discovery::Issuer,
    http::{Timeouts, is_loopback},
    secret::ClientSecret,
};

/// Where the secret may come from the environment.
const SECRET_VARIABLE: &str = "WORKOUT18_CLIENT_SECRET";
/// Secrets are short; whoever names a larger file named the wrong one.
const LARGEST_SECRET: usize = 64 * 1024;
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
         secret itself: other users of the machine can read command lines, and shells keep them.\n\nExit codes:\n",
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
    /// The issuer, as it calls itself: https, or http on loopback.
    #[arg(
        long,
        env = "WORKOUT18_ISSUER",
        hide_env_values = true,
        value_name = "URL"
    )]
    issuer: Option<String>,

    /// The client id of Service A at the issuer.
    #[arg(
        long,
        env = "WORKOUT18_CLIENT_ID",
        hide_env_values = true,
        value_name = "ID"
    )]
    client_id: Option<String>,

    /// Reads the client secret from this file, and again if the issuer refuses it: secrets are rotated.
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    secret_file: Option<PathBuf>,

    /// Reads the client secret from standard input, to its end.
    #[arg(long)]
    secret_stdin: bool,

    /// Where Service B is. [default: http://127.0.0.1:9000/data]
    #[arg(
        long,
        env = "WORKOUT18_SERVICE_B_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    service_b_url: Option<String>,

    /// Scopes to ask for, separated by spaces.
    #[arg(
        long,
        env = "WORKOUT18_SCOPE",
        hide_env_values = true,
        value_name = "SCOPES"
    )]
    scope: Option<String>,

    /// Asks for a token for this audience (a parameter of some issuers).
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,

    /// Asks for a token for this resource (RFC 8707). May be repeated.
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<String>,

    /// How the client authenticates at the issuer: `basic` (Authorization header) or `post` (body).
    #[arg(long, value_enum, default_value = "basic", value_name = "STYLE")]
    client_auth: ClientAuth,

    /// Longest time for each request to the issuer and to Service B, in seconds.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    timeout: Duration,

    /// Longest time for each connection, in seconds.
    #[arg(long, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    connect_timeout: Duration,

    /// Lets Service B be plain http on another machine. Dangerous: whoever is in between can read the token.
    #[arg(long)]
    allow_http: bool,

    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    repetition: Repetition,
}

/// What is printed.
#[derive(Args, Clone, Copy)]
struct Form {
    /// Prints JSON, failures included.
    #[arg(long)]
    json: bool,

    /// Prints the access token and nothing else; does not call Service B.
    #[arg(long, conflicts_with = "json")]
    token_only: bool,
}

/// How often Service B is called.
#[derive(Args, Clone, Copy)]
#[group(multiple = true)]
struct Repetition {
    /// Calls so many times with one token and prints a summary of the latencies.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["token_only", "watch"], value_parser = clap::value_parser!(u64).range(1..=MOST_CALLS))]
    repeat: Option<u64>,

    /// With --repeat: calls that are under way at the same time.
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "repeat", value_parser = clap::value_parser!(u16).range(1..=MOST_AT_ONCE))]
    concurrency: u16,

    /// With --repeat: calls that are begun per second. Latencies then count from when a call was due.
    #[arg(long, value_name = "PER_SECOND", requires = "repeat", value_parser = rate)]
    rate: Option<f64>,

    /// Calls every so many seconds until Ctrl-C, shows each call, and then a summary.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "token_only", value_parser = seconds)]
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
    /// In the body.
    Post,
}

/// Everything that decides which token is asked for. A token source owns exactly one of these, so tokens of different
/// secrets, scopes, resources or audiences cannot meet (attack S1).
pub(crate) struct Grant {
    pub(crate) issuer: Issuer,
    pub(crate) client_id: String,
    pub(crate) secret: ClientSecret,
    /// Where the secret can be read again.
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) scopes: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) resources: Vec<String>,
}

/// Settings that can be used.
pub(crate) struct Settings {
    pub(crate) grant: Grant,
    pub(crate) service_b: Url,
    pub(crate) timeouts: Timeouts,
}

/// One setting that is missing or wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingError {
    variable: Option<&'static str>,
    flags: &'static str,
    problem: String,
}

impl SettingError {
    fn new(
        variable: Option<&'static str>,
        flags: &'static str,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            variable,
            flags,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable,
            flags,
            problem,
        } = self;
        match variable {
            Some(variable) => write!(f, "{variable} ({flags}) {problem}"),
            None => write!(f, "{flags} {problem}"),
        }
    }
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

impl Cli {
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

    /// Checks everything and reads the secret. Blocks while it reads.
    pub(crate) fn settings(self) -> Result<Settings, Vec<SettingError>> {
        let mut errors = Vec::new();
        let mut note = |error| errors.push(error);
        let issuer = required(self.issuer, "WORKOUT18_ISSUER", "--issuer")
            .and_then(issuer)
            .map_err(&mut note)
            .ok();
        let client_id = required(self.client_id, "WORKOUT18_CLIENT_ID", "--client-id")
            .map_err(&mut note)
            .ok();
        let secret = secret(self.secret_file.as_deref(), self.secret_stdin)
            .map_err(&mut note)
            .ok();
        let service_b =
            given(self.service_b_url).unwrap_or_else(|| "http://127.0.0.1:9000/data".to_owned());
        let service_b = service_b_url(&service_b, self.allow_http)
            .map_err(&mut note)
            .ok();
        let scopes = scopes(self.scope.as_deref().unwrap_or_default())
            .map_err(&mut note)
            .ok();
        match (issuer, client_id, secret, service_b, scopes) {
            (Some(issuer), Some(client_id), Some(secret), Some(service_b), Some(scopes)) => {
                Ok(Settings {
                    grant: Grant {
                        issuer,
                        client_id,
                        secret,
                        secret_file: self.secret_file,
                        client_auth: self.client_auth,
                        scopes,
                        audience: given(self.audience),
                        resources: self
                            .resources
                            .into_iter()
                            .filter_map(|uri| given(Some(uri)))
                            .collect(),
                    },
                    service_b,
                    timeouts: Timeouts {
                        connect: self.connect_timeout,
                        whole: self.timeout,
                    },
                })
            }
            _ => Err(errors),
        }
    }
}

/// An empty value is the same as none.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn required(
    value: Option<String>,
    variable: &'static str,
    flag: &'static str,
) -> Result<String, SettingError> {
    given(value)
        .ok_or_else(|| SettingError::new(Some(variable), flag, "is missing or empty: set it"))
}

fn issuer(text: String) -> Result<Issuer, SettingError> {
    let error = |problem: &str| SettingError::new(Some("WORKOUT18_ISSUER"), "--issuer", problem);
    let url = http_url(&text).map_err(error)?;
    if url.query().is_some() {
        return Err(error("must not have a query"));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(error(
            "is plain http to another machine, which shows the secret to the network: use https",
        ));
    }
    Ok(Issuer::new(text, url))
}

fn service_b_url(text: &str, allow_http: bool) -> Result<Url, SettingError> {
    let error = |problem: &str| {
        SettingError::new(Some("WORKOUT18_SERVICE_B_URL"), "--service-b-url", problem)
    };
    let url = http_url(text).map_err(error)?;
    if url.scheme() == "http" && !is_loopback(&url) && !allow_http {
        return Err(error(
            "is plain http to another machine, which shows the token to the network: use https, or add --allow-http",
        ));
    }
    Ok(url)
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    // The parser drops blanks; the issuer's name must be the one that was checked.
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let url = Url::parse(text)
        .ok()
        .filter(|_| !text.contains(blank))
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("is not an http or https URL with a host")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must not have a user, a password or a fragment");
    }
    Ok(url)
}

fn scopes(text: &str) -> Result<Vec<String>, SettingError> {
    let is_token = |scope: &str| {
        scope
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let scopes: Vec<_> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.iter().all(|scope| is_token(scope)) {
        return Ok(scopes.into_iter().map(str::to_owned).collect());
    }
    Err(SettingError::new(
        Some("WORKOUT18_SCOPE"),
        "--scope",
        "must be scope tokens separated by spaces (RFC 6749 section 3.3)",
    ))
}

fn secret(file: Option<&Path>, stdin: bool) -> Result<ClientSecret, SettingError> {
    if let Some(path) = file {
        return secret_from_file(path);
    }
    if stdin {
        let error = |problem: String| SettingError::new(None, "--secret-stdin", problem);
        if io::stdin().is_terminal() {
            return Err(error(
                "reads from a terminal, which would show the secret: pipe it in".to_owned(),
            ));
        }
        return secret_from(io::stdin().lock()).map_err(error);
    }
    let error = |problem: &str| {
        SettingError::new(
            Some(SECRET_VARIABLE),
            "--secret-file, --secret-stdin",
            problem,
        )
    };
    let value = env::var_os(SECRET_VARIABLE).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| error("is missing or empty: set it"))?;
    let value = value.into_string().map_err(|_| error("is not UTF-8"))?;
    checked(value).map_err(error)
}

/// The secret in a file, at the start and when the issuer refuses it.
pub(crate) fn secret_from_file(path: &Path) -> Result<ClientSecret, SettingError> {
    File::open(path)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(secret_from)
        .map_err(|problem| SettingError::new(None, "--secret-file", problem))
}

fn secret_from(source: impl Read) -> Result<ClientSecret, String> {
    // One allocation of full size: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_SECRET + 1));
    source
        .take(LARGEST_SECRET as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > LARGEST_SECRET {
        return Err(format!(
            "holds more than {LARGEST_SECRET} bytes, which is no secret"
        ));
    }
    let text = str::from_utf8(&bytes).map_err(|_| "is not UTF-8")?;
    // The line end that editors and `echo` add.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    checked(text.to_owned()).map_err(str::to_owned)
}

fn checked(secret: String) -> Result<ClientSecret, &'static str> {
    if secret.chars().any(char::is_control) {
        return Err("holds control characters or more than one line, which is no secret");
    }
    ClientSecret::new(secret).ok_or("holds an empty secret")
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
    use clap::CommandFactory as _;

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
                _ if ["issuer", "client-id"].contains(&name) => "must be set".to_owned(),
                "" | "false" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let help = help.trim_end_matches('.');
            table.push_str(&format!(
                "| `--{name}{value}` | {variable} | {default} | {help}. |\n"
            ));
        }
        assert!(
            DOCUMENT.contains(&table),
            "the document should have:\n{table}"
        );
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
