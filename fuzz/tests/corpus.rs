//! Replays the committed corpus with a stable compiler.

use std::fs;
use std::path::Path;

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
