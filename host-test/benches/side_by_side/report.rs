//! What is printed and written.

use std::{fs, path::PathBuf};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use host_test::guests::repository;
use serde::Serialize;

use super::{
    chart,
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
    /// The name of the bench and of its files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) connections: u16,
    pub(crate) contenders: Vec<Achieved>,
    pub(crate) targets: Vec<Target>,
}

impl Report {
    /// Writes `target/bench/<name>.json` and `.svg`, and prints.
    pub(crate) fn publish(&self, options: &Options) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        let directory = repository().join("target/bench");
        fs::create_dir_all(&directory)?;
        let file = |kind: &str| -> PathBuf { directory.join(format!("{}.{kind}", self.name)) };
        fs::write(file("json"), &json)?;
        chart::draw(self, &file("svg"))?;
        if let Some(chart) = &options.chart {
            // Cargo runs benches in the folder of their package.
            let chart = repository().join(chart);
            if let Some(folder) = chart.parent() {
                fs::create_dir_all(folder)?;
            }
            chart::draw(self, &chart)?;
        }
        if options.is_json() {
            println!("{json}");
            return Ok(());
        }
        println!("{}\n", self.title);
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
                "The machine was busy with other things: rates of one contender differ by more than half. Only the time on a processor, which leaves others out, can be compared."
            );
        }
        println!("Written to target/bench/{}.json and .svg.", self.name);
        Ok(())
    }

    fn was_disturbed(&self) -> bool {
        self.contenders
            .iter()
            .filter_map(Achieved::rate)
            .any(|rate| rate.max > DISTURBED * rate.min)
    }

    fn table(&self) -> Table {
        let mut table = table(&[
            "contender",
            "requests/s",
            "",
            "p50 µs",
            "p99 µs",
            "processor µs/request",
        ]);
        for contender in &self.contenders {
            let median = |values: &[f64], digits| {
                Spread::of(values.iter().copied())
                    .map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
            };
            let range = contender.rate().map_or_else(String::new, |rate| {
                format!("({:.0} to {:.0})", rate.min, rate.max)
            });
            table.add_row(vec![
                contender.what.to_owned(),
                median(&contender.requests_per_second, 0),
                range,
                median(&contender.p50, 0),
                median(&contender.p99, 0),
                median(&contender.processor, 1),
            ]);
        }
        table
    }

    fn targets(&self) -> Table {
        let mut table = table(&["target", "limit", "measured", "", "by processor time", ""]);
        for target in &self.targets {
            let limit = match target.limit {
                Limit::AtLeast(least) => format!("at least {least}"),
                Limit::AtMost(most) => format!("at most {most}"),
            };
            let number = |value: f64| format!("{value:.2}");
            table.add_row(vec![
                target.measure.to_owned(),
                limit,
                target
                    .value
                    .map_or_else(String::new, |value| number(value.median)),
                target.value.map_or_else(String::new, |value| {
                    format!("({} to {})", number(value.min), number(value.max))
                }),
                target.by_processor_time.map_or_else(String::new, number),
                match target.met {
                    Some(true) => "met".to_owned(),
                    Some(false) => "NOT MET".to_owned(),
                    None => "not measured".to_owned(),
                },
            ]);
        }
        table
    }
}

/// Markdown, with numbers to the right.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
