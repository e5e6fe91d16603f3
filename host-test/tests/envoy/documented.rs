//! What docs/envoy.md shows is what tests run.

use programs::repository;

const DOCUMENT: &str = include_str!("../../../docs/envoy.md");

/// The one piece of YAML or JSON in the document that has this in it.
pub(crate) fn snippet(part: &str) -> String {
    let found: Vec<_> = snippets()
        .filter(|snippet| snippet.contains(part))
        .collect();
    let [found] = found[..] else {
        panic!("{} pieces with {part}", found.len());
    };
    found.to_owned()
}

fn snippets() -> impl Iterator<Item = &'static str> {
    DOCUMENT
        .split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| {
            let (language, text) = block.split_once('\n')?;
            ["yaml", "json"].contains(&language).then_some(text)
        })
}

/// Each is run by the test that names it.
#[test]
fn every_snippet_is_one_that_a_test_runs() {
    let run = ["typed_per_filter_config", "\"public\"", "\"require\""];
    for part in run {
        snippet(part);
    }
    assert_eq!(snippets().count(), run.len());
}

#[test]
fn every_recipe_is_linked_and_every_link_leads_somewhere() {
    let linked: Vec<_> = DOCUMENT
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect();
    for target in &linked {
        assert!(repository().join("docs").join(target).exists(), "{target}");
    }
    for recipe in std::fs::read_dir(repository().join("envoy/recipes")).unwrap() {
        let name = recipe.unwrap().file_name().into_string().unwrap();
        let target = format!("../envoy/recipes/{name}");
        assert!(linked.contains(&target.as_str()), "{name}");
    }
}
