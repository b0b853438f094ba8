//! One HTML file with text, figures, tables and provenance; it loads nothing from anywhere.

use minijinja::{Environment, Value, context};

use super::font;
use super::refuse;
use super::svg::Svg;
use crate::error::{Error, Result};

const OP: &str = "plot::report";

/// A report. Every text is shown as it is: markup in it is not interpreted.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// A line below the title.
    pub subtitle: String,
    /// The few numbers that matter, as name and value.
    pub summary: Vec<(String, String)>,
    /// The body.
    pub sections: Vec<Section>,
    /// Where the results come from.
    pub provenance: Provenance,
}

/// A section of a report.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// Heading; needed, because the table of contents lists it.
    pub heading: String,
    /// Text; an empty line begins a new paragraph.
    pub text: String,
    /// Figures, each with its caption.
    pub figures: Vec<ReportFigure>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A figure of a report.
#[derive(Debug, Clone)]
pub struct ReportFigure {
    /// The picture.
    pub svg: Svg,
    /// What it shows.
    pub caption: String,
}

/// A table of a report. Columns that hold only numbers are aligned to the right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Rows, each as long as the header.
    pub rows: Vec<Vec<String>>,
}

/// Where results come from: enough to make them again.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// Command line.
    pub command: String,
    /// Seed of the random numbers.
    pub seed: Option<u64>,
    /// Anything else, as name and value: machine, inputs, time.
    pub more: Vec<(String, String)>,
    /// Effective configuration, shown as it is.
    pub configuration: String,
}

impl Report {
    /// The HTML file.
    ///
    /// # Errors
    /// [`Error::Argument`] if the title or a heading is empty, or a row of a table is not as long as its header.
    pub fn render(&self) -> Result<String> {
        self.check()?;
        let mut numbers = (0, 0);
        let sections: Vec<_> = self.sections.iter().enumerate().map(|(i, s)| s.view(i, &mut numbers)).collect();
        let p = &self.provenance;
        let known = [("Version", &p.version), ("Command", &p.command)];
        let known = known.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v.clone()));
        let seed = p.seed.map(|s| ("Seed".to_owned(), s.to_string()));
        let provenance: Vec<_> = known.chain(seed).chain(p.more.iter().cloned()).collect();
        let failed = |e: minijinja::Error| Error::Failed(format!("cannot fill the report's template: {e:#}"));
        let mut environment = Environment::new();
        // The ending of the name makes minijinja escape every value.
        environment.add_template("report.html", include_str!("assets/report.html")).map_err(failed)?;
        let page = environment.get_template("report.html").map_err(failed)?;
        page.render(context! {
            title => self.title.as_str(),
            subtitle => self.subtitle.as_str(),
            summary => pairs(&self.summary),
            sections,
            provenance => pairs(&provenance),
            configuration => p.configuration.as_str(),
            regular => base64(font::REGULAR),
            bold => base64(font::BOLD),
        })
        .map_err(failed)
    }

    fn check(&self) -> Result<()> {
        if self.title.is_empty() {
            return refuse(OP, "the report has no title");
        }
        for (i, s) in self.sections.iter().enumerate() {
            if s.heading.is_empty() {
                return refuse(OP, format!("section {i} has no heading"));
            }
            for t in &s.tables {
                let bad = t.rows.iter().enumerate().find(|(_, r)| r.len() != t.header.len());
                if let Some((row, cells)) = bad {
                    let (heading, n, expected) = (&s.heading, cells.len(), t.header.len());
                    let what =
                        format!("a table of section '{heading}' has {expected} columns, but row {row} has {n} cells");
                    return refuse(OP, what);
                }
            }
        }
        Ok(())
    }
}

impl Section {
    /// What the template sees of the section; figures and tables are numbered on from `numbers`.
    fn view(&self, index: usize, numbers: &mut (usize, usize)) -> Value {
        let mut figures = Vec::new();
        for f in &self.figures {
            numbers.0 += 1;
            // Where the screen is narrower than this, the picture scrolls: smaller text could not be read.
            let least = (f.svg.width() * 0.75).min(900.0).round() as u32;
            let svg = Value::from_safe_string(f.svg.to_string());
            figures.push(context! { number => numbers.0, caption => f.caption.as_str(), svg, least });
        }
        let mut tables = Vec::new();
        for t in &self.tables {
            numbers.1 += 1;
            tables.push(t.view(numbers.1));
        }
        let paragraphs = self.text.split("\n\n").map(str::trim).filter(|p| !p.is_empty());
        context! {
            id => format!("section-{}", index + 1),
            heading => self.heading.as_str(),
            paragraphs => paragraphs.map(Value::from).collect::<Vec<_>>(),
            figures,
            tables,
        }
    }
}

impl Table {
    fn view(&self, number: usize) -> Value {
        let is_numeric = |c: usize| !self.rows.is_empty() && self.rows.iter().all(|r| is_number(&r[c]));
        let numeric: Vec<bool> = (0..self.header.len()).map(is_numeric).collect();
        let cells = |row: &Vec<String>| -> Value {
            row.iter().zip(&numeric).map(|(text, &numeric)| context! { text => text.as_str(), numeric }).collect()
        };
        context! {
            number,
            caption => self.caption.as_str(),
            header => cells(&self.header),
            rows => self.rows.iter().map(cells).collect::<Value>(),
        }
    }
}

/// Names and values as the template sees them.
fn pairs(list: &[(String, String)]) -> Value {
    list.iter().map(|(name, value)| context! { name => name.as_str(), value => value.as_str() }).collect()
}

/// Whether a cell is read as a number by people: digits with a sign, commas, percent, or a missing value.
fn is_number(cell: &str) -> bool {
    let plain = cell.trim().trim_end_matches('%').replace(',', "").replace('−', "-");
    matches!(plain.as_str(), "" | "-" | "–" | "NA") || plain.parse::<f64>().is_ok()
}

/// Base64 of RFC 4648 with padding, for the embedded font.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::svg::{Canvas, Type};

    fn figure(text: &str) -> ReportFigure {
        let mut page = Canvas::new(100.0, 20.0, "");
        page.text(1.0, 15.0, text, &Type::new(10.0));
        ReportFigure { svg: page.finish(), caption: format!("caption {text}") }
    }

    fn report() -> Report {
        let cells = |row: &[&str]| row.iter().map(|c| (*c).to_owned()).collect();
        Report {
            title: "A <b>title</b>".into(),
            subtitle: "sub".into(),
            summary: vec![("r & r".into(), "0.87".into())],
            sections: vec![
                Section {
                    heading: "First \"one\"".into(),
                    text: "One paragraph.\n\nAnother <script>alert(1)</script>.".into(),
                    figures: vec![figure("a < b"), figure("c")],
                    tables: vec![Table {
                        caption: "scores".into(),
                        header: cells(&["track", "r"]),
                        rows: vec![cells(&["K562", "0.5"]), cells(&["<i>", "−1,000"])],
                    }],
                },
                Section { heading: "Second".into(), figures: vec![figure("d")], ..Default::default() },
            ],
            provenance: Provenance {
                version: "0.1.0".into(),
                command: "drg demo > 'x'".into(),
                seed: Some(7),
                more: vec![("Machine".into(), "2 cores".into())],
                configuration: "[train]\nlr = 0.001 # <fast>".into(),
            },
        }
    }

    #[test]
    fn everything_is_there_and_escaped() {
        let html = report().render().unwrap();
        for piece in [
            "<title>A &lt;b&gt;title&lt;&#x2f;b&gt;</title>",
            "r &amp; r",
            "alert(1)&lt;&#x2f;script&gt;",
            ">a &lt; b</text>",
            "caption a &lt; b",
            "Figure 3",
            "Table 1",
            "lr = 0.001 # &lt;fast&gt;",
            "drg demo &gt; &#x27;x&#x27;",
            "<td class=\"number\">−1,000</td>",
            "<td>&lt;i&gt;</td>",
        ] {
            assert!(html.contains(piece), "{piece} is missing");
        }
        assert!(!html.contains("<script") && !html.contains("<i>"));
        assert_eq!(html.matches("<svg").count(), 3);
        assert_eq!(html.matches("<p>").count(), 2);
        assert_eq!(html, report().render().unwrap());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let html = report().render().unwrap();
        let html = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!html.contains("http") && !html.contains("src=\""));
    }

    #[test]
    fn an_empty_report_is_a_page() {
        let html = Report { title: "t".into(), ..Default::default() }.render().unwrap();
        assert!(html.trim_end().ends_with("</html>") && !html.contains("Provenance"));
    }

    #[test]
    fn refuses_ragged_tables_and_missing_names() {
        let mut bad = report();
        bad.sections[0].tables[0].rows[1].pop();
        assert!(bad.render().unwrap_err().to_string().contains("has 2 columns, but row 1 has 1 cells"));
        bad.sections[0].heading.clear();
        assert!(bad.render().unwrap_err().to_string().contains("section 0 has no heading"));
        assert!(Report::default().render().is_err());
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
