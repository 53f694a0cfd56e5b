//! A plot as SVG: panels side by side, workers to the right, efficiency upwards.

use std::fmt::Write;

pub struct Plot {
    pub title: String,
    pub subtitle: String,
    pub panels: Vec<Panel>,
}

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub label: String,
    /// Workers, and a part of one.
    pub points: Vec<(usize, f64)>,
    pub dashed: bool,
}

/// Each is told from its neighbour by hue and by lightness.
const COLOURS: [&str; 4] = ["#c2410c", "#ca8a04", "#0d9488", "#1d4ed8"];
const GREY: &str = "#737373";
const LEFT: f64 = 80.0;
const TOP: f64 = 84.0;
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
const GAP: f64 = 40.0;
const LEGEND: f64 = 36.0;

impl Plot {
    pub fn to_svg(&self) -> String {
        let width = LEFT + self.panels.len() as f64 * (WIDTH + GAP);
        let height = TOP + HEIGHT + 50.0 + LEGEND;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#262626\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, LEFT, 26.0, "start", "font-size=\"16\" font-weight=\"bold\"", &self.title);
        text(&mut svg, LEFT, 46.0, "start", "font-size=\"11\" fill=\"#525252\"", &self.subtitle);
        for (number, panel) in self.panels.iter().enumerate() {
            panel.draw(&mut svg, LEFT + number as f64 * (WIDTH + GAP), number == 0);
        }
        if let Some(panel) = self.panels.first() {
            panel.legend(&mut svg, TOP + HEIGHT + 66.0);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, left: f64, first: bool) {
        let workers: Vec<usize> = self.lines.iter().flat_map(|line| line.points.iter().map(|(n, _)| *n)).collect();
        let (fewest, most) = (workers.iter().min().copied().unwrap_or(1), workers.iter().max().copied().unwrap_or(1));
        let span = (most as f64 / fewest as f64).log2().max(1.0);
        // Twice the workers are always as far apart.
        let x = |n: usize| left + 20.0 + (WIDTH - 40.0) * (n as f64 / fewest as f64).log2() / span;
        let y = |part: f64| TOP + HEIGHT * (1.0 - part.clamp(0.0, 1.1) / 1.1);
        text(svg, left + WIDTH / 2.0, TOP - 12.0, "middle", "font-weight=\"bold\"", &self.title);
        for percent in (0..=100).step_by(20) {
            let at = y(f64::from(percent) / 100.0);
            line(svg, (left, at), (left + WIDTH, at), "stroke=\"#e5e5e5\"");
            if first {
                text(svg, left - 8.0, at + 4.0, "end", "", &format!("{percent} %"));
            }
        }
        line(svg, (left, TOP + HEIGHT), (left + WIDTH, TOP + HEIGHT), "stroke=\"#737373\"");
        line(svg, (left, TOP), (left, TOP + HEIGHT), "stroke=\"#737373\"");
        if let Some(line) = self.lines.first() {
            for (n, _) in &line.points {
                text(svg, x(*n), TOP + HEIGHT + 18.0, "middle", "", &n.to_string());
            }
        }
        text(svg, left + WIDTH / 2.0, TOP + HEIGHT + 38.0, "middle", "", "workers");
        if first {
            let at = (left - 52.0, TOP + HEIGHT / 2.0);
            let turned = format!("transform=\"rotate(-90 {:.1} {:.1})\"", at.0, at.1);
            text(svg, at.0, at.1, "middle", &turned, "efficiency");
        }
        for (number, line) in self.lines.iter().enumerate() {
            let points: Vec<String> =
                line.points.iter().map(|(n, part)| format!("{:.1},{:.1}", x(*n), y(*part))).collect();
            let style = line.style(number);
            writeln!(svg, "<polyline points=\"{}\" fill=\"none\" {style}/>", points.join(" "))
                .expect("a String takes all");
            let colour = line.colour(number);
            for (n, part) in &line.points {
                writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>", x(*n), y(*part))
                    .expect("a String takes all");
            }
        }
    }

    fn legend(&self, svg: &mut String, y: f64) {
        let mut x = LEFT;
        text(svg, x, y + 4.0, "start", "", "a task of");
        x += 70.0;
        for (number, entry) in self.lines.iter().enumerate() {
            line(svg, (x, y), (x + 26.0, y), &entry.style(number));
            text(svg, x + 32.0, y + 4.0, "start", "", &entry.label);
            x += 52.0 + 8.0 * entry.label.chars().count() as f64;
        }
    }
}

impl Line {
    fn colour(&self, number: usize) -> &'static str {
        if self.dashed { GREY } else { COLOURS[number % COLOURS.len()] }
    }

    fn style(&self, number: usize) -> String {
        let dashes = if self.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        format!("stroke=\"{}\" stroke-width=\"2.5\"{dashes}", self.colour(number))
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>")
        .expect("a String takes all");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, style: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>")
        .expect("a String takes all");
}
