//! What is printed and written.

mod chart;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use programs::repository;
use serde::Serialize;

use crate::{
    Bench,
    machine::Machine,
    options::Options,
    rounds::Achieved,
    spread::Spread,
    target::{Limit, Target},
};

/// Greatest rate over least, of the same contender, that a quiet machine does not show.
const DISTURBED: f64 = 1.5;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: u32,
    seconds: u64,
    connections: u16,
    parts: Vec<Part>,
}

/// What was measured in one host, or without one.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    /// In the names of contenders and files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) contenders: Vec<Achieved>,
    pub(crate) targets: Vec<Target>,
}

impl Part {
    /// Whether anything was measured.
    pub(crate) fn has_any(&self) -> bool {
        self.targets.iter().any(|target| target.value.is_some()) || !self.contenders.is_empty()
    }
}

impl Report {
    pub(crate) fn of(bench: &Bench, parts: Vec<Part>) -> Self {
        Self {
            machine: bench.machine.clone(),
            rounds: bench.options.rounds(),
            seconds: bench.options.load().as_secs(),
            connections: bench.options.connections,
            parts,
        }
    }

    /// Writes `target/bench/compare.json` and a chart for each host, and prints.
    pub(crate) fn publish(&self, options: &Options) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        let directory = repository().join("target/bench");
        self.draw(&directory)?;
        fs::write(directory.join("compare.json"), &json)?;
        if let Some(charts) = &options.charts {
            // Cargo runs benches in the folder of their package.
            self.draw(&repository().join(charts))?;
        }
        if options.is_json() {
            println!("{json}");
            return Ok(());
        }
        println!("{}\n\n{}\n", self.table(), self.targets());
        println!(
            "Medians of {} rounds of {} s with {} connections, least and most in brackets. {}.",
            self.rounds,
            self.seconds,
            self.connections,
            self.machine.description()
        );
        if self.was_disturbed() {
            println!(
                "The machine was busy with other things: rates of one contender differ by more than half. Run it again on a quieter one."
            );
        }
        println!("Written to target/bench: compare.json, and a chart for each host.");
        Ok(())
    }

    fn draw(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        for part in &self.parts {
            if !part.contenders.is_empty() {
                chart::draw(part, &directory.join(format!("cost-{}.svg", part.name)))?;
            }
        }
        Ok(())
    }

    fn was_disturbed(&self) -> bool {
        self.parts
            .iter()
            .flat_map(|part| &part.contenders)
            .filter_map(Achieved::rate)
            .any(|rate| rate.max > DISTURBED * rate.min)
    }

    fn table(&self) -> Table {
        let mut table = table(&[
            "host",
            "contender",
            "requests/s",
            "",
            "p50 µs",
            "p99 µs",
            "processor µs/request",
        ]);
        for part in &self.parts {
            for contender in &part.contenders {
                let median = |values: &[f64], digits| {
                    Spread::of(values.iter().copied())
                        .map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
                };
                let range = contender.rate().map_or_else(String::new, |rate| {
                    format!("({:.0} to {:.0})", rate.min, rate.max)
                });
                table.add_row(vec![
                    part.name.to_owned(),
                    contender.what.to_owned(),
                    median(&contender.requests_per_second, 0),
                    range,
                    median(&contender.p50, 0),
                    median(&contender.p99, 0),
                    median(&contender.processor, 1),
                ]);
            }
        }
        table
    }

    fn targets(&self) -> Table {
        let mut table = table(&[
            "host",
            "target",
            "limit",
            "measured",
            "",
            "by processor time",
            "",
        ]);
        for part in &self.parts {
            for target in &part.targets {
                let limit = match target.limit {
                    Some(Limit::AtLeast(least)) => format!("at least {least}"),
                    Some(Limit::AtMost(most)) => format!("at most {most}"),
                    None => String::new(),
                };
                let number = |value: f64| match value {
                    1000.0.. => format!("{value:.0}"),
                    _ => format!("{value:.2}"),
                };
                table.add_row(vec![
                    part.name.to_owned(),
                    target.measure.to_owned(),
                    limit,
                    target
                        .value
                        .map_or_else(String::new, |value| number(value.median)),
                    target.value.map_or_else(String::new, |value| {
                        format!("({} to {})", number(value.min), number(value.max))
                    }),
                    target.by_processor_time.map_or_else(String::new, number),
                    match (target.met, target.value) {
                        (_, None) => "not measured".to_owned(),
                        (Some(true), _) => "met".to_owned(),
                        (Some(false), _) => "NOT MET".to_owned(),
                        (None, _) => "for comparison".to_owned(),
                    },
                ]);
            }
        }
        table
    }
}

/// Markdown, with numbers to the right.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
