//! settings.schema.json is the table of settings, for editors.

use serde_json::{Map, Value, json};
use token_check::{ENVOY_SETTINGS, Kind, SETTINGS, Setting, SettingSource, SettingValues};

const SCHEMA: &str = include_str!("../../settings.schema.json");

/// What the value of a setting may be in JSON. Numbers and booleans may be strings too.
fn property(setting: &Setting) -> Value {
    let string = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let mut schema = match setting.kind {
        Kind::Boolean => json!({ "enum": [true, false, "true", "false"] }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::List => string("^[^,]*$"),
        Kind::Number(range) => json!({
            "anyOf": [
                { "type": "integer", "minimum": range.min, "maximum": range.max },
                string("^[0-9]+$"),
            ],
        }),
        Kind::Rules => json!({ "anyOf": [{ "$ref": "rules.schema.json" }, { "type": "string" }] }),
        Kind::Secret if setting.key == "issuers" => json!({
            "type": ["array", "string"],
            "minItems": 1,
            "maxItems": 16,
            "items": { "type": "object" },
            "writeOnly": true,
        }),
        Kind::Secret => json!({ "type": "string", "minLength": 1, "writeOnly": true }),
        Kind::String => json!({ "type": "string" }),
    };
    schema["description"] = setting.description().into();
    if let Some(default) = setting.default.filter(|default| !default.is_empty()) {
        schema["default"] = default.into();
    }
    schema
}

fn expected() -> Value {
    let settings = SETTINGS.iter().chain(ENVOY_SETTINGS);
    let properties: Map<_, _> = settings
        .map(|setting| (setting.key.to_owned(), property(setting)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of the auth check",
        "description": "The JSON object of Spin's variable `auth_settings`, and of `configuration` of the Envoy plugin.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

#[test]
fn the_schema_of_settings_is_the_table() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let expected = expected();
    assert_eq!(
        schema,
        expected,
        "settings.schema.json should be:\n{}",
        serde_json::to_string_pretty(&expected).unwrap()
    );
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn the_schema_accepts_what_the_settings_accept() {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    // The rules have a test of their own.
    schema["properties"]["rules"] = json!({ "type": ["array", "object", "string"] });
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let rows = [
        (json!({}), true),
        (
            json!({ "leeway": 0, "timeout": 60, "cache_ttl": "86400" }),
            true,
        ),
        (
            json!({ "audit": true, "allow_http": "false", "client_auth": "basic-raw" }),
            true,
        ),
        (json!({ "client_auth": "none" }), true),
        (json!({ "required_scope": "read write", "rules": [] }), true),
        (json!({ "leeway": 301 }), false),
        (json!({ "timeout": 0 }), false),
        (json!({ "timeout": "5s" }), false),
        (json!({ "cache_entries": 1.5 }), false),
        (json!({ "audit": "yes" }), false),
        (json!({ "client_auth": "digest" }), false),
        (json!({ "required_scope": "read,write" }), false),
        (json!({ "required_scope": ["read"] }), false),
        (json!({ "expected_audience": "b" }), false),
    ];
    for (mut settings, is_valid) in rows {
        assert_eq!(schema.is_valid(&settings), is_valid, "{settings}");
        for (key, value) in [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "b"),
            ("resource_client_secret", "s"),
        ] {
            settings[key] = value.into();
        }
        let source = SettingSource::EnvoyConfiguration;
        let mut values = SettingValues::new();
        let policy = values
            .merge_json(&settings.to_string(), source)
            .and_then(|()| token_check::Policy::from_values(&values, source));
        assert_eq!(policy.is_ok(), is_valid, "{settings}: {policy:?}");
    }
}
