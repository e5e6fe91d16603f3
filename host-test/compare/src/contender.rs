//! Who is loaded.

use std::{net::SocketAddr, ops::RangeInclusive, rc::Rc};

use anyhow::{Context as _, Result, ensure};
use host_test::wire::{exchange, get};

use crate::{issuer::Issuer, load::tokens::Tokens};

/// What is called for: every app answers it, whoever asks.
pub(crate) const PATH: &str = "/health";

/// The first request of some needs longer: the issuer's address is looked up, or a VM is warmed.
const TRIES: u32 = 5;

/// Header fields of a request.
pub(crate) type Headers = Rc<[(String, String)]>;

/// What no auth check reads, this often.
pub(crate) fn unread_headers(count: usize) -> Headers {
    let header = |number| (format!("x-unread-{number}"), format!("value {number:08}"));
    (0..count).map(header).collect()
}

/// One server.
pub(crate) struct Contender {
    /// Short and unique.
    pub(crate) name: &'static str,
    /// What it does, for who reads the table.
    pub(crate) what: &'static str,
    pub(crate) address: SocketAddr,
    /// Whose time on a processor counts.
    pub(crate) pid: Option<u32>,
    pub(crate) tokens: Rc<Tokens>,
    /// What each request has besides Authorization.
    pub(crate) headers: Headers,
    /// A token that it must refuse. `None`: it checks nothing.
    pub(crate) bad: Option<String>,
    pub(crate) issuer: Rc<Issuer>,
    /// Questions to the issuer per request under load.
    pub(crate) calls_per_request: RangeInclusive<f64>,
}

/// Questions to the issuer per request of a contender that has cached what it needs, or needs no
/// issuer.
pub(crate) const NEVER: RangeInclusive<f64> = 0.0..=0.0;
/// Of one whose cache another worker or another instance does not share.
pub(crate) const SELDOM: RangeInclusive<f64> = 0.0..=0.02;
/// One that is still on its way when the load ends is a introspection call without a request; a second
/// introspection call for one in fifty requests is too many.
pub(crate) const EACH_TIME: RangeInclusive<f64> = 1.0..=1.02;

impl Contender {
    /// It lets a good token in and, if it checks anything, a bad one not.
    pub(crate) async fn check(&self) -> Result<()> {
        let good = self.tokens.first();
        let mut status = 0;
        for _ in 0..TRIES {
            status = self.status(good).await?;
            if status == 200 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        ensure!(
            status == 200,
            "{}: a good token is answered with {status}",
            self.name
        );
        if let Some(bad) = &self.bad {
            let status = self.status(bad).await?;
            ensure!(
                status == 401,
                "{}: a bad token is answered with {status}",
                self.name
            );
        }
        Ok(())
    }

    /// The issuer was called so many more times while so many requests were answered: is that what
    /// was to be measured?
    pub(crate) fn check_calls(&self, calls: u64, requests: u64) -> Result<()> {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let is_right = self
            .calls_per_request
            .contains(&(calls as f64 / requests as f64));
        ensure!(
            is_right,
            "{}: {calls} introspection calls for {requests} requests",
            self.name
        );
        Ok(())
    }

    async fn status(&self, token: &str) -> Result<u16> {
        let request = get(PATH, format!("Bearer {token}"));
        let reply = exchange(self.address, &request).await;
        Ok(reply.with_context(|| self.name)?.status)
    }
}
