//! The figures: distributions, quantiles, scale, cost, and what went wrong.

use super::Page;
use super::number::{
    self, count, dollars, dollars_short, seconds, seconds_between, seconds_short, short, significant,
};
use super::plot::{Area, Axis, Format, LOOKS_MAX, Owner, Plot, Scale, WIDTH, is_drawable, whole};
use super::text::{NAME_COLUMNS_MAX, columns, cut, escape, name};
use crate::report::{Bin, Figures, Quantile, Spread, TargetReport};

/// Text of a drawing is about so wide, in units per column: measured with the widest usual font.
const COLUMN: f64 = 7.2;
/// Up to so many targets, panels stand above each other; more would be a long way apart.
const STACKED_MAX: usize = 6;
/// Stages that have a number of their own at the axis.
const STAGES_NAMED_MAX: usize = 8;
/// Names in a scatter are shorter, so that they find a place.
const SCATTER_COLUMNS_MAX: usize = 18;

/// Figures are numbered as they come.
struct Numbered {
    html: String,
    figures: usize,
}

impl Numbered {
    fn add(&mut self, title: &str, caption: &str, class: &str, body: &str) {
        self.figures += 1;
        self.html.push_str(&format!(
            "<figure class=\"{class}\" id=\"figure-{n}\">\n<figcaption><b>Figure {n}.</b> <span class=\"title\">{title}.</span> \
             {caption}</figcaption>\n{body}</figure>\n",
            n = self.figures
        ));
    }
}

pub(super) fn section(page: &Page<'_>) -> String {
    let drawn = page.report.targets.len().min(LOOKS_MAX);
    let targets = &page.report.targets[..drawn];
    let mut figures = Numbered { html: String::new(), figures: 0 };
    if targets.is_empty() {
        return String::new();
    }
    if drawn < page.report.targets.len() {
        figures.html.push_str(&format!(
            "<p>The figures show the first {drawn} targets; the table has all of them.</p>\n"
        ));
    }
    distributions(page, targets, &mut figures);
    quantiles(page, targets, &mut figures);
    scale(page, targets, &mut figures);
    costs(page, targets, &mut figures);
    errors(page, targets, &mut figures);
    figures.html
}

/// All targets, as their marks look.
fn legend(page: &Page<'_>, targets: impl IntoIterator<Item = usize>) -> String {
    let items: String = targets.into_iter().map(|it| format!("<li>{}</li>", page.label(it))).collect();
    format!("<ul class=\"legend\" aria-label=\"Legend\">{items}</ul>\n")
}

fn distributions(page: &Page<'_>, targets: &[TargetReport], figures: &mut Numbered) {
    let total = histograms(page, targets, "latency", "Total time", |it| &it.latency);
    let first = histograms(page, targets, "first-token", "Time to the first token", |it| &it.first_token);
    let said = |axis: &Axis| {
        let how = if axis.scale == Scale::Log { "logarithmic" } else { "linear" };
        format!(
            "How many answers took how long. Panels above each other have the same {how} axis of time; each has its own axis of answers. \
             The broken line is the median."
        )
    };
    match (total, first) {
        // Few panels stand above each other, where times are compared best.
        (Some((total, axis)), Some((first, _))) if targets.len() <= STACKED_MAX => figures.add(
            "Distribution of times",
            &said(&axis),
            "pair",
            &format!(
                "<div class=\"grid\">\n<div><p class=\"head\">Total time</p>\n{total}</div>\n\
                 <div><p class=\"head\">Time to the first token</p>\n{first}</div>\n</div>\n"
            ),
        ),
        (total, first) => {
            for (title, drawn) in [
                ("Distribution of the total time", total),
                ("Distribution of the time to the first token", first),
            ] {
                let Some((panels, axis)) = drawn else { continue };
                figures.add(
                    title,
                    &said(&axis),
                    "panels",
                    &format!("<div class=\"grid\">\n{panels}</div>\n"),
                );
            }
        }
    }
}

/// One panel per target, all with the same axis of time.
fn histograms(
    page: &Page<'_>,
    targets: &[TargetReport],
    chart: &'static str,
    what: &str,
    of: fn(&TargetReport) -> &Vec<Bin>,
) -> Option<(String, Axis)> {
    let sound = |it: &&Bin| it.count > 0 && is_drawable(it.from) && is_drawable(it.to) && it.from <= it.to;
    let bins = targets.iter().flat_map(|it| of(it).iter().filter(sound));
    // A first bin that begins at nothing would keep the axis from being logarithmic.
    let x = Axis::over(bins.flat_map(|it| [if it.from > 0.0 { it.from } else { it.to }, it.to]))?;
    let mut panels = String::new();
    for (i, target) in targets.iter().enumerate() {
        let bins: Vec<&Bin> = of(target).iter().filter(sound).collect();
        let height = |bin: &Bin| bin.count as f64;
        let Some(y) = Axis::from_zero(bins.iter().map(|it| height(it))) else { continue };
        let Some(owner) = page.owner(i) else { continue };
        let area = Area { left: 30.0, right: WIDTH - 8.0, top: 26.0, bottom: 92.0 };
        let title = format!("{what}: {}", page.plain_name(target));
        let spread =
            if chart == "latency" { target.all.total.as_ref() } else { target.all.first_token.as_ref() };
        let description = spread.map_or_else(String::new, |it| {
            format!("Median {}, 99 of 100 up to {}.", seconds(it.p50.value), seconds(it.p99.value))
        });
        let mut plot =
            Plot::new(chart, &format!("{chart}-{i}"), 112.0, area, x, y).described(&title, &description);
        plot.bottom(None, seconds_short, "");
        // At nothing there is the axis, and the first time is beneath.
        plot.left(2, |it| if it > 0.0 { whole(it) } else { String::new() }, "");
        for bin in bins {
            let tip = format!(
                "{}: {}, {}",
                page.plain_name(target),
                seconds_between(bin.from, bin.to),
                number::plural(bin.count, "answer", "answers")
            );
            plot.column(&owner, (bin.from, bin.to), height(bin), &tip);
        }
        if let Some(median) = spread.map(|it| it.p50.value).filter(|it| is_drawable(*it)) {
            plot.line(&[(median, y.from), (median, y.to)], "median");
        }
        plot.label(&cut(&page.plain_name(target), NAME_COLUMNS_MAX), (30.0, 15.0), "who start");
        if let Some(spread) = spread {
            plot.label(&seconds(spread.p50.value), (WIDTH - 8.0, 15.0), "value end");
        }
        panels.extend(plot.svg());
    }
    (!panels.is_empty()).then_some((panels, x))
}

fn quantiles(page: &Page<'_>, targets: &[TargetReport], figures: &mut Numbered) {
    let total = ranges(page, targets, "quantiles-total", "Total time", |it| it.all.total.as_ref());
    let first = ranges(page, targets, "quantiles-first-token", "Time to the first token", |it| {
        it.all.first_token.as_ref()
    });
    let drawings: Vec<String> = [total, first].into_iter().flatten().collect();
    if drawings.is_empty() {
        return;
    }
    figures.add(
        "Median, 90th and 99th percentile",
        "The filled mark is the median, the small one the 90th and the open one the 99th percentile; bars are their 95&nbsp;% intervals.",
        "pair",
        &format!("<div class=\"grid\">\n{}</div>\n", drawings.concat()),
    );
}

fn ranges(
    page: &Page<'_>,
    targets: &[TargetReport],
    chart: &'static str,
    what: &str,
    of: fn(&TargetReport) -> Option<&Spread>,
) -> Option<String> {
    const ROW: f64 = 42.0;
    /// Where in its row a mark is: beneath the name.
    const AT: f64 = 0.7;
    let rows: Vec<(usize, &TargetReport, &Spread)> =
        targets.iter().enumerate().filter_map(|(i, it)| Some((i, it, of(it)?))).collect();
    let all = |it: &Spread| [it.p50, it.p90, it.p99];
    let numbers = |it: Quantile| [Some(it.value), it.low, it.high];
    let x = Axis::over(rows.iter().flat_map(|it| all(it.2)).flat_map(numbers).flatten())?;
    let high = rows.len() as f64 * ROW;
    let area = Area { left: 10.0, right: WIDTH - 10.0, top: 6.0, bottom: 6.0 + high };
    let mut plot = Plot::new(chart, chart, area.bottom + 40.0, area, x, Axis::rows(rows.len())).described(
        &format!("{what}: median, 90th and 99th percentile per target"),
        &rows
            .iter()
            .map(|(_, target, it)| format!("{}: {}.", page.plain_name(target), quantiles_said(it)))
            .collect::<Vec<_>>()
            .join(" "),
    );
    plot.bottom(None, seconds_short, &axis_name(what, x));
    for (row, (i, target, spread)) in rows.iter().enumerate() {
        let Some(owner) = page.owner(*i) else { continue };
        let y = row as f64 + AT;
        let top = plot.py(y) - ROW * AT;
        plot.label(&cut(&page.plain_name(target), NAME_COLUMNS_MAX), (area.left, top + 15.0), "who start");
        plot.label(&seconds(spread.p50.value), (area.right, top + 15.0), "value end");
        let (from, to) = (spread.p50.value, spread.p99.value);
        if is_drawable(from) && is_drawable(to) && from <= to {
            let tip = format!("{}: {}", page.plain_name(target), quantiles_said(spread));
            plot.span(&owner, (from, to), y, 1.5, &tip);
        }
        for (quantile, which, class, half) in [
            (spread.p50, "median", "full", 5.5),
            (spread.p90, "90th percentile", "full", 3.2),
            (spread.p99, "99th percentile", "open", 4.5),
        ] {
            if !is_drawable(quantile.value) {
                continue;
            }
            let mut tip = format!("{}: {which} {}", page.plain_name(target), seconds(quantile.value));
            if let Some((low, high)) = interval(quantile) {
                tip.push_str(&format!(" ({})", seconds_between(low, high)));
                plot.span(&owner, (low, high), y, 9.0, &tip);
            }
            plot.dot(&owner, (quantile.value, y), half, class, &tip);
        }
    }
    plot.svg()
}

/// The interval, where it can be drawn.
fn interval(quantile: Quantile) -> Option<(f64, f64)> {
    quantile.interval().filter(|(low, high)| is_drawable(*low) && is_drawable(*high) && low <= high)
}

fn quantiles_said(it: &Spread) -> String {
    format!(
        "median {}, 90th percentile {}, 99th {}",
        seconds(it.p50.value),
        seconds(it.p90.value),
        seconds(it.p99.value)
    )
}

fn axis_name(what: &str, axis: Axis) -> String {
    if axis.scale == Scale::Log { format!("{what}, logarithmic") } else { what.to_owned() }
}

/// A value at a stage, and its interval.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    interval: Option<(f64, f64)>,
}

type OfStage = fn(&Figures) -> Option<(f64, Option<(f64, f64)>)>;

fn scale(page: &Page<'_>, targets: &[TargetReport], figures: &mut Numbered) {
    let at_once: fn(&Figures) -> Option<f64> = |it| it.concurrency.map(|it| it as f64);
    let rate: fn(&Figures) -> Option<f64> = |it| it.rate;
    for (of, by, kind) in
        [(at_once, "Requests at once", "concurrency"), (rate, "Requests begun per second", "rate")]
    {
        // Targets that were asked in one stage only have no curve; without any curve there is no figure.
        if !targets.iter().any(|it| it.stages.iter().filter(|it| of(it).is_some()).count() > 1) {
            continue;
        }
        let names: [&'static str; 3] = if kind == "rate" {
            ["throughput-rate", "p50-rate", "p99-rate"]
        } else {
            ["throughput", "p50-concurrency", "p99-concurrency"]
        };
        let curves: [(&'static str, &str, OfStage, Format, Format); 3] = [
            (names[0], "Answers per second", |it| Some((it.answers_per_second?, None)), short, significant),
            (
                names[1],
                "Median total time",
                |it| it.total.as_ref().map(|it| (it.p50.value, interval(it.p50))),
                seconds_short,
                seconds,
            ),
            (
                names[2],
                "99th percentile of the total time",
                |it| it.total.as_ref().map(|it| (it.p99.value, interval(it.p99))),
                seconds_short,
                seconds,
            ),
        ];
        let drawn: String = curves
            .into_iter()
            .filter_map(|(chart, what, y, tick, said)| {
                curve(page, targets, chart, (by, what), (of, y), (tick, said))
            })
            .collect();
        if !drawn.is_empty() {
            figures.add(
                "What happens with more load",
                &format!("{by} from left to right; standing bars are 95&nbsp;% intervals."),
                "side",
                &format!("<div class=\"grid\">\n{drawn}</div>\n{}", legend(page, 0..targets.len())),
            );
        }
    }
}

fn curve(
    page: &Page<'_>,
    targets: &[TargetReport],
    chart: &'static str,
    (by, what): (&str, &str),
    (x_of, y_of): (fn(&Figures) -> Option<f64>, OfStage),
    (tick, said): (Format, Format),
) -> Option<String> {
    let points = |target: &TargetReport| -> Vec<Point> {
        let point = |it: &Figures| {
            let (y, interval) = y_of(it)?;
            let x = x_of(it)?;
            (is_drawable(x) && is_drawable(y)).then_some(Point { x, y, interval })
        };
        target.stages.iter().filter_map(point).collect()
    };
    let all: Vec<Point> = targets.iter().flat_map(points).collect();
    let x = Axis::over(all.iter().map(|it| it.x))?;
    let mut stages: Vec<f64> = all.iter().map(|it| it.x).collect();
    stages.sort_by(f64::total_cmp);
    stages.dedup();
    // Doubling, the usual way to choose stages, has even steps on a logarithmic axis.
    let (low, high) = (stages.first().copied()?, stages.last().copied()?);
    let x = if low > 0.0 && high / low >= 8.0 {
        Axis { from: low / 1.25, to: high * 1.25, scale: Scale::Log }
    } else {
        x
    };
    let y = Axis::from_zero(all.iter().flat_map(|it| [Some(it.y), it.interval.map(|it| it.1)]).flatten())?;
    let area = Area { left: 58.0, right: WIDTH - 12.0, top: 34.0, bottom: 214.0 };
    let mut plot = Plot::new(chart, chart, 252.0, area, x, y).described(
        &format!("{what} by {}", by.to_lowercase()),
        &format!("{} targets, {} stages.", targets.len(), stages.len()),
    );
    let at = (stages.len() <= STAGES_NAMED_MAX).then_some(stages.as_slice());
    plot.bottom(at, short, &axis_name(by, x));
    plot.left(5, tick, what);
    for (i, target) in targets.iter().enumerate() {
        let mut points = points(target);
        points.sort_by(|one, other| one.x.total_cmp(&other.x));
        let Some(owner) = page.owner(i) else { continue };
        let line: Vec<(f64, f64)> = points.iter().map(|it| (it.x, it.y)).collect();
        if line.len() > 1 {
            plot.line(&line, &format!("line {}", owner.look.class()));
        }
        for point in points {
            let mut tip = format!(
                "{}: {} at {} {}",
                page.plain_name(target),
                said(point.y),
                short(point.x),
                by.to_lowercase()
            );
            if let Some((low, high)) = point.interval {
                tip.push_str(&format!(" ({}–{})", said(low), said(high)));
                plot.upright(&owner, point.x, (low, high), 3.0, &tip);
            }
            plot.dot(&owner, (point.x, point.y), 4.5, "full", &tip);
        }
    }
    plot.svg()
}

fn costs(page: &Page<'_>, targets: &[TargetReport], figures: &mut Numbered) {
    let known = |it: &TargetReport| it.all.cost_per_thousand.filter(|it| is_drawable(*it));
    let unknown: Vec<String> =
        targets.iter().filter(|it| known(it).is_none()).map(|it| page.name(it)).collect();
    if unknown.len() == targets.len() {
        return;
    }
    let unknown = if unknown.is_empty() {
        String::new()
    } else {
        format!("<p class=\"unknown\">Unknown, and so not drawn: {}.</p>\n", unknown.join(", "))
    };
    let drawings: Vec<String> = [cost_bars(page, targets, known), cost_and_time(page, targets, known)]
        .into_iter()
        .flatten()
        .collect();
    figures.add(
        "Cost, and what it buys",
        "US dollars for a thousand answers; on the right against the median of the total time: nearer to the lower left corner is better.",
        "pair",
        &format!("<div class=\"grid\">\n{}</div>\n{unknown}", drawings.concat()),
    );
}

fn cost_bars(
    page: &Page<'_>,
    targets: &[TargetReport],
    known: impl Fn(&TargetReport) -> Option<f64>,
) -> Option<String> {
    const ROW: f64 = 38.0;
    const AT: f64 = 0.68;
    let rows: Vec<(usize, &TargetReport, f64)> =
        targets.iter().enumerate().filter_map(|(i, it)| Some((i, it, known(it)?))).collect();
    let x = Axis::from_zero(rows.iter().map(|it| it.2))?;
    // Bars have a length from zero only on a linear axis.
    let x = Axis { scale: Scale::Linear, ..x };
    let high = rows.len() as f64 * ROW;
    let area = Area { left: 10.0, right: WIDTH - 10.0, top: 6.0, bottom: 6.0 + high };
    let said = rows.iter().map(|(_, it, cost)| format!("{}: {}.", page.plain_name(it), dollars(*cost)));
    let mut plot = Plot::new("cost", "cost", area.bottom + 40.0, area, x, Axis::rows(rows.len()))
        .described("Cost of a thousand answers per target", &said.collect::<Vec<_>>().join(" "));
    plot.bottom(None, dollars_short, "US dollars for a thousand answers");
    for (row, (i, target, cost)) in rows.iter().enumerate() {
        let Some(owner) = page.owner(*i) else { continue };
        let y = row as f64 + AT;
        let top = plot.py(y) - ROW * AT;
        plot.label(&cut(&page.plain_name(target), NAME_COLUMNS_MAX), (area.left, top + 15.0), "who start");
        plot.label(&dollars(*cost), (area.right, top + 15.0), "value end");
        plot.bar(&owner, *cost, y, 9.0, &format!("{}: {}", page.plain_name(target), dollars(*cost)));
    }
    plot.svg()
}

fn cost_and_time(
    page: &Page<'_>,
    targets: &[TargetReport],
    known: impl Fn(&TargetReport) -> Option<f64>,
) -> Option<String> {
    let points: Vec<(usize, &TargetReport, f64, f64)> = targets
        .iter()
        .enumerate()
        .filter_map(|(i, it)| {
            Some((
                i,
                it,
                known(it)?,
                it.all.total.as_ref().map(|it| it.p50.value).filter(|it| is_drawable(*it))?,
            ))
        })
        .collect();
    let x = Axis::over(points.iter().map(|it| it.2))?;
    let y = Axis::over(points.iter().map(|it| it.3))?;
    let area = Area { left: 58.0, right: WIDTH - 14.0, top: 34.0, bottom: 254.0 };
    let mut plot = Plot::new("cost-latency", "cost-latency", 292.0, area, x, y).described(
        "Median total time against the cost of a thousand answers",
        &points
            .iter()
            .map(|it| format!("{}: {} for {}.", page.plain_name(it.1), seconds(it.3), dollars(it.2)))
            .collect::<Vec<_>>()
            .join(" "),
    );
    plot.bottom(None, dollars_short, &axis_name("US dollars for a thousand answers", x));
    plot.left(5, seconds_short, &axis_name("Median total time", y));
    let mut taken: Vec<Area> = points
        .iter()
        .map(|it| (plot.px(it.2), plot.py(it.3)))
        .map(|(x, y)| Area { left: x - 6.0, right: x + 6.0, top: y - 6.0, bottom: y + 6.0 })
        .collect();
    let mut unnamed = Vec::new();
    for (i, target, cost, time) in points {
        let Some(owner) = page.owner(i) else { continue };
        let tip = format!("{}: {} for {}", page.plain_name(target), seconds(time), dollars(cost));
        plot.dot(&owner, (cost, time), 6.0, "full", &tip);
        let name = cut(&page.plain_name(target), SCATTER_COLUMNS_MAX);
        let wide = columns(&name) as f64 * COLUMN;
        let (px, py) = (plot.px(cost), plot.py(time));
        let places = [
            (px + 10.0, py + 4.0, "start", px + 10.0),
            (px - 10.0, py + 4.0, "end", px - 10.0 - wide),
            (px, py - 11.0, "middle", px - wide / 2.0),
            (px, py + 19.0, "middle", px - wide / 2.0),
        ];
        let free = places.into_iter().find_map(|(x, y, class, left)| {
            let place = Area { left, right: left + wide, top: y - 11.0, bottom: y + 3.0 };
            let inside = place.left >= area.left
                && place.right <= WIDTH
                && place.top >= 16.0
                && place.bottom <= area.bottom;
            let is_free = |it: &Area| {
                it.right < place.left
                    || it.left > place.right
                    || it.bottom < place.top
                    || it.top > place.bottom
            };
            (inside && taken.iter().all(is_free)).then_some((x, y, class, place))
        });
        if let Some((x, y, class, place)) = free {
            taken.push(place);
            plot.label(&name, (x, y), &format!("who {class}"));
        } else {
            unnamed.push(i);
        }
    }
    let legend = if unnamed.is_empty() { String::new() } else { legend(page, unnamed) };
    plot.svg().map(|svg| format!("<div>{svg}{legend}</div>\n"))
}

/// What went wrong and why answers ended, as tables: kinds are few, and their numbers are what is wanted.
fn errors(page: &Page<'_>, targets: &[TargetReport], figures: &mut Numbered) {
    type Of = fn(&TargetReport) -> &Vec<(String, u64)>;
    let tables: [(&str, &str, Of); 2] = [
        ("Errors by kind", "Requests without a whole answer. <code>rate_limited</code> is HTTP 429.", |it| {
            &it.errors
        }),
        (
            "Why answers ended",
            "In the server’s words; <code>length</code> is an answer that was cut.",
            |it| &it.finish_reasons,
        ),
    ];
    for (title, caption, of) in tables {
        let mut kinds: Vec<&str> = Vec::new();
        for (kind, _) in targets.iter().flat_map(of) {
            if !kinds.contains(&kind.as_str()) && kinds.len() < KINDS_MAX {
                kinds.push(kind);
            }
        }
        if kinds.is_empty() {
            continue;
        }
        // Rates first, then as they are named.
        kinds.sort_by_key(|it| (*it != "rate_limited", *it));
        let heads: String =
            kinds.iter().map(|it| format!("<th scope=\"col\" class=\"n\">{}</th>", name(it))).collect();
        let mut rows = String::new();
        for (i, target) in targets.iter().enumerate() {
            let cells: String = kinds
                .iter()
                .map(|kind| {
                    let number: u64 = of(target).iter().filter(|it| it.0 == *kind).map(|it| it.1).sum();
                    counted(number, target.all.requests, kind, page.owner(i).as_ref())
                })
                .collect();
            rows.push_str(&format!(
                "<tr><th scope=\"row\" class=\"who\">{}</th>{cells}</tr>\n",
                page.label(i)
            ));
        }
        figures.add(
            title,
            caption,
            "table",
            &format!(
                "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{title}\">\n<table class=\"kinds\">\n<thead><tr>\
                 <th scope=\"col\" class=\"who\">Target</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
            ),
        );
    }
}

/// More kinds of errors than these are no kinds.
const KINDS_MAX: usize = 32;

/// A number, and under it a bar as long as its share of all requests.
fn counted(number: u64, of: u64, kind: &str, owner: Option<&Owner<'_>>) -> String {
    const WIDE: f64 = 64.0;
    if number == 0 {
        return "<td class=\"n none\">0</td>".to_owned();
    }
    let share = number::share(number, of).unwrap_or(0.0).min(1.0);
    let look = owner.map(|it| it.look.class()).unwrap_or_default();
    format!(
        "<td class=\"n\">{}<svg class=\"share {look}\" width=\"{WIDE}\" height=\"4\" viewBox=\"0 0 {WIDE} 4\" aria-hidden=\"true\">\
         <title>{} of {} requests: {}</title><rect class=\"all\" width=\"{WIDE}\" height=\"4\"/><rect class=\"part\" x=\"{:.1}\" width=\"{:.1}\" \
         height=\"4\"/></svg></td>",
        count(number),
        count(number),
        count(of),
        escape(kind),
        WIDE - (WIDE * share).max(1.0),
        (WIDE * share).max(1.0),
    )
}
