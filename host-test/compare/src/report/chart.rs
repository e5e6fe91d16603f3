//! The chart: a bar for each contender, from the most requests per second to the fewest.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    prelude::{IntoDrawingArea as _, PathElement, Rectangle, SVGBackend, Text},
    style::{
        Color as _, FontFamily, IntoFont as _, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::Part;

const WIDTH: i32 = 860;
const ROW: i32 = 30;
const TOP: i32 = 48;
const BOTTOM: i32 = 16;
/// Where bars begin; what a contender does stands to the left.
const LEFT: i32 = 330;
const RIGHT: i32 = 90;

const OURS: RGBColor = RGBColor(0, 108, 178);
const OTHERS: RGBColor = RGBColor(164, 174, 184);
/// Readable on white and on black.
const TEXT: RGBColor = RGBColor(118, 126, 136);

/// Writes the chart as SVG.
pub(super) fn draw(part: &Part, file: &Path) -> Result<()> {
    let mut bars: Vec<_> = part
        .contenders
        .iter()
        .filter_map(|contender| Some((contender, contender.rate()?)))
        .collect();
    bars.sort_by(|(_, a), (_, b)| b.median.total_cmp(&a.median));
    let most = bars
        .iter()
        .fold(1.0_f64, |most, (_, rate)| most.max(rate.max));
    let rows = i32::try_from(bars.len())?;
    let height = TOP + rows * ROW + BOTTOM;

    let backend = SVGBackend::new(file, (WIDTH.unsigned_abs(), height.unsigned_abs()));
    let area = backend.into_drawing_area();
    let text = |size: i32, h, v| {
        let font = (FontFamily::SansSerif, size).into_font();
        TextStyle::from(font).color(&TEXT).pos(Pos::new(h, v))
    };
    let title = Text::new(part.title, (16, 14), text(16, HPos::Left, VPos::Top));
    area.draw(&title).map_err(failed)?;
    for (row, (contender, rate)) in (0..).zip(&bars) {
        let top = TOP + row * ROW;
        let middle = top + ROW / 2;
        let x = |rate: f64| LEFT + scaled(rate / most);
        let label = Text::new(
            contender.what,
            (LEFT - 10, middle),
            text(13, HPos::Right, VPos::Center),
        );
        area.draw(&label).map_err(failed)?;
        let color = if contender.name.contains("/ours") {
            OURS
        } else {
            OTHERS
        };
        let bar = Rectangle::new(
            [(LEFT, top + 5), (x(rate.median), top + ROW - 5)],
            color.filled(),
        );
        area.draw(&bar).map_err(failed)?;
        let range = PathElement::new(
            vec![(x(rate.min), middle), (x(rate.max), middle)],
            TEXT.stroke_width(1),
        );
        area.draw(&range).map_err(failed)?;
        let number = Text::new(
            format!("{:.0}", rate.median),
            (x(rate.max) + 8, middle),
            text(13, HPos::Left, VPos::Center),
        );
        area.draw(&number).map_err(failed)?;
    }
    area.present().map_err(failed)
}

#[expect(clippy::cast_possible_truncation, reason = "a share of the width")]
fn scaled(share: f64) -> i32 {
    (share * f64::from(WIDTH - LEFT - RIGHT)).round() as i32
}

fn failed<E: std::error::Error + Send + Sync>(
    error: plotters::drawing::DrawingAreaErrorKind<E>,
) -> anyhow::Error {
    anyhow!("the chart cannot be drawn: {error}")
}
