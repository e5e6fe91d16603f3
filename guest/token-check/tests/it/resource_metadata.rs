//! The metadata of the service (RFC 9728).

use token_check::{AuthCheck, Decision, Reason, Step};

use crate::fixture::{Clock, head, policy};

fn decision(settings: &[(&str, &str)], path: &str) -> Decision {
    let mut check = AuthCheck::<()>::new(policy(settings), [0; 16]);
    match check.begin(&head(&[], path), Clock::new().now()) {
        Step::Done(verdict) => {
            assert!(verdict.cache.is_none() && verdict.event.is_none());
            let is_decided = !matches!(verdict.decision, Decision::Answered(_));
            assert_eq!(verdict.audit.is_some(), is_decided);
            verdict.decision
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn rfc9728_s3_1_where_the_metadata_are_follows_from_the_identifier() {
    let well_known = "/.well-known/oauth-protected-resource";
    for (identifier, path, origin) in [
        ("https://b.example", "", "https://b.example"),
        ("https://b.example/", "", "https://b.example"),
        ("https://b.example/api", "/api", "https://b.example"),
        ("https://b.example/api/", "/api/", "https://b.example"),
        (
            "https://b.example:8443/a%20b",
            "/a%20b",
            "https://b.example:8443",
        ),
        ("http://[::1]:9000/data", "/data", "http://[::1]:9000"),
    ] {
        let settings = [("resource_identifier", identifier), ("audit", "true")];
        let Decision::Answered(response) = decision(&settings, &format!("{well_known}{path}"))
        else {
            panic!("{identifier}");
        };
        assert_eq!(response.status, 200);
        assert_eq!(
            response.body,
            format!(r#"{{"resource":"{identifier}","bearer_methods_supported":["header"]}}"#)
        );
        // Envoy decodes such an escape, and shows the filter the path that it forwards.
        let escaped = format!("{}{path}", well_known.replace("oauth", "%6fauth"));
        assert!(matches!(
            decision(&settings, &escaped),
            Decision::Refused(_)
        ));
        let Decision::Refused(refusal) = decision(&settings, &format!("{well_known}{path}x"))
        else {
            panic!("{identifier}");
        };
        assert_eq!(refusal.reason(), Reason::NoCredentials);
        let challenge =
            format!(r#"Bearer realm="service-b", resource_metadata="{origin}{well_known}{path}""#);
        let headers = refusal.response(&policy(&settings)).headers;
        assert!(
            headers.contains(&("www-authenticate", challenge)),
            "{headers:?}"
        );
    }
}

#[test]
fn rfc9728_s2_scopes_of_the_default_policy_count_only_where_it_applies() {
    let path = "/.well-known/oauth-protected-resource";
    for (rules, scopes) in [
        (
            r#"[{"path":{"prefix":"/a"},"scopes":{"all":["a"]}}]"#,
            r#"["z","a"]"#,
        ),
        (
            r#"[{"path":{"prefix":"/a"},"scopes":{"any":[",","b"]}},{"scopes":{"all":["b","a"]}}]"#,
            r#"["z",",","b","a"]"#,
        ),
        (r#"[{"path":{"prefix":"/a"},"public":true}]"#, r#"["z"]"#),
    ] {
        let settings = [
            ("resource_identifier", "https://b.example"),
            ("required_scope", "z"),
            ("rules", rules),
        ];
        let Decision::Answered(response) = decision(&settings, path) else {
            panic!("{rules}");
        };
        let expected = format!(
            r#"{{"resource":"https://b.example","scopes_supported":{scopes},"bearer_methods_supported":["header"]}}"#
        );
        assert_eq!(response.body, expected, "{rules}");
    }
}
