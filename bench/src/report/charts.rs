//! Charts as SVG.

use std::path::Path;

use plotters::prelude::*;

const SIZE: (u32, u32) = (860, 320);
const FONT: &str = "sans-serif";
const COLOR: RGBColor = RGBColor(0x2f, 0x6f, 0xab);

/// One bar for each figure, with its name.
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    /// What stands behind a figure.
    pub(super) unit: &'a str,
    pub(super) bars: &'a [(String, f64)],
}

/// Points at even distances.
pub(super) struct Line<'a> {
    pub(super) title: &'a str,
    pub(super) points: &'a [f64],
}

pub(super) fn bars(file: &Path, chart: &Bars<'_>) -> Result<(), String> {
    drawn(file, |area| {
        let highest = chart.bars.iter().map(|(_, figure)| *figure).fold(f64::MIN_POSITIVE, f64::max);
        let count = chart.bars.len();
        let mut plot = ChartBuilder::on(area)
            .caption(chart.title, (FONT, 18))
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..count as f64, 0.0..highest * 1.15)?;
        plot.configure_mesh().disable_x_mesh().disable_x_axis().draw()?;
        for (nth, (name, figure)) in chart.bars.iter().enumerate() {
            let (left, middle) = (nth as f64 + 0.2, nth as f64 + 0.5);
            plot.draw_series([Rectangle::new([(left, 0.0), (left + 0.6, *figure)], COLOR.filled())])?;
            let digits = if highest < 10.0 { 2 } else { usize::from(highest < 100.0) };
            let told = format!("{figure:.digits$}{}", chart.unit);
            let centered = |anchor| {
                use plotters::style::text_anchor::{HPos, Pos};
                (FONT, 13).into_font().into_text_style(area).pos(Pos::new(HPos::Center, anchor))
            };
            use plotters::style::text_anchor::VPos;
            plot.draw_series([Text::new(told, (middle, *figure + highest * 0.02), centered(VPos::Bottom))])?;
            let (x, y) = plot.backend_coord(&(middle, 0.0));
            area.draw(&Text::new(name.clone(), (x, y + 8), centered(VPos::Top)))?;
        }
        Ok(())
    })
}

pub(super) fn line(file: &Path, chart: &Line<'_>) -> Result<(), String> {
    drawn(file, |area| {
        let highest = chart.points.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let mut plot = ChartBuilder::on(area)
            .caption(chart.title, (FONT, 18))
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(0..chart.points.len(), 0.0..highest * 1.1)?;
        plot.configure_mesh().disable_x_mesh().draw()?;
        plot.draw_series(LineSeries::new(chart.points.iter().copied().enumerate(), COLOR.stroke_width(2)))?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn drawn(file: &Path, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<(), String> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = area.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&area));
    drawn.and_then(|()| Ok(area.present()?)).map_err(|error| format!("{}: {error}", file.display()))
}
