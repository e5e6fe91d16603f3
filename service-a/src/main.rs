//! Service A: gets an access token from its issuer and calls Service B with it.

mod advice;
mod call;
mod discovery;
mod failure;
mod http;
mod interrupt;
mod output;
mod run;
mod secret;
mod settings;
mod text;
mod token;
mod value;

use std::{env, process::ExitCode};

use clap::Parser as _;

use crate::{failure::Class, settings::Cli};

fn main() -> ExitCode {
    if let Some(flag) = settings::secret_on_the_command_line(env::args_os().skip(1)) {
        output::complain(&format!("Error: {}\n", settings::no_such_flag(flag)));
        return Class::Settings.exit_code().into();
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("Error: cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run::run(cli));
    // A read of the secret or a name lookup that is under way is not waited for.
    runtime.shutdown_background();
    code.into()
}
