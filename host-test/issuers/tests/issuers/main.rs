//! The product against servers that nobody here wrote. `cargo test --test issuers django` runs some
//! of it.

#![expect(
    clippy::unwrap_used,
    reason = "a harness that fails is a test that fails"
)]

mod certificates;
mod client_auth;
mod deployment;
mod dpop;
mod facts;
mod rotation;
mod service_a;
mod steps;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use anyhow::Result;
use issuers::{Issuer, Product};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Handle, Runtime};

use self::{deployment::Host, steps::Step};

/// Trials mostly wait for servers.
const THREADS: usize = 4;

/// A server that the first trial that needs it starts.
struct Shared {
    product: Product,
    runtime: Handle,
    issuer: OnceLock<Result<Issuer, String>>,
}

impl Shared {
    fn trial<F>(self: &Arc<Self>, name: &str, check: F) -> Trial
    where
        F: AsyncFnOnce(&Issuer) -> Result<()> + Send + 'static,
    {
        let shared = Arc::clone(self);
        let name = format!("{}::{name}", self.product.name());
        let trial = Trial::test(name, move || {
            let start = || {
                shared
                    .runtime
                    .block_on(shared.product.start())
                    .map_err(shown)
            };
            let issuer = shared
                .issuer
                .get_or_init(start)
                .as_ref()
                .map_err(Failed::from)?;
            let checked = shared.runtime.block_on(check(issuer));
            checked.map_err(|error| {
                format!("{}\nThe issuer logged:\n{}", shown(error), issuer.log()).into()
            })
        });
        trial.with_ignored_flag(!self.product.is_available())
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    if issuers::is_skipped() {
        eprintln!("skipped: SKIP_ISSUERS=1");
        return ExitCode::SUCCESS;
    }
    // For `reqwest`, whichever test comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let issuers = Product::ALL.map(|product| {
        Arc::new(Shared {
            product,
            runtime: runtime.handle().clone(),
            issuer: OnceLock::new(),
        })
    });
    let mut trials = vec![Trial::test("docs_list_the_issuers", || {
        facts::docs_list_the_issuers().map_err(|error| shown(error).into())
    })];
    for issuer in &issuers {
        trials.push(issuer.trial("docs_say_what_it_answers", facts::docs_say_what_it_answers));
        trials.push(issuer.trial(
            "service_a_is_told_of_a_wrong_secret",
            steps::service_a_is_told_of_a_wrong_secret,
        ));
        if issuer.product == Product::NodeOidcProvider {
            trials.push(issuer.trial(
                "rfc7523_service_a_signs_assertions",
                client_auth::service_a_signs_assertions,
            ));
        }
        for host in Host::ALL.into_iter().filter(|host| !host.is_skipped()) {
            for step in Step::ALL
                .into_iter()
                .filter(|step| step.applies_to(issuer.product))
            {
                let name = format!("{}::{}", host.name(), step.name());
                trials.push(issuer.trial(&name, async move |issuer| step.play(host, issuer).await));
            }
            if issuer.product == Product::NodeOidcProviderHttps {
                let name = format!(
                    "{}::rfc8705_a_bound_token_is_good_with_its_certificate_alone",
                    host.name()
                );
                trials.push(issuer.trial(&name, async move |issuer| {
                    certificates::a_bound_token_is_good_with_its_certificate_alone(host, issuer)
                        .await
                }));
            }
            if issuer.product == Product::NodeOidcProvider {
                let name = format!("{}::rfc7523_assertions_are_accepted", host.name());
                trials.push(issuer.trial(&name, async move |issuer| {
                    client_auth::assertions_are_accepted(host, issuer).await
                }));
                let name = format!(
                    "{}::rfc9449_a_bound_token_is_good_for_its_key_alone",
                    host.name()
                );
                trials.push(issuer.trial(&name, async move |issuer| {
                    dpop::a_bound_token_is_good_for_its_key_alone(host, issuer).await
                }));
                let name = format!("{}::j5_a_rotation_refuses_no_good_token", host.name());
                trials.push(issuer.trial(&name, async move |_| {
                    rotation::a_rotation_refuses_no_good_token(host).await
                }));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends the servers; `exit` would skip it.
    drop(issuers);
    conclusion.exit_code()
}

fn shown(error: anyhow::Error) -> String {
    format!("{error:#}")
}
