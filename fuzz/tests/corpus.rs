//! Replays the committed corpus with a stable compiler.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// `.ci/fuzz` takes its targets from this folder.
#[test]
fn every_target_is_also_one_of_libfuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let targets = fuzz::TARGETS.map(|(name, _)| format!("{name}.rs"));
    assert_eq!(files, BTreeSet::from(targets));
}

#[test]
fn every_input_of_the_corpus_runs_without_a_finding() {
    for (name, run) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut count = 0;
        for input in inputs {
            run(&fs::read(input.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "no input in {folder:?}");
    }
}
