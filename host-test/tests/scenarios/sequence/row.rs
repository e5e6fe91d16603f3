//! What a sequence is: settings, and steps that each say what has to come of them.

use std::time::Duration;

use spin_host::StoreFault;

/// Requests of one step, one after the other. In Envoy every other one is another worker's.
pub(crate) const REQUESTS: usize = 4;

/// As a name of a token: the one that the auth check asks about to learn whether the issuer is there.
pub(crate) const PROBE: &str = "the probe";

pub(crate) struct Sequence {
    /// The row of ATTACKS.md or what it pins.
    pub(crate) name: &'static str,
    pub(crate) settings: Vec<(&'static str, String)>,
    /// A second auth check beside the first one.
    pub(crate) other: Option<Other>,
    pub(crate) steps: Vec<Step>,
}

/// How the second auth check differs.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Its issuer is another one.
    pub(crate) has_own_issuer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    First,
    Other,
}

impl Deployment {
    /// The host that its callers name.
    pub(crate) const fn host(self) -> &'static str {
        match self {
            Self::First => "service-b.test",
            Self::Other => "other.test",
        }
    }
}

/// Tokens are called by short names; `{now+N}` in a document is so many seconds from when the
/// issuer begins to say it.
#[derive(Clone)]
pub(crate) enum Step {
    /// [`REQUESTS`] times the same request.
    Request(Request),
    /// What the issuer of this auth check says about the token from now on.
    Responds(Deployment, &'static str, Responds),
    /// The first auth check's issuer stops listening.
    Down,
    Up,
    Wait(Duration),
    /// So many tokens that nobody has ever issued, each once: each is called about, and refused.
    Spray(usize),
    /// The token is revoked now. It is sent again and again until nobody takes it any more, which
    /// must not be sooner nor later than so long after the issuer was called about it.
    RefusedAfter(&'static str, Duration),
    /// What somebody who can write into the shared store does.
    Tamper(Tamper),
    /// The shared store, from now on.
    Store(Option<StoreFault>),
}

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) deployment: Deployment,
    pub(crate) token: Option<&'static str>,
    pub(crate) path: &'static str,
    /// The first one that each memory sees.
    pub(crate) first: Expect,
    pub(crate) then: Expect,
    /// For each where no request finds what an earlier one left in memory, if that is something
    /// else.
    pub(crate) forgetful: Option<Expect>,
    /// Each is answered within this.
    pub(crate) within: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Expect {
    pub(crate) verdict: Verdict,
    pub(crate) facts: Facts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The app sees the claims that the issuer said last.
    Granted,
    /// With a reason of README.md.
    Refused(&'static str),
}

/// Where the facts of a request come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facts {
    /// The issuer is called once in all, for the first of them.
    IntrospectedOnce,
    /// The issuer is called for each.
    Introspected,
    /// They are known, and nobody is called.
    Cached,
    /// They are known and past their time; the issuer is called for each.
    Stale,
    /// The same, and no introspection call reaches the issuer.
    StaleWithoutCall,
    /// There are none, and no introspection call reaches the issuer.
    WithoutCall,
    /// It never came to that.
    None,
}

#[derive(Clone)]
pub(crate) enum Responds {
    /// This document, and that it is active.
    Active(&'static str),
    Inactive,
    Status(u16),
}

#[derive(Clone)]
pub(crate) enum Tamper {
    /// Keeps a copy of the record about this token, the only one that has come since the last copy.
    Copy(&'static str),
    /// Puts the copy back.
    PutBack(&'static str),
    /// Puts one token's record in another one's place.
    Swap {
        of: &'static str,
        over: &'static str,
    },
    /// Puts back the copy with one bit changed: in the byte at this place, from the end where it is
    /// negative.
    Flip(&'static str, isize),
    /// Puts back so many bytes of the copy.
    Truncate(&'static str, usize),
    /// Puts back the copy with something behind it.
    Extend(&'static str),
    /// Puts this in place of the record.
    Forge(&'static str, &'static [u8]),
    /// Puts the copy into the other auth check's store.
    Import(&'static str),
}

pub(crate) fn sequence(name: &'static str) -> Sequence {
    Sequence {
        name,
        settings: Vec::new(),
        other: None,
        steps: Vec::new(),
    }
}

impl Sequence {
    pub(crate) fn with(mut self, setting: &'static str, value: &str) -> Self {
        self.settings.push((setting, value.to_owned()));
        self
    }

    pub(crate) fn other(mut self, settings: &[(&'static str, &str)], has_own_issuer: bool) -> Self {
        self.other = Some(Other {
            settings: settings
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned()))
                .collect(),
            has_own_issuer,
        });
        self
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(crate) fn responds(self, token: &'static str, responds: Responds) -> Self {
        self.step(Step::Responds(Deployment::First, token, responds))
    }

    pub(crate) fn wait_ms(self, milliseconds: u64) -> Self {
        self.step(Step::Wait(Duration::from_millis(milliseconds)))
    }

    pub(crate) fn tamper(self, tamper: Tamper) -> Self {
        self.step(Step::Tamper(tamper))
    }

    pub(crate) fn granted(self, token: &'static str, path: &'static str, facts: Facts) -> Self {
        self.request(token, path, Verdict::Granted, facts)
    }

    pub(crate) fn refused(
        self,
        token: &'static str,
        path: &'static str,
        reason: &'static str,
        facts: Facts,
    ) -> Self {
        self.request(token, path, Verdict::Refused(reason), facts)
    }

    fn request(
        self,
        token: &'static str,
        path: &'static str,
        verdict: Verdict,
        facts: Facts,
    ) -> Self {
        let expect = Expect { verdict, facts };
        self.step(Step::Request(Request {
            deployment: Deployment::First,
            token: Some(token),
            path,
            first: expect,
            then: expect,
            forgetful: None,
            within: None,
        }))
    }

    /// Without a token.
    pub(crate) fn anonymous(self, path: &'static str, verdict: Verdict) -> Self {
        self.request("", path, verdict, Facts::None)
            .change(|request| request.token = None)
    }

    fn change(mut self, change: impl FnOnce(&mut Request)) -> Self {
        let Some(Step::Request(request)) = self.steps.last_mut() else {
            panic!("the last step is no request");
        };
        change(request);
        self
    }

    /// The last request goes to the other auth check.
    pub(crate) fn at_other(self) -> Self {
        self.change(|request| request.deployment = Deployment::Other)
    }

    /// What the first one that a memory sees gets instead.
    pub(crate) fn first(self, verdict: Verdict, facts: Facts) -> Self {
        self.change(|request| request.first = Expect { verdict, facts })
    }

    /// What each gets instead where instances have nothing in common but the store.
    pub(crate) fn forgetful(self, verdict: Verdict, facts: Facts) -> Self {
        self.change(|request| request.forgetful = Some(Expect { verdict, facts }))
    }

    pub(crate) fn within_ms(self, milliseconds: u64) -> Self {
        self.change(|request| request.within = Some(Duration::from_millis(milliseconds)))
    }
}
