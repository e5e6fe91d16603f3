//! What becomes of settings: refused with the line that an operator sees, or in force and told at
//! the start.

use token_check::{
    Policy, SETTINGS, SettingSource, SettingValues, SettingsError, Summary, spin_variables,
    unknown_variable,
};

const SECRET: &str = "s3cr3t-and-then-some";

fn policy(extra: &[(&str, &str)]) -> Result<Policy, SettingsError> {
    let base = [
        ("introspect_url", "https://idp.example.com:8443/introspect"),
        ("resource_client_id", "service-b"),
        ("resource_client_secret", SECRET),
    ];
    let settings = base.iter().chain(extra);
    Policy::new(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

/// The line of what must be refused.
fn refused(extra: &[(&str, &str)]) -> String {
    let line = policy(extra).unwrap_err().to_string();
    assert!(!line.contains(SECRET), "{line}");
    line
}

fn summary(extra: &[(&str, &str)]) -> (String, bool) {
    let Summary { line, is_warning } = policy(extra).unwrap().summary();
    (line, is_warning)
}

#[test]
fn accidental_characters_are_refused_in_every_setting_but_those_that_are_json() {
    let faults = [
        (
            "x\n",
            "has a line feed in it, which `echo` adds and `printf %s` does not",
        ),
        ("x\r", "has a carriage return in it"),
        ("\u{feff}x", "has a byte order mark (U+FEFF) in it"),
        (" x", "begins or ends with a space"),
        ("x ", "begins or ends with a space"),
        ("\"x\"", "has quotes (\") around it that are part of it"),
        ("'x'", "has quotes (') around it that are part of it"),
        ("x\u{200b}", "has the invisible character U+200B in it"),
    ];
    let is_json = |key: &str| ["client_key", "issuers", "jwks", "rules"].contains(&key);
    for setting in SETTINGS.iter().filter(|setting| !is_json(setting.key)) {
        for (value, fault) in faults {
            let value = value.replace('x', &format!("{SECRET}{SECRET}"));
            assert_eq!(
                refused(&[(setting.key, &value)]),
                format!(
                    "setting `{}` (WORKOUT18_{}) {fault}: remove what does not belong to it",
                    setting.key,
                    setting.key.to_uppercase()
                )
            );
        }
    }
    assert!(policy(&[("rules", " \r\n\t[ ]\n")]).is_ok());
    assert!(
        policy(&[(
            "resource_client_secret",
            "with a blank, 'quotes' and \u{fc} inside"
        )])
        .is_ok()
    );
}

#[test]
fn the_shared_store_is_the_one_that_is_named() {
    assert_eq!(policy(&[]).unwrap().cache_store(), None);
    let named = policy(&[("cache_store", "default")]).unwrap();
    assert_eq!(named.cache_store(), Some("default"));
}

#[test]
fn all_and_none_are_no_names_of_claims() {
    for value in ["all sub", "sub none", "all none", "ALL", "None", "sub All"] {
        assert_eq!(
            refused(&[("claims_header", value)]),
            "setting `claims_header` (WORKOUT18_CLAIMS_HEADER) must be `all` or `none`, alone and in lower case, \
             or names of claims separated by spaces"
        );
    }
    assert!(policy(&[("claims_header", "sub email")]).is_ok());
}

#[test]
fn a_list_with_a_comma_is_refused_and_more_than_one_space_is_one() {
    for key in [
        "expected_aud",
        "required_scope",
        "allowed_clients",
        "allowed_grant_types",
        "require",
        "token_types",
        "claims_header",
    ] {
        for value in ["a,b", "a, b", "a ,b"] {
            assert_eq!(
                refused(&[(key, value)]),
                format!(
                    "setting `{key}` (WORKOUT18_{}) has a comma: separate by spaces; only a rule can require a value that contains a comma",
                    key.to_uppercase()
                )
            );
        }
    }
    let (line, _) = summary(&[("expected_aud", "a  b")]);
    assert!(
        line.starts_with(r#"required of a token: audience "a" or "b", "#),
        "{line}"
    );
}

#[test]
fn the_origin_is_the_origin_and_nothing_more() {
    let line = "setting `introspect_origin` (WORKOUT18_INTROSPECT_ORIGIN) must be `https://idp.example.com:8443`, \
                the scheme, host and port of `introspect_url`, and nothing more";
    for wrong in [
        "https://idp.example.com:8443/",
        "https://idp.example.com:8443/introspect",
        "https://idp.example.com:8443?",
        "https://idp.example.com:8443#",
        "https://u@idp.example.com:8443",
        "https://idp.example.com",
        "http://idp.example.com:8443",
        "https://other.example.com:8443",
        "idp.example.com:8443",
        "//idp.example.com:8443",
        "*",
    ] {
        assert_eq!(refused(&[("introspect_origin", wrong)]), line, "{wrong}");
    }
    assert!(policy(&[("introspect_origin", "https://idp.example.com:8443")]).is_ok());
    let v6 = "http://[::1]:8080";
    let url = "http://[::1]:8080/introspect";
    assert!(policy(&[("introspect_url", url), ("introspect_origin", v6)]).is_ok());
}

#[test]
fn a_url_with_a_blank_in_it_is_none() {
    assert_eq!(
        refused(&[("introspect_url", "https://idp.example.com/ introspect")]),
        "setting `introspect_url` (WORKOUT18_INTROSPECT_URL) is not an http or https URL with a host"
    );
}

#[test]
fn limits_are_taken_within_their_bounds() {
    let rows = [
        ("max_token_bytes", "256", "65536", ["255", "65537"]),
        ("max_answer_bytes", "1024", "262144", ["1023", "262145"]),
    ];
    for (key, low, high, wrong) in rows {
        for good in [low, high] {
            assert!(policy(&[(key, good)]).is_ok(), "{key}={good}");
        }
        for wrong in wrong.into_iter().chain(["64k", "1e4"]) {
            assert_eq!(
                refused(&[(key, wrong)]),
                format!(
                    "setting `{key}` (WORKOUT18_{}) must be a whole number of bytes from {low} to {high}",
                    key.to_uppercase()
                )
            );
        }
    }
}

#[test]
fn rfc7617_s2_basic_raw_takes_no_client_id_with_a_colon() {
    let raw = ("client_auth", "basic-raw");
    assert_eq!(
        refused(&[("resource_client_id", "svc:b"), raw]),
        "setting `resource_client_id` (WORKOUT18_RESOURCE_CLIENT_ID) has a colon, at which `client_auth` = `basic-raw` \
         would truncate it: use `basic` or `post`"
    );
    assert!(policy(&[("resource_client_secret", "p%Q+r:s"), raw]).is_ok());
    assert!(policy(&[("resource_client_id", "svc:b")]).is_ok());
    assert_eq!(
        refused(&[("client_auth", "basic_raw")]),
        "setting `client_auth` (WORKOUT18_CLIENT_AUTH) must be `basic`, `basic-raw`, `post`, `client_secret_jwt`, `private_key_jwt`, \
         `bearer`, `tls_client_auth` or `none`"
    );
}

const PUBLIC: &str = r#"{"path":{"exact":"/health"},"public":true}"#;
const DENIED: &str = r#"{"path":{"prefix":"/admin"},"deny":true}"#;

#[test]
fn require_refuses_a_policy_that_lacks_the_requirement() {
    let demands = [
        ("audience", "expected_aud"),
        ("scope", "required_scope"),
        ("client", "allowed_clients"),
        ("issuer", "expected_issuer"),
    ];
    for (word, setting) in demands {
        let line = format!(
            "setting `require` (WORKOUT18_REQUIRE) has `{word}`, and none is required: set `{setting}`"
        );
        assert_eq!(refused(&[("require", word)]), line);
        assert_eq!(refused(&[("require", word), (setting, "")]), line);
        // What is public or denied lets no token through; what no rule matches is under the default
        // policy.
        let rules = format!("[{PUBLIC},{DENIED}]");
        assert_eq!(refused(&[("require", word), ("rules", &rules)]), line);
        let met = [("require", word), (setting, "x"), ("rules", rules.as_str())];
        assert!(policy(&met).is_ok(), "{word}");
    }
    assert_eq!(
        refused(&[("require", "audience scope"), ("expected_aud", "a")]),
        "setting `require` (WORKOUT18_REQUIRE) has `scope`, and none is required: set `required_scope`"
    );
}

#[test]
fn require_refuses_a_rule_that_accepts_tokens_without_the_requirement() {
    let rule = |more: &str| format!(r#"{{"name":"orders","path":{{"prefix":"/orders"}}{more}}}"#);
    let everything = r#"{"name":"rest","clients":["a"],"audiences":["a"]}"#;
    // Every request meets a rule, so the default policy may be empty.
    let rules = |first: &str| format!("[{PUBLIC},{first},{everything}]");
    let lacking = rules(&rule(r#","audiences":["a"]"#));
    assert_eq!(
        refused(&[("require", "client"), ("rules", &lacking)]),
        "setting `require` (WORKOUT18_REQUIRE) has `client`, and rule 2 (\"orders\") accepts tokens without one: require it there, or set `allowed_clients`"
    );
    assert!(policy(&[("require", "audience"), ("rules", &lacking)]).is_ok());
    let unnamed = r#"[{"path":{"exact":"/a"},"scopes":{"any":["s"]}},{"clients":["a"]}]"#;
    assert_eq!(
        refused(&[("require", "scope"), ("rules", unnamed)]),
        "setting `require` (WORKOUT18_REQUIRE) has `scope`, and rule 2 accepts tokens without one: require it there, or set `required_scope`"
    );
    let closed = r#"[{"path":{"exact":"/a"},"scopes":{"any":["s"]}},{"deny":true}]"#;
    assert!(policy(&[("require", "scope"), ("rules", closed)]).is_ok());
    // A public rule for everything does not match a request without a path: the default policy
    // does.
    let public = r#"[{"public":true}]"#;
    assert_eq!(
        refused(&[("require", "scope"), ("rules", public)]),
        "setting `require` (WORKOUT18_REQUIRE) has `scope`, and none is required: set `required_scope`"
    );
}

#[test]
fn the_error_of_a_missing_requirement_names_where_it_can_get_lost() {
    use SettingSource::*;
    let rows = [
        (Environment, ""),
        (
            EnvoyEnvironment,
            "; if it is set, is WORKOUT18_EXPECTED_AUD in `host_env_keys`?",
        ),
        (
            EnvoyConfiguration,
            "; if it is set, is WORKOUT18_EXPECTED_AUD in `host_env_keys`?",
        ),
        (
            SpinVariable,
            "; if it is set, is auth_expected_aud in [component.<app>.variables] of spin.toml?",
        ),
        (
            SpinSettings,
            "; if it is set, is auth_expected_aud in [component.<app>.variables] of spin.toml?",
        ),
    ];
    for (place, hint) in rows {
        let error = policy(&[("require", "audience")]).unwrap_err().at(place);
        let line = error.to_string();
        let (_, told) = line.split_once("has `audience`, and ").unwrap();
        assert_eq!(told, format!("none is required: set `expected_aud`{hint}"));
    }
}

#[test]
fn require_takes_its_own_words_only() {
    let rows = [
        ("audiences", "did you mean `audience`?"),
        ("aud", "use `audience`, `scope`, `client` and `issuer`"),
        ("scopes", "did you mean `scope`?"),
        (
            "everything",
            "use `audience`, `scope`, `client` and `issuer`",
        ),
    ];
    for (word, hint) in rows {
        let line =
            format!("setting `require` (WORKOUT18_REQUIRE) has the unknown word `{word}`: {hint}");
        assert_eq!(refused(&[("require", word)]), line);
    }
}

#[test]
fn the_requirements_are_summarized_in_one_line() {
    let line = |line: &str| (line.to_owned(), false);
    assert_eq!(
        summary(&[
            ("expected_aud", "https://b c"),
            ("required_scope", "read write"),
            ("allowed_clients", "shop"),
            ("expected_issuer", "https://idp.example.com"),
            ("allowed_grant_types", "client_credentials"),
            ("cache_ttl", "60"),
        ]),
        line(concat!(
            r#"required of a token: audience "https://b" or "c", scope "read" and "write", client "shop", "#,
            r#"issuer "https://idp.example.com", grant type "client_credentials"; rules: none; cache: 60 s"#
        ))
    );
    assert_eq!(
        summary(&[
            ("expected_aud", "b"),
            (
                "rules",
                &format!(r#"[{PUBLIC},{DENIED},{{"path":{{"exact":"/a"}},"ttl":5}}]"#)
            ),
        ]),
        line(concat!(
            r#"required of a token: audience "b", scope any, client any, issuer any, grant type any; "#,
            "rules: 3, 1 of them public, 0 require nothing; cache: by the `ttl` of rules"
        ))
    );
    assert_eq!(
        summary(&[("rules", r#"[{"clients":["a"]}]"#)]),
        line(
            "every request matches a rule; rules: 1, 0 of them public, 0 require nothing; cache: none"
        )
    );
    let many: Vec<_> = (1..=12).map(|n| format!("c{n}")).collect();
    let (told, _) = summary(&[("allowed_clients", &many.join(" "))]);
    assert!(told.contains(r#" or "c10" or 2 more, "#), "{told}");
    // Values cannot break the line, nor end their quotes.
    let (told, _) = summary(&[("expected_issuer", "a\"; rules: none")]);
    assert!(told.contains(r#"issuer "a\"; rules: none", "#), "{told}");
}

#[test]
fn a_summary_without_requirements_is_a_warning() {
    let open = |line: &str| (line.to_owned(), true);
    assert_eq!(
        summary(&[]),
        open(
            "nothing is required: every active token of this issuer is accepted; rules: none; cache: none"
        )
    );
    assert_eq!(
        summary(&[("rules", r#"[{"path":{"exact":"/a"},"clients":["a"]}]"#)]),
        open(
            "where no rule matches, nothing is required: every active token of this issuer is accepted; \
             rules: 1, 0 of them public, 0 require nothing; cache: none"
        )
    );
    assert_eq!(
        summary(&[(
            "rules",
            r#"[{"name":"all","path":{"prefix":"/a"}},{"deny":true}]"#
        )]),
        open(
            "rule 1 (\"all\") requires nothing: every active token of this issuer is accepted there; \
             rules: 2, 0 of them public, 1 require nothing; cache: none"
        )
    );
}

fn given(json: &str, place: SettingSource) -> Result<SettingValues, SettingsError> {
    let mut given = SettingValues::new();
    given.merge_json(json, place)?;
    Ok(given)
}

#[test]
fn a_setting_is_called_what_it_is_called_where_it_stands() {
    use SettingSource::*;
    let missing = [
        (
            Environment,
            "setting `introspect_url` (WORKOUT18_INTROSPECT_URL) is missing or empty: set it; with `issuer` it is not needed",
        ),
        (
            EnvoyEnvironment,
            "setting `introspect_url` (WORKOUT18_INTROSPECT_URL) is missing or empty: export WORKOUT18_INTROSPECT_URL \
             and list it in `host_env_keys`, or put `introspect_url` into the plugin's `configuration`; with \
             `issuer` it is not needed",
        ),
        (
            EnvoyConfiguration,
            "setting `introspect_url` (in the plugin's configuration) is missing or empty: export \
             WORKOUT18_INTROSPECT_URL and list it in `host_env_keys`, or put `introspect_url` into the plugin's \
             `configuration`; with `issuer` it is not needed",
        ),
        (
            SpinVariable,
            "setting `introspect_url` (Spin variable auth_introspect_url) is missing or empty: set \
             auth_introspect_url, or `introspect_url` in auth_settings, in [component.<app>.variables] of spin.toml, \
             and have \"variables\" in `inherit_configuration` of the middleware; with `issuer` it is not needed",
        ),
    ];
    for (place, line) in missing {
        let error = Policy::from_values(&SettingValues::new(), place).unwrap_err();
        assert_eq!(error.to_string(), line);
    }
    let wrong = [
        (Environment, "setting `timeout` (WORKOUT18_TIMEOUT) "),
        (EnvoyEnvironment, "setting `timeout` (WORKOUT18_TIMEOUT) "),
        (
            EnvoyConfiguration,
            "setting `timeout` (in the plugin's configuration) ",
        ),
        (
            SpinVariable,
            "setting `timeout` (Spin variable auth_timeout) ",
        ),
        (
            SpinSettings,
            "setting `timeout` (in the Spin variable auth_settings) ",
        ),
    ];
    for (place, start) in wrong {
        let mut given = SettingValues::new();
        for (key, value) in [
            ("introspect_url", "https://idp.example.com/"),
            ("resource_client_id", "b"),
            ("resource_client_secret", SECRET),
        ] {
            given.set(key, value.to_owned(), Environment);
        }
        given.set("timeout", "0".to_owned(), place);
        let error = Policy::from_values(&given, Environment).unwrap_err();
        let line = format!("{start}must be a whole number of seconds from 1 to 60");
        assert_eq!(error.to_string(), line);
    }
}

#[test]
fn a_misspelt_key_is_refused_with_the_one_that_was_meant() {
    let rows = [
        ("expected_audience", "did you mean `expected_aud`?"),
        ("required_scopes", "did you mean `required_scope`?"),
        ("cache_tll", "did you mean `cache_ttl`?"),
        ("WORKOUT18_EXPECTED_AUD", "did you mean `expected_aud`?"),
        ("auth_timeout", "did you mean `timeout`?"),
        ("qqq", "see the table of settings in README.md"),
    ];
    for (key, hint) in rows {
        // Whatever else is wrong or missing.
        let given = given(&format!(r#"{{"{key}":""}}"#), SettingSource::SpinSettings).unwrap();
        assert_eq!(
            Policy::from_values(&given, SettingSource::SpinVariable)
                .unwrap_err()
                .to_string(),
            format!("setting `{key}` (in the Spin variable auth_settings) is unknown: {hint}")
        );
    }
}

#[test]
fn json_is_one_object_of_single_values() {
    let rows = [
        ("[]", "the Spin variable auth_settings is not a JSON object"),
        (
            "{'a':1}",
            "the Spin variable auth_settings is not a JSON object: key must be a string at line 1 column 2",
        ),
        (
            r#"{"timeout":1,"timeout":2}"#,
            "the Spin variable auth_settings is not a JSON object: a key twice in one object at line 1 column 22",
        ),
        (
            r#"{"expected_aud":["a","b"]}"#,
            "setting `expected_aud` (in the Spin variable auth_settings) must be a single value; a list is one string, \
             separated by spaces",
        ),
        (
            r#"{"timeout":1.5}"#,
            "setting `timeout` (in the Spin variable auth_settings) has a number that is not whole",
        ),
    ];
    for (json, line) in rows {
        let error = given(json, SettingSource::SpinSettings)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.to_string(), line);
    }
    let given = given(
        r#"{"timeout":7,"audit":true,"realm":null,"rules":[{"deny":true}]}"#,
        SettingSource::SpinSettings,
    )
    .unwrap();
    let values = ["timeout", "audit", "realm", "rules"].map(|key| given.get(key));
    assert_eq!(
        values,
        [Some("7"), Some("true"), None, Some(r#"[{"deny":true}]"#)]
    );
}

#[test]
fn in_spin_a_setting_is_a_variable_or_a_member_and_never_both() {
    let of =
        |settings, more: &[_]| timeout_in_spin(&[&[("auth_settings", settings)], more].concat());
    assert_eq!(of("", &[("auth_timeout", "7")]), Ok(7));
    assert_eq!(of(r#"{"timeout":7}"#, &[]), Ok(7));
    // An empty value is none, in either place.
    assert_eq!(of(r#"{"timeout":7}"#, &[("auth_timeout", "")]), Ok(7));
    assert_eq!(of(r#"{"timeout":""}"#, &[("auth_timeout", "7")]), Ok(7));
    let twice = "setting `timeout` (Spin variable auth_timeout) is also given in auth_settings: remove one of the two";
    assert_eq!(
        of(r#"{"timeout":7}"#, &[("auth_timeout", "7")]),
        Err(twice.to_owned())
    );
    // In whatever order the host lists them.
    assert_eq!(
        timeout_in_spin(&[("auth_timeout", "7"), ("auth_settings", r#"{"timeout":7}"#)]),
        Err(twice.to_owned())
    );
    let names: Vec<_> = spin_variables().collect();
    assert_eq!(names.first().map(String::as_str), Some("auth_settings"));
    assert_eq!(names.len(), SETTINGS.len() + 1);
}

#[test]
fn in_spin_a_variable_with_our_prefix_that_is_no_setting_is_refused() {
    let rows = [
        (
            "auth_expected_audience",
            "service-a",
            "setting `expected_audience` (Spin variable auth_expected_audience) is unknown: did you mean auth_expected_aud?",
        ),
        // What it would set may be empty only here.
        (
            "auth_required_scopes",
            "",
            "setting `required_scopes` (Spin variable auth_required_scopes) is unknown: did you mean auth_required_scope?",
        ),
        (
            "auth_setings",
            r#"{"expected_aud":"service-a"}"#,
            "setting `setings` (Spin variable auth_setings) is unknown: did you mean auth_settings?",
        ),
        (
            "auth_",
            "",
            "setting `` (Spin variable auth_) is unknown: see the table of settings in README.md",
        ),
    ];
    for (name, value, line) in rows {
        assert_eq!(
            timeout_in_spin(&[("auth_timeout", "7"), (name, value)]),
            Err(line.to_owned())
        );
    }
}

#[test]
fn in_spin_variables_of_the_app_are_not_ours() {
    let of_the_app = [
        ("timeout", "30s"),
        ("expected_aud", "a, b"),
        ("auth", "x"),
        ("authority", "y"),
    ];
    let ours = [("auth_timeout", "7")];
    assert_eq!(
        timeout_in_spin(&[of_the_app.as_slice(), &ours].concat()),
        Ok(7)
    );
}

/// The timeout by these Spin variables and others that must be set.
fn timeout_in_spin(more: &[(&str, &str)]) -> Result<u64, String> {
    let base = [
        ("auth_introspect_url", "https://idp.example.com/"),
        ("auth_resource_client_id", "b"),
        ("auth_resource_client_secret", SECRET),
    ];
    let variables = base.iter().chain(more);
    SettingValues::from_spin_variables(
        variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
    .and_then(|given| Policy::from_values(&given, SettingSource::SpinVariable))
    .map(|policy| policy.timeout().as_secs())
    .map_err(|error| error.to_string())
}

#[test]
fn a_later_object_replaces_values_and_drops_no_requirement() {
    let (first, later) = (
        SettingSource::EnvoyEnvironment,
        SettingSource::EnvoyConfiguration,
    );
    let mut values = given(
        r#"{"timeout":7,"require":"audience","expected_aud":"b"}"#,
        first,
    )
    .unwrap();
    let more = r#"{"timeout":8,"require":"scope","expected_aud":"","leeway":9}"#;
    values.merge_json(more, later).unwrap();
    for (key, value, source) in [
        ("timeout", "8", later),
        ("require", "audience scope", later),
        ("expected_aud", "b", first),
        ("leeway", "9", later),
    ] {
        assert_eq!(
            (values.get(key), values.source(key)),
            (Some(value), Some(source))
        );
    }
}

#[test]
fn a_value_that_is_taken_is_gone_and_was_checked() {
    let text = r#"{"a":"x","b":"","c":"x\u200b"}"#;
    let mut values = given(text, SettingSource::EnvoyConfiguration).unwrap();
    for (key, taken) in [("a", Some("x")), ("a", None), ("b", None), ("d", None)] {
        assert_eq!(values.take(key).unwrap().as_deref(), taken, "{key}");
    }
    let refused = values.take("c").unwrap_err().to_string();
    assert!(
        refused.starts_with("setting `c` (in the plugin's configuration) "),
        "{refused}"
    );
}

#[test]
fn a_secret_that_is_missing_is_not_asked_for_in_the_configuration() {
    let text = r#"{"introspect_url":"https://idp.example.com/","resource_client_id":"b"}"#;
    let values = given(text, SettingSource::EnvoyConfiguration).unwrap();
    let error = Policy::from_values(&values, SettingSource::EnvoyEnvironment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "setting `resource_client_secret` (WORKOUT18_RESOURCE_CLIENT_SECRET) is missing or empty: export \
         WORKOUT18_RESOURCE_CLIENT_SECRET and list it in `host_env_keys`"
    );
}

/// What docs/settings.md shows is what an operator sees.
#[test]
fn the_lines_of_the_documentation_are_those_of_the_code() {
    const DOCUMENT: &str = include_str!("../../../../docs/settings.md");
    let rules = format!(
        r#"[{PUBLIC},{{"name":"orders","path":{{"prefix":"/orders"}}}},{{"clients":["a"]}}]"#
    );
    let origin = [
        ("introspect_url", "https://idp.example.com/introspect"),
        ("introspect_origin", "https://idp.example.com/"),
    ];
    let misspelt = given(
        r#"{"expected_audience":"b"}"#,
        SettingSource::EnvoyConfiguration,
    )
    .unwrap();
    let lines = [
        unknown_variable(["WORKOUT18_EXPECTED_AUDIENCE"])
            .unwrap()
            .to_string(),
        Policy::from_values(&misspelt, SettingSource::EnvoyEnvironment)
            .unwrap_err()
            .to_string(),
        timeout_in_spin(&[("auth_expected_audience", "b")]).unwrap_err(),
        refused(&[("require", "audience")]),
        policy(&[("require", "audience")])
            .unwrap_err()
            .at(SettingSource::EnvoyEnvironment)
            .to_string(),
        refused(&[("require", "client"), ("rules", &rules)]),
        refused(&[("resource_client_secret", "secret\n")]),
        refused(&[("required_scope", "read,write")]),
        Policy::from_values(&SettingValues::new(), SettingSource::EnvoyEnvironment)
            .unwrap_err()
            .to_string(),
        Policy::from_values(&SettingValues::new(), SettingSource::SpinVariable)
            .unwrap_err()
            .to_string(),
        policy(&origin)
            .unwrap_err()
            .at(SettingSource::SpinVariable)
            .to_string(),
        summary(&[
            ("expected_aud", "https://orders"),
            ("allowed_clients", "shop batch"),
            ("cache_ttl", "60"),
        ])
        .0,
        summary(&[]).0,
    ];
    for line in lines {
        assert!(DOCUMENT.contains(&format!("\n{line}\n")), "{line}");
    }
}

#[test]
fn a_short_client_secret_is_a_warning_if_something_derived_from_it_leaves_the_instance() {
    const WARNING: &str = "; the client secret is short: who reads an audit line or a shared result may guess it, so set cache_key";
    let (short, long) = ("fifteen-letters", "sixteen--letters");
    let key = ("cache_key", "0123456789abcdef0123456789abcdef");
    for (secret, extra, warns) in [
        (short, vec![], false),
        (short, vec![("audit", "true")], true),
        (short, vec![("cache_ttl", "1")], true),
        (short, vec![("audit", "true"), key], false),
        (long, vec![("audit", "true"), ("cache_ttl", "1")], false),
    ] {
        let required = ("expected_aud", "b");
        let settings = [vec![("resource_client_secret", secret), required], extra].concat();
        let (line, is_warning) = summary(&settings);
        assert_eq!(
            (line.ends_with(WARNING), is_warning),
            (warns, warns),
            "{line}"
        );
    }
}

#[test]
fn a_short_cache_key_is_refused_and_never_shown() {
    let short = "0123456789abcdef0123456789abcde";
    let error = refused(&[("cache_key", short)]);
    assert_eq!(
        error,
        "setting `cache_key` (WORKOUT18_CACHE_KEY) must have at least 32 characters, such as the output of `openssl rand -hex 32`"
    );
    let shown = format!(
        "{:?}",
        policy(&[("cache_key", &format!("{short}f"))]).unwrap()
    );
    assert!(!shown.contains(short), "{shown}");
}

/// The JSON of the sample is taken as it stands: no template of Spin's is in it.
#[test]
fn the_sample_of_a_spin_app_makes_a_policy() {
    const DOCUMENT: &str = include_str!("../../../../docs/spin.md");
    let (_, rest) = DOCUMENT.split_once("auth_settings = '").unwrap();
    let (json, _) = rest.split_once('\'').unwrap();
    assert!(!json.contains("{{"), "{json}");
    let mut given = given(json, SettingSource::SpinSettings).unwrap();
    let secret = SECRET.to_owned();
    given
        .set_once(
            "resource_client_secret",
            secret,
            SettingSource::SpinVariable,
        )
        .unwrap();
    let Summary { line, is_warning } = Policy::from_values(&given, SettingSource::SpinVariable)
        .unwrap()
        .summary();
    assert!(
        line.starts_with(r#"required of a token: audience "service-a", "#),
        "{line}"
    );
    assert!(!is_warning);
}
