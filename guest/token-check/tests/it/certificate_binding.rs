//! Tokens that are bound to a client certificate (RFC 8705 section 3).

use token_check::{
    CacheStatus, CertificateSource, Problem, Reason, RequestHead, SettingSource, SettingValues,
};

use crate::fixture::{Clock, Instance, Issuer, active, head, policy, reason, try_policy};

/// RFC 8705 appendix A, and the same in hexadecimal.
const THUMBPRINT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
const HEX: &[u8] = b"0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd";
const OTHER: &[u8] = b"0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fe";

/// A service that caches, and an issuer that binds every token like this.
fn instance(binding: &str, cnf: &str) -> Instance {
    let issuer = Issuer::new(active(&format!(r#","cnf":{cnf}"#)));
    let settings = [
        ("certificate_binding", binding),
        ("certificate_header", "X-Certificate"),
        ("cache_ttl", "60"),
    ];
    Instance::new(&settings, &issuer, &Clock::new())
}

/// What comes of a request with this certificate.
fn get(instance: &mut Instance, certificate: &[&[u8]]) -> (Option<Reason>, Option<CacheStatus>) {
    let request = RequestHead {
        client_certificate: certificate,
        ..head(&[b"Bearer abc"], "/data")
    };
    let step = instance.check.begin(&request, Clock::new().now());
    let verdict = instance.finish(step);
    (reason(&verdict.decision), verdict.cache)
}

#[test]
fn j9_every_request_needs_the_certificate_whether_or_not_the_token_is_cached() {
    let bound = format!(r#"{{"x5t#S256":"{THUMBPRINT}"}}"#);
    let rows: [(&[&[u8]], Option<Reason>); 6] = [
        (&[], Some(Reason::ClientCertificateMissing)),
        (&[OTHER], Some(Reason::ClientCertificateMismatch)),
        (&[HEX], None),
        (&[OTHER], Some(Reason::ClientCertificateMismatch)),
        (&[HEX, HEX], Some(Reason::ClientCertificateMissing)),
        (&[b"none"], Some(Reason::ClientCertificateMissing)),
    ];
    for binding in ["connection", "header"] {
        for first in rows {
            let mut instance = instance(binding, &bound);
            assert_eq!(
                get(&mut instance, first.0),
                (first.1, Some(CacheStatus::Miss))
            );
            for (certificate, reason) in rows {
                let cached = (reason, Some(CacheStatus::Hit));
                assert_eq!(get(&mut instance, certificate), cached, "{certificate:?}");
            }
        }
    }
}

#[test]
fn j9_without_the_setting_and_for_another_binding_no_certificate_helps() {
    let bound = format!(r#"{{"x5t#S256":"{THUMBPRINT}"}}"#);
    let also_a_key = format!(r#"{{"x5t#S256":"{THUMBPRINT}","jkt":"{THUMBPRINT}"}}"#);
    for (binding, cnf) in [
        ("off", bound.as_str()),
        ("header", &also_a_key),
        ("header", &format!(r#"{{"jkt":"{THUMBPRINT}"}}"#)),
        (
            "header",
            r#"{"x5t":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}"#,
        ),
        (
            "header",
            r#"{"x5t#S256":"0380ed2f626650c840b2f263e6d2b29f"}"#,
        ),
        ("header", "{}"),
        ("header", "1"),
    ] {
        let mut instance = instance(binding, cnf);
        for status in [CacheStatus::Miss, CacheStatus::Hit] {
            let missing = Some(Reason::ProofOfPossessionMissing);
            assert_eq!(get(&mut instance, &[HEX]), (missing, Some(status)), "{cnf}");
        }
    }
}

#[test]
fn rfc8705_s3_a_token_that_is_not_bound_needs_no_certificate() {
    for certificate in [&[][..], &[HEX]] {
        let mut instance = instance("header", "null");
        let granted = (None, Some(CacheStatus::Miss));
        assert_eq!(get(&mut instance, certificate), granted);
    }
}

/// Requests that wait for one call each have a certificate of their own.
#[test]
fn j9_who_waits_for_the_same_token_does_not_share_the_certificate() {
    let mut instance = instance("connection", &format!(r#"{{"x5t#S256":"{THUMBPRINT}"}}"#));
    let now = Clock::new().now();
    let request = |certificate| RequestHead {
        client_certificate: certificate,
        ..head(&[b"Bearer abc"], "/data")
    };
    let (leader, action) = crate::fixture::leads(instance.check.begin(&request(&[HEX]), now));
    let token_check::Step::Join(other) = instance.check.begin(&request(&[OTHER]), now) else {
        panic!("the same token");
    };
    let ticket = instance.run_to_call(action);
    let _ = instance.respond(ticket);
    assert_eq!(reason(&instance.resume(leader).decision), None);
    let refused = Some(Reason::ClientCertificateMismatch);
    assert_eq!(reason(&instance.resume(other).decision), refused);
}

#[test]
fn the_host_is_told_where_the_certificate_is() {
    let source = |settings: &[_]| match policy(settings).certificate_source() {
        CertificateSource::None => "none".to_owned(),
        CertificateSource::Connection => "connection".to_owned(),
        CertificateSource::Header(name) => format!("header {name}"),
    };
    let header = ("certificate_header", "Client-Cert");
    assert_eq!(source(&[]), "none");
    assert_eq!(source(&[header]), "none");
    assert_eq!(
        source(&[("certificate_binding", "connection"), header]),
        "connection"
    );
    assert_eq!(
        source(&[("certificate_binding", "header"), header]),
        "header client-cert"
    );
}

#[test]
fn f2_spin_has_no_connection_and_a_header_needs_its_name() {
    let problem = |settings: &[_]| {
        let error = try_policy(settings).unwrap_err();
        (error.key, error.problem)
    };
    let binding = ("certificate_binding", "header");
    let key = || "certificate_header".to_owned();
    assert_eq!(problem(&[binding]), (key(), Problem::Missing));
    assert_eq!(
        problem(&[binding, ("certificate_header", "client-cert x")]),
        (key(), Problem::NotAHeaderName)
    );

    let values = [
        ("introspect_url", "https://issuer.example/introspect"),
        ("resource_client_id", "service-b"),
        ("resource_client_secret", "a secret of some length"),
        ("certificate_binding", "connection"),
    ];
    let values = values.map(|(key, value)| (format!("auth_{key}"), value.to_owned()));
    let values = SettingValues::from_spin_variables(values).unwrap();
    let error = token_check::Policy::from_values(&values, SettingSource::SpinVariable);
    assert_eq!(
        error.unwrap_err().to_string(),
        "setting `certificate_binding` (Spin variable auth_certificate_binding) cannot be `connection` in Spin, which \
         does not tell components about TLS: use `header` behind a proxy that terminates TLS, and let nobody else reach \
         Spin"
    );
    let here = token_check::Policy::from_values(&values, SettingSource::EnvoyEnvironment);
    assert_eq!(
        here.unwrap().certificate_source(),
        CertificateSource::Connection
    );
}
