//! README.md says what the code does.

use std::path::Path;

use token_check::{ALL_REASONS, Reason, Response, SETTINGS};

use crate::fixture::policy;

const README: &str = include_str!("../../../../README.md");

#[test]
fn the_table_of_settings_is_the_one_in_the_code() {
    let mut table = String::from("| setting | default | meaning |\n| --- | --- | --- |\n");
    for setting in SETTINGS {
        assert!(!setting.description().contains("{}"), "{}", setting.key);
        let default = match setting.default {
            None => "must be set".to_owned(),
            Some("") => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        table.push_str(&format!(
            "| `{}` | {default} | {} |\n",
            setting.key,
            setting.description()
        ));
    }
    assert!(README.contains(&table), "README.md should have:\n{table}");
}

#[test]
fn the_table_of_reasons_is_the_one_in_the_code() {
    let mut table = String::from("| reason | status | text |\n| --- | --- | --- |\n");
    for reason in ALL_REASONS {
        table.push_str(&format!(
            "| `{}` | {} | {} |\n",
            reason.name(),
            reason.status(),
            reason.description()
        ));
    }
    assert!(README.contains(&table), "README.md should have:\n{table}");
}

#[test]
fn rfc6750_s3_the_refusals_without_a_challenge_are_the_ones_in_the_code() {
    let policy = policy(&[]);
    let without = ALL_REASONS.iter().copied().filter(|reason| {
        let headers = Response::for_reason(*reason, Some(&policy)).headers;
        !headers.iter().any(|(name, _)| *name == "www-authenticate")
    });
    let (of_503, of_403): (Vec<Reason>, Vec<Reason>) = without
        .into_iter()
        .partition(|reason| reason.status() == 503);
    let all_503 = ALL_REASONS.iter().filter(|reason| reason.status() == 503);
    assert_eq!(of_503.len(), all_503.count());
    assert!(of_403.iter().all(|reason| reason.status() == 403));
    let names: Vec<_> = of_403
        .iter()
        .map(|reason| format!("`{}`", reason.name()))
        .collect();
    let sentence = format!(
        "A 400 and a 401 carry a Bearer challenge (RFC 6750 section 3), and so does a 403 other than {}. A 503 carries `Retry-After` and no challenge",
        names.join(" and ")
    );
    let readme = README.replace('\n', " ");
    assert!(
        readme.contains(&sentence),
        "README.md should have:\n{sentence}"
    );
}

#[test]
fn every_path_of_the_layout_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (_, layout) = README.split_once("## Where things are").unwrap();
    let paths: Vec<_> = layout.split('`').skip(1).step_by(2).collect();
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths
        .iter()
        .filter(|path| !path.starts_with("/data") && !path.contains("spin up"))
    {
        assert!(root.join(path).exists(), "{path}");
    }
}

#[test]
fn every_path_in_the_documents_for_contributors_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (document, least) in [("docs/architecture.md", 40), ("CONTRIBUTING.md", 3)] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let words = text.split('`').skip(1).step_by(2);
        let paths: Vec<_> = words
            .filter(|word| word.contains('/') && !word.contains([' ', ':', '<', '*', '{']))
            .filter(|word| !word.starts_with(['/', '~']))
            .collect();
        assert!(paths.len() >= least, "{document}: {paths:?}");
        for path in paths {
            assert!(root.join(path).exists(), "{document}: {path}");
        }
    }
}

/// An issuer on the developer's machine, as the table of settings says of `introspect_origin`.
#[test]
fn spin_toml_grants_loopback_with_and_without_tls() {
    let manifest = include_str!("../../../../spin.toml");
    for scheme in ["http", "https"] {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let grant = format!("\n    \"{scheme}://{host}:*\",\n");
            assert!(manifest.contains(&grant), "{grant}");
        }
    }
}

/// What ships for Spin, with the settings each by itself.
const SPIN_MANIFESTS: [(&str, &str); 2] = [
    ("spin.toml", include_str!("../../../../spin.toml")),
    (
        "examples/production/spin.toml",
        include_str!("../../../../examples/production/spin.toml"),
    ),
];

#[test]
fn each_spin_toml_passes_every_setting_on_and_no_other() {
    for (path, manifest) in SPIN_MANIFESTS {
        for setting in SETTINGS {
            assert!(
                manifest.contains(&format!("\nauth_{0} = \"{{{{ {0} }}}}\"\n", setting.key)),
                "{path}: {}",
                setting.key
            );
        }
        assert_eq!(
            manifest.matches(" }}\"\n").count(),
            SETTINGS.len(),
            "{path}"
        );
    }
}

#[test]
fn each_spin_toml_declares_the_settings_alike_but_production_requires_the_origin() {
    let [shipped, production] = SPIN_MANIFESTS.map(|(path, manifest)| {
        let (_, rest) = manifest.split_once("\n[variables]\n").expect(path);
        let (variables, _) = rest.split_once("\n\n").expect(path);
        variables.to_owned()
    });
    assert_eq!(shipped.lines().count(), SETTINGS.len());
    let origin = "introspect_origin = { default = \"\" }";
    assert_eq!(shipped.matches(origin).count(), 1);
    assert_eq!(
        shipped.replace(origin, "introspect_origin = { required = true }"),
        production
    );
}
