//! Service A: gets an access token from its issuer and calls Service B with it.

mod advice;
mod ca_file;
mod call;
mod cli;
mod client_certificate;
mod console;
mod credential;
mod discovery;
mod dpop;
mod escape;
mod failure;
mod grant;
mod http;
mod interrupt;
mod json_value;
mod load;
mod python_repr;
mod report;
mod response;
mod run;
mod secret;
mod secret_source;
mod settings;
mod token_request;
mod token_source;
mod trace;
mod untrusted_text;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            console::print_error(&format!("Error: cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run::run(env::args_os().collect()));
    // Do not wait for a blocking read of the secret or a name lookup that is still pending.
    runtime.shutdown_background();
    code.into()
}
