//! Axes, and drawings on them whose marks say the numbers that they stand for.

use std::fmt::Write as _;

use super::number;
use super::text::escape;

/// Values above are not drawn: no time, cost or rate is that great.
const VALUE_MAX: f64 = 1e15;
/// The least value of a logarithmic axis.
const LOG_MIN: f64 = 1e-9;
/// An axis is logarithmic from this ratio of its greatest value to its least on.
const LOG_RATIO_MIN: f64 = 10.0;
/// An axis has no more ticks than this.
const TICKS_MAX: usize = 32;
/// Every mark is at least that wide, so that it can be seen.
const MARK_MIN: f64 = 0.8;
/// The width of every drawing: readable on a phone, and two side by side on a page.
pub(super) const WIDTH: f64 = 420.0;

/// Colours there are, `c0` and so on in the style sheet.
const COLOURS: usize = 8;
/// Shapes there are.
const SHAPES: usize = 8;
/// Looks that can be told apart: every colour with every shape.
pub(super) const LOOKS_MAX: usize = COLOURS * SHAPES;
/// Patterns of lines there are, `d0` and so on in the style sheet.
const DASHES: usize = 4;

/// Whether a value can be drawn.
pub(super) fn is_drawable(value: f64) -> bool {
    (0.0..=VALUE_MAX).contains(&value)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// Which numbers a side of a drawing stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) scale: Scale,
}

impl Axis {
    /// From zero, or logarithmic when the values differ much; `None` when there are none.
    pub(super) fn over(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|it| is_drawable(*it)).collect();
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        if values.is_empty() {
            return None;
        }
        if min >= LOG_MIN && max / min >= LOG_RATIO_MIN {
            let from = nice(min * 0.999_999, f64::floor).max(LOG_MIN);
            return Some(Self { from, to: nice(max * 1.000_001, f64::ceil), scale: Scale::Log });
        }
        if max <= 0.0 {
            return Some(Self { from: 0.0, to: 1.0, scale: Scale::Linear });
        }
        let step = step(max, 5.0);
        Some(Self { from: 0.0, to: (max / step - 1e-9).ceil() * step, scale: Scale::Linear })
    }

    /// From zero in any case.
    pub(super) fn from_zero(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let max = values.into_iter().filter(|it| is_drawable(*it)).reduce(f64::max)?;
        Self::over([0.0, max])
    }

    /// One row for each of these, from the top down: the middle of the first is at 0.5.
    pub(super) fn rows(rows: usize) -> Self {
        Self { from: rows as f64, to: 0.0, scale: Scale::Linear }
    }

    /// Where a value is, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.max(LOG_MIN).ln() - self.from.ln()) / (self.to.ln() - self.from.ln()),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Values with a line and a number: about as many as wanted.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<f64> {
        let wanted_f = wanted.max(1) as f64;
        let mut ticks = Vec::new();
        match self.scale {
            Scale::Linear => {
                let step = step((self.to - self.from).abs(), wanted_f);
                let low = self.from.min(self.to);
                let high = self.from.max(self.to) + step * 1e-6;
                let mut at = 0_u32;
                while ticks.len() < TICKS_MAX && low + f64::from(at) * step <= high {
                    // Sums of steps would be 0.30000000000000004.
                    ticks.push(tidy(low + f64::from(at) * step));
                    at += 1;
                }
            }
            Scale::Log => {
                let decades = self.to.log10() - self.from.log10();
                let mantissas: &[f64] = if decades * 3.0 <= wanted_f + 1.0 {
                    &[1.0, 2.0, 5.0]
                } else if decades * 2.0 <= wanted_f + 1.0 {
                    &[1.0, 3.0]
                } else {
                    &[1.0]
                };
                let every = ((decades / (wanted_f + 1.0)).ceil() as i32).max(1);
                let first = self.from.log10().floor() as i32;
                let last = self.to.log10().ceil() as i32;
                for decade in (first..=last).filter(|it| it.rem_euclid(every) == 0) {
                    let inside = |it: &f64| *it >= self.from * 0.999 && *it <= self.to * 1.001;
                    let values = mantissas.iter().map(|it| tidy(it * 10_f64.powi(decade)));
                    ticks.extend(values.filter(inside).take(TICKS_MAX.saturating_sub(ticks.len())));
                }
            }
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten: about a `wanted`th of the span.
fn step(span: f64, wanted: f64) -> f64 {
    let rough = (span / wanted).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step = match rough / power {
        it if it <= 1.000_001 => power,
        it if it <= 2.000_001 => 2.0 * power,
        it if it <= 5.000_001 => 5.0 * power,
        _ => 10.0 * power,
    };
    tidy(step)
}

/// The next of 1, 2, 5 times a power of ten, down or up.
fn nice(value: f64, round: fn(f64) -> f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let mantissa = value / power;
    let is_down = round(0.5) == 0.0;
    let mantissas = [1.0, 2.0, 5.0, 10.0];
    let found = if is_down {
        mantissas.iter().rev().find(|it| **it <= mantissa)
    } else {
        mantissas.iter().find(|it| **it >= mantissa)
    };
    tidy(found.copied().unwrap_or(mantissa) * power)
}

/// The number that is meant: 0.3 for 0.30000000000000004.
fn tidy(value: f64) -> f64 {
    format!("{value:.9e}").parse().unwrap_or(value)
}

/// How a target is told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    colour: usize,
    shape: usize,
}

impl Look {
    /// The look of a label's number in a run's number.
    pub(super) fn of(label: usize, run: usize, several_runs: bool) -> Self {
        // With several runs a label keeps its colour, and the shape tells the run.
        let shape = if several_runs { run + label / COLOURS } else { label + label / COLOURS };
        Self { colour: label % COLOURS, shape: shape % SHAPES }
    }

    /// The classes of its marks.
    pub(super) fn class(self) -> String {
        format!("c{} d{}", self.colour, self.shape % DASHES)
    }

    /// The outline of its shape, as wide as high as `2 * half` at most and in the middle of that.
    fn path(self, x: f64, y: f64, half: f64) -> String {
        let points: &[(f64, f64)] = match self.shape {
            0 => {
                let (left, half, wide) = (coordinate(x - half), coordinate(half), coordinate(2.0 * half));
                let y = coordinate(y);
                return format!("M{left},{y}a{half},{half} 0 1,0 {wide},0a{half},{half} 0 1,0 -{wide},0z");
            }
            1 => &[(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
            2 => &[(0.0, -0.95), (1.0, 0.95), (-1.0, 0.95)],
            3 => &[(0.0, -1.15), (1.15, 0.0), (0.0, 1.15), (-1.15, 0.0)],
            4 => &[(-1.0, -0.95), (1.0, -0.95), (0.0, 0.95)],
            5 => &[
                (-0.35, -1.0),
                (0.35, -1.0),
                (0.35, -0.35),
                (1.0, -0.35),
                (1.0, 0.35),
                (0.35, 0.35),
                (0.35, 1.0),
                (-0.35, 1.0),
                (-0.35, 0.35),
                (-1.0, 0.35),
                (-1.0, -0.35),
                (-0.35, -0.35),
            ],
            6 => &[(-1.05, 0.0), (-0.52, -0.95), (0.52, -0.95), (1.05, 0.0), (0.52, 0.95), (-0.52, 0.95)],
            _ => &[
                (-1.0, -1.0),
                (0.0, -0.45),
                (1.0, -1.0),
                (0.45, 0.0),
                (1.0, 1.0),
                (0.0, 0.45),
                (-1.0, 1.0),
                (-0.45, 0.0),
            ],
        };
        let mut path = String::new();
        for (i, (dx, dy)) in points.iter().enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{},{}", coordinate(x + dx * half), coordinate(y + dy * half));
        }
        path.push('z');
        path
    }

    /// A picture of it for a table or a legend.
    pub(super) fn swatch(self) -> String {
        format!(
            "<svg class=\"swatch {}\" width=\"26\" height=\"12\" viewBox=\"0 0 26 12\" aria-hidden=\"true\" focusable=\"false\">\
             <path class=\"line\" d=\"M0,6H26\"/><path class=\"dot\" d=\"{}\"/></svg>",
            self.class(),
            self.path(13.0, 6.0, 4.5)
        )
    }
}

/// A mark's owner: what it is of, and how that looks.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    pub(super) label: &'a str,
    pub(super) run: usize,
    pub(super) look: Look,
}

/// Where marks are drawn: the box between the axes, in units of the drawing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// How a number is written at a tick.
pub(super) type Format = fn(f64) -> String;

/// A drawing.
#[derive(Debug)]
pub(super) struct Plot {
    chart: &'static str,
    id: String,
    title: String,
    description: String,
    height: f64,
    area: Area,
    x: Axis,
    y: Axis,
    body: String,
    marks: usize,
}

impl Plot {
    /// An empty one. `id` is the document's only one of that name.
    pub(super) fn new(chart: &'static str, id: &str, height: f64, area: Area, x: Axis, y: Axis) -> Self {
        let (title, description) = (String::new(), String::new());
        Self {
            chart,
            id: id.to_owned(),
            title,
            description,
            height,
            area,
            x,
            y,
            body: String::new(),
            marks: 0,
        }
    }

    /// What somebody is told who does not see it.
    #[must_use]
    pub(super) fn described(mut self, title: &str, description: &str) -> Self {
        title.clone_into(&mut self.title);
        description.clone_into(&mut self.description);
        self
    }

    pub(super) fn px(&self, x: f64) -> f64 {
        self.area.left + self.x.place(x) * (self.area.right - self.area.left)
    }

    pub(super) fn py(&self, y: f64) -> f64 {
        self.area.bottom - self.y.place(y) * (self.area.bottom - self.area.top)
    }

    /// Lines and numbers along the bottom, at these values or at nice ones; their name beneath when there is one.
    pub(super) fn bottom(&mut self, at: Option<&[f64]>, format: Format, name: &str) {
        let nice = self.x.ticks(5);
        let Area { top, bottom, left, right } = self.area;
        for tick in at.unwrap_or(&nice) {
            let x = self.px(*tick);
            // The outermost numbers keep inside the drawing.
            let anchor = if x > right - 12.0 {
                "end"
            } else if x < left + 8.0 && left < 16.0 {
                "start"
            } else {
                "middle"
            };
            let x = coordinate(x);
            let (from, to) = (coordinate(top), coordinate(bottom));
            let _ = write!(self.body, "<path class=\"grid\" d=\"M{x},{from}V{to}\"/>");
            self.label(&format(*tick), (x.parse().unwrap_or(0.0), bottom + 14.0), &format!("tick {anchor}"));
        }
        let _ = write!(
            self.body,
            "<path class=\"axis\" d=\"M{},{}H{}\"/>",
            coordinate(left),
            coordinate(bottom),
            coordinate(right)
        );
        if !name.is_empty() {
            self.label(name, (right, bottom + 31.0), "name end");
        }
    }

    /// Lines and numbers along the left, and their name above.
    pub(super) fn left(&mut self, wanted: usize, format: Format, name: &str) {
        let Area { left, right, top, .. } = self.area;
        for tick in self.y.ticks(wanted) {
            let y = self.py(tick);
            let _ = write!(
                self.body,
                "<path class=\"grid\" d=\"M{},{}H{}\"/>",
                coordinate(left),
                coordinate(y),
                coordinate(right)
            );
            self.label(&format(tick), (left - 6.0, y + 4.0), "tick end");
        }
        if !name.is_empty() {
            self.label(name, (2.0, top - 12.0), "name start");
        }
    }

    /// Text at a place; `start`, `middle` and `end` are classes.
    pub(super) fn label(&mut self, text: &str, (x, y): (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            coordinate(x),
            coordinate(y),
            escape(text)
        );
    }

    /// A line that stands for no number of its own.
    pub(super) fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{},{}", coordinate(self.px(*x)), coordinate(self.py(*y)));
        }
        let _ = write!(self.body, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// A bar that stands on the x axis from one value to another.
    pub(super) fn column(&mut self, owner: &Owner<'_>, (x, x2): (f64, f64), y: f64, tip: &str) {
        let (left, right) = widened(self.px(x), self.px(x2));
        let (top, bottom) = widened(self.py(y), self.area.bottom);
        let data = format!("data-x=\"{x}\" data-x2=\"{x2}\" data-y=\"{y}\"");
        self.rect(owner, "column", &data, (left, right, top, bottom), tip);
    }

    /// A bar from the left side to a value.
    pub(super) fn bar(&mut self, owner: &Owner<'_>, x: f64, y: f64, high: f64, tip: &str) {
        let right = self.px(x).max(self.area.left + MARK_MIN);
        let middle = self.py(y);
        let data = format!("data-x=\"{x}\" data-y=\"{y}\"");
        self.rect(
            owner,
            "bar",
            &data,
            (self.area.left, right, middle - high / 2.0, middle + high / 2.0),
            tip,
        );
    }

    /// A bar from one value to another, lying.
    pub(super) fn span(&mut self, owner: &Owner<'_>, (x, x2): (f64, f64), y: f64, high: f64, tip: &str) {
        let (left, right) = widened(self.px(x), self.px(x2));
        let middle = self.py(y);
        let data = format!("data-x=\"{x}\" data-x2=\"{x2}\" data-y=\"{y}\"");
        self.rect(owner, "span", &data, (left, right, middle - high / 2.0, middle + high / 2.0), tip);
    }

    /// A bar from one value to another, standing.
    pub(super) fn upright(&mut self, owner: &Owner<'_>, x: f64, (y, y2): (f64, f64), wide: f64, tip: &str) {
        let (top, bottom) = widened(self.py(y2), self.py(y));
        let middle = self.px(x);
        let data = format!("data-x=\"{x}\" data-y=\"{y}\" data-y2=\"{y2}\"");
        self.rect(owner, "upright", &data, (middle - wide / 2.0, middle + wide / 2.0, top, bottom), tip);
    }

    fn rect(&mut self, owner: &Owner<'_>, mark: &str, data: &str, sides: (f64, f64, f64, f64), tip: &str) {
        let (left, right, top, bottom) = sides;
        self.marks += 1;
        let _ = write!(
            self.body,
            "<rect class=\"mark {mark} {}\" data-mark=\"{mark}\" data-target=\"{}\" data-run=\"{}\" {data} x=\"{}\" y=\"{}\" width=\"{}\" \
             height=\"{}\"><title>{}</title></rect>",
            owner.look.class(),
            escape(owner.label),
            owner.run,
            coordinate(left),
            coordinate(top),
            coordinate(right - left),
            coordinate(bottom - top),
            escape(tip)
        );
    }

    /// A point in the owner's shape. `class` says of which kind: `full`, `open`, `small`.
    pub(super) fn dot(&mut self, owner: &Owner<'_>, (x, y): (f64, f64), half: f64, class: &str, tip: &str) {
        self.marks += 1;
        let _ = write!(
            self.body,
            "<path class=\"mark dot {class} {}\" data-mark=\"dot\" data-target=\"{}\" data-run=\"{}\" data-x=\"{x}\" data-y=\"{y}\" \
             d=\"{}\"><title>{}</title></path>",
            owner.look.class(),
            escape(owner.label),
            owner.run,
            owner.look.path(self.px(x), self.py(y), half),
            escape(tip)
        );
    }

    /// The drawing as an element; `None` when nothing was drawn.
    pub(super) fn svg(self) -> Option<String> {
        if self.marks == 0 {
            return None;
        }
        let Area { left, right, top, bottom } = self.area;
        let scale = |axis: Axis| if axis.scale == Scale::Log { "log" } else { "linear" };
        Some(format!(
            "<svg class=\"plot\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {WIDTH} {height}\" data-chart=\"{chart}\" \
             data-x-from=\"{}\" data-x-to=\"{}\" data-x-scale=\"{}\" data-y-from=\"{}\" data-y-to=\"{}\" data-y-scale=\"{}\" \
             data-left=\"{left}\" data-right=\"{right}\" data-top=\"{top}\" data-bottom=\"{bottom}\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{}</svg>\n",
            self.x.from,
            self.x.to,
            scale(self.x),
            self.y.from,
            self.y.to,
            scale(self.y),
            escape(&self.title),
            escape(&self.description),
            self.body,
            id = self.id,
            height = self.height,
            chart = self.chart,
        ))
    }
}

/// Two sides with at least [`MARK_MIN`] between them.
fn widened(low: f64, high: f64) -> (f64, f64) {
    if high - low >= MARK_MIN {
        return (low, high);
    }
    let middle = low.midpoint(high);
    (middle - MARK_MIN / 2.0, middle + MARK_MIN / 2.0)
}

/// A coordinate to a hundredth of a unit, which nobody sees.
fn coordinate(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A whole number at a tick; nothing at what is between.
pub(super) fn whole(value: f64) -> String {
    if value.fract() == 0.0 { number::short(value) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_numbers_that_people_write() {
        let axis = Axis::over([0.2, 1.3]).unwrap();
        assert_eq!((axis.from, axis.to, axis.scale), (0.0, 1.5, Scale::Linear));
        assert_eq!(axis.ticks(5), [0.0, 0.5, 1.0, 1.5]);
        let axis = Axis::over([0.3]).unwrap();
        assert_eq!(axis.ticks(3), [0.0, 0.1, 0.2, 0.3]);
    }

    #[test]
    fn much_different_values_are_on_a_logarithmic_axis() {
        let axis = Axis::over([0.03, 7.0]).unwrap();
        assert_eq!((axis.from, axis.to, axis.scale), (0.02, 10.0, Scale::Log));
        assert_eq!(axis.ticks(5), [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]);
        assert!((axis.place(0.02) - 0.0).abs() < 1e-12 && (axis.place(10.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn no_values_and_wild_values_do_no_harm() {
        assert_eq!(Axis::over([]), None);
        assert_eq!(Axis::over([f64::NAN, f64::INFINITY, -1.0, 1e300]), None);
        assert_eq!(Axis::over([0.0]).unwrap().to, 1.0);
        for values in [[1e-300, 1e14], [5e-324, 5e-324], [1e-9, 1e15], [0.0, 1e15], [1e-9, 1e-9]] {
            let axis = Axis::over(values).unwrap();
            let ticks = axis.ticks(5);
            assert!(ticks.len() <= TICKS_MAX && ticks.iter().all(|it| it.is_finite()), "{axis:?} {ticks:?}");
            assert!(axis.place(values[0]).is_finite());
        }
    }

    #[test]
    fn shapes_are_around_their_point() {
        for shape in 0..SHAPES {
            let path = Look { colour: 0, shape }.path(10.0, 20.0, 5.0);
            assert!(path.starts_with('M') && path.ends_with('z'), "{path}");
        }
        let looks: Vec<_> = (0..LOOKS_MAX).map(|it| Look::of(it, 0, false)).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(!looks[..i].contains(look), "{i}");
        }
    }

    #[test]
    fn marks_are_where_their_numbers_are() {
        let area = Area { left: 40.0, right: 140.0, top: 10.0, bottom: 110.0 };
        let x = Axis { from: 0.0, to: 10.0, scale: Scale::Linear };
        let y = Axis { from: 1.0, to: 100.0, scale: Scale::Log };
        let plot = Plot::new("test", "t", 120.0, area, x, y);
        assert!((plot.px(2.5) - 65.0).abs() < 1e-9 && (plot.py(10.0) - 60.0).abs() < 1e-9);
        assert!(plot.svg().is_none());
    }
}
