//! Draws charts of the figures as SVG files.

use std::{ops::Range, path::Path};

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::measure::growth::Curve;

const WIDTH: u32 = 860;
const ROW: u32 = 34;
const COLOURS: [RGBColor; 3] = [
    RGBColor(31, 95, 191),
    RGBColor(190, 75, 40),
    RGBColor(90, 130, 60),
];

/// Draws a bar for each target: its processor time of a delivery as a multiple of the floor's.
///
/// # Errors
/// If the file cannot be written.
pub fn bars(path: &Path, figures: &[(String, f64)]) -> Result<()> {
    let rows = u32::try_from(figures.len())?;
    let root = SVGBackend::new(path, (WIDTH, ROW * rows + 70)).into_drawing_area();
    root.fill(&WHITE)?;
    let most = figures
        .iter()
        .map(|(_, figure)| *figure)
        .fold(1.0, f64::max);
    let name = TextStyle::from(("sans-serif", 14).into_font());
    root.draw_text(
        "processor time of a delivery, the bare write loop being 1",
        &name,
        (20, 16),
    )?;
    // Logarithmic: a tutorial that polls would leave no room for the others.
    let scale = 520.0 / most.ln_1p();
    for (row, (label, figure)) in figures.iter().enumerate() {
        let y = 50 + i32::try_from(row)? * i32::try_from(ROW)?;
        #[expect(clippy::cast_possible_truncation, reason = "at most 520")]
        let length = (figure.ln_1p() * scale) as i32;
        let colour = if label.starts_with("kairanban") {
            COLOURS[0]
        } else {
            RGBColor(150, 150, 150)
        };
        root.draw(&Rectangle::new(
            [(250, y), (250 + length, y + 20)],
            colour.filled(),
        ))?;
        root.draw_text(label, &name, (20, y + 3))?;
        root.draw_text(&format!("{figure:.2}"), &name, (256 + length, y + 3))?;
    }
    root.present().map_err(|error| anyhow!("{error}"))
}

/// Draws curves that share both axes, which are logarithmic.
///
/// # Errors
/// If the file cannot be written.
pub fn curves(path: &Path, curves: &[&Curve]) -> Result<()> {
    let Some(first) = curves.first() else {
        return Ok(());
    };
    let root = SVGBackend::new(path, (WIDTH, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&first.figure, ("sans-serif", 16))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            range(points(curves).map(|point| point.0)).log_scale(),
            range(points(curves).map(|point| point.1)).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(&first.of)
        .light_line_style(WHITE)
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let label = format!("{}: exponent {:.2}", curve.name, curve.exponent());
        chart
            .draw_series(
                LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)).point_size(4),
            )?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    root.present().map_err(|error| anyhow!("{error}"))
}

/// Returns the points that can be drawn on logarithmic axes.
fn points(curves: &[&Curve]) -> impl Iterator<Item = (f64, f64)> {
    let points = curves.iter().flat_map(|curve| &curve.points);
    points.copied().filter(|(x, y)| *x > 0.0 && *y > 0.0)
}

/// Returns the range of an axis, with some room beside the values.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (low * 0.7)..(high * 1.5)
}
