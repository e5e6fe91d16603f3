//! The product against servers that nobody here wrote. `cargo test --test issuers django` runs some of it.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that fails is a test that fails"
)]

mod facts;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use anyhow::Result;
use issuers::{Issuer, Product};
use libtest_mimic::{Arguments, Failed, Trial};

/// Trials mostly wait for servers.
const THREADS: usize = 4;

/// A server that the first trial that needs it starts.
struct Shared {
    product: Product,
    issuer: OnceLock<Result<Issuer, String>>,
}

impl Shared {
    fn get(&self, runtime: &tokio::runtime::Handle) -> Result<&Issuer, Failed> {
        let start = || {
            runtime
                .block_on(self.product.start())
                .map_err(|error| format!("{error:#}"))
        };
        self.issuer
            .get_or_init(start)
            .as_ref()
            .map_err(Failed::from)
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    if issuers::is_skipped() {
        eprintln!("skipped: SKIP_ISSUERS=1");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut trials = vec![Trial::test("docs_list_the_issuers", || {
        facts::docs_list_the_issuers().map_err(failed)
    })];
    let issuers = Product::ALL.map(|product| {
        Arc::new(Shared {
            product,
            issuer: OnceLock::new(),
        })
    });
    for issuer in &issuers {
        let name = format!("{}::docs_say_what_it_answers", issuer.product.name());
        let handle = runtime.handle().clone();
        let shared = Arc::clone(issuer);
        let trial = Trial::test(name, move || {
            let issuer = shared.get(&handle)?;
            handle
                .block_on(facts::docs_say_what_it_answers(issuer))
                .map_err(|error| failed(error.context(issuer.log())))
        });
        trials.push(trial.with_ignored_flag(!issuer.product.is_available()));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends the servers; `exit` would skip it.
    drop(issuers);
    conclusion.exit_code()
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
