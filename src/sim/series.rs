//! Samples of a run as a table and as a picture.
//!
//! Always holds: the table has one line a sample, the picture one curve a figure. Never: writes a
//! file: who asked for them does.

use std::fmt::Write as _;

use super::Sample;

/// Pixels of the picture, of each of its charts, and around those.
const WIDTH: f64 = 720.0;
const CHART: f64 = 130.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const GAP: f64 = 50.0;

/// The samples as comma-separated values, with a line of names.
pub fn csv(samples: &[Sample]) -> String {
    let mut table = "at_s,living,lookups,failures,success,success_lower95,hops_p50,hops_p95,\
                     latency_ms_p50,latency_ms_p95,rpcs_per_lookup,dead_contacts,values_alive,\
                     bytes_per_s\n"
        .to_owned();
    for sample in samples {
        let Sample { at_s, living, dead_contacts, values_alive, bytes_per_s, lately } = sample;
        // A string takes everything that is written to it.
        let _ = writeln!(
            table,
            "{at_s:.0},{living},{},{},{:.6},{:.6},{},{},{:.1},{:.1},{:.2},{dead_contacts:.5},\
             {values_alive:.5},{bytes_per_s:.1}",
            lately.lookups,
            lately.failures,
            lately.success,
            lately.success_lower95,
            lately.hops_p50,
            lately.hops_p95,
            lately.latency_ms_p50,
            lately.latency_ms_p95,
            lately.rpcs_per_lookup,
        );
    }
    table
}

/// Success, hops and dead contacts over time, one chart under the other.
pub fn svg(samples: &[Sample], title: &str) -> String {
    let looking = |sample: &&Sample| sample.lately.lookups > 0;
    let at = |figure: fn(&Sample) -> f64, sample: &Sample| (sample.at_s / 3600.0, figure(sample));
    let of_lookups = |figure: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        samples.iter().filter(looking).map(|sample| at(figure, sample)).collect()
    };
    let always = |figure: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        samples.iter().map(|sample| at(figure, sample)).collect()
    };
    let percent = |sample: &Sample| sample.lately.success * 100.0;
    let charts = [
        ("lookups that succeed, %", vec![of_lookups(percent)]),
        (
            "hops: half of the lookups, and 95 % of them",
            vec![
                of_lookups(|sample| sample.lately.hops_p50 as f64),
                of_lookups(|sample| sample.lately.hops_p95 as f64),
            ],
        ),
        ("contacts that are dead, %", vec![always(|sample| sample.dead_contacts * 100.0)]),
    ];
    let height = 40.0 + charts.len() as f64 * (CHART + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"13\">{}</text>\n",
        escaped(title)
    );
    let hours = samples.last().map_or(1.0, |sample| sample.at_s / 3600.0).max(f64::MIN_POSITIVE);
    for (n, (name, curves)) in charts.iter().enumerate() {
        let top = 60.0 + n as f64 * (CHART + GAP);
        chart(&mut svg, name, curves, top, hours);
    }
    svg.push_str("</svg>\n");
    svg
}

fn chart(svg: &mut String, name: &str, curves: &[Vec<(f64, f64)>], top: f64, hours: f64) {
    let values = || curves.iter().flatten().map(|(_, value)| *value);
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    // A curve that never moves lies in the middle.
    let (least, most) = match (least.is_finite(), most > least) {
        (false, _) => (0.0, 1.0),
        (true, false) => (least - 0.5, least + 0.5),
        (true, true) => (least, most),
    };
    let (right, bottom) = (WIDTH - RIGHT, top + CHART);
    let x = |at: f64| LEFT + at / hours * (right - LEFT);
    let y = |value: f64| bottom - (value - least) / (most - least) * CHART;
    // A string takes everything that is written to it.
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">{}</text>\n\
         <path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
         <g fill=\"#555\" text-anchor=\"end\"><text x=\"{right}\" y=\"{}\">{hours:.1} h</text>\
         <text x=\"{}\" y=\"{}\">{most:.4}</text>\
         <text x=\"{}\" y=\"{bottom}\">{least:.4}</text></g>\n",
        top - 6.0,
        escaped(name),
        bottom + 14.0,
        LEFT - 6.0,
        top + 10.0,
        LEFT - 6.0,
    );
    for (points, colour) in curves.iter().zip(["#1565c0", "#ef6c00"]) {
        let mut line = String::new();
        for (at, value) in points {
            let _ = write!(line, "{:.1},{:.1} ", x(*at), y(*value));
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            line.trim_end()
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
