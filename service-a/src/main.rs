//! Service A: gets an access token from its issuer and calls Service B with it.

mod advice;
mod call;
mod cli;
mod discovery;
mod exchange;
mod failure;
mod http;
mod interrupt;
mod load;
mod output;
mod run;
mod secret;
mod settings;
mod text;
mod token;
mod trace;
mod trust;
mod value;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("Error: cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run::run(env::args_os().collect()));
    // A read of the secret or a name lookup that is under way is not waited for.
    runtime.shutdown_background();
    code.into()
}
