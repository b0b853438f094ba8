//! A small SVG writer, and the finished picture as text, PNG or file.

use std::fmt::Write;
use std::path::Path;

use super::colour::Colour;
use super::{font, refuse};
use crate::error::{Error, Result};
use crate::util::fs::write_bytes;

/// A finished picture. `to_string()` gives the SVG file.
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    text: String,
    width: f64,
    height: f64,
}

impl Svg {
    /// Width in CSS pixels (1/96 inch).
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Height in CSS pixels (1/96 inch).
    pub fn height(&self) -> f64 {
        self.height
    }

    /// The bytes of a PNG file on white paper with `dpi` dots an inch (96: one dot a pixel; journals ask for 300 or 600).
    /// Only the embedded font is used, so that the bytes do not depend on the machine's fonts.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in a build without the feature `png`; [`Error::Argument`] if the resolution is not between 10
    /// and 2400 or the picture would have more than 32,767 dots in a direction or 400 million in all.
    pub fn to_png(&self, dpi: f64) -> Result<Vec<u8>> {
        if !(10.0..=2400.0).contains(&dpi) {
            return refuse("plot::to_png", format!("resolution must be 10 to 2400 dots an inch, found {dpi}"));
        }
        let scale = dpi / 96.0;
        let (w, h) = ((self.width * scale).ceil(), (self.height * scale).ceil());
        if w.max(h) > 32_767.0 || w * h > 4e8 {
            let what = format!("{w} x {h} dots at {dpi} dots an inch are too many; lower the resolution or write SVG");
            return refuse("plot::to_png", what);
        }
        self.rasterise(w as u32, h as u32, dpi)
    }

    #[cfg(feature = "png")]
    fn rasterise(&self, width: u32, height: u32, dpi: f64) -> Result<Vec<u8>> {
        use resvg::tiny_skia::{Color, Pixmap, Transform};
        let tree = parse(&self.text)?;
        let failed = |what: String| Error::Failed(format!("cannot draw the picture as PNG: {what}"));
        let mut pixels =
            Pixmap::new(width, height).ok_or_else(|| failed(format!("no memory for {width} x {height} dots")))?;
        pixels.fill(Color::WHITE);
        let scale = (dpi / 96.0) as f32;
        resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
        let png = pixels.encode_png().map_err(|e| failed(e.to_string()))?;
        Ok(with_resolution(&png, dpi))
    }

    #[cfg(not(feature = "png"))]
    fn rasterise(&self, _width: u32, _height: u32, _dpi: f64) -> Result<Vec<u8>> {
        let what = "this build has no PNG writer; write SVG, or build with `cargo build --features png`";
        Err(Error::Unsupported { op: "plot::to_png", what: what.into() })
    }

    /// Writes the picture to a file, as SVG or PNG by the ending of its name; `dpi` is for PNG.
    ///
    /// # Errors
    /// [`Error::Usage`] for another ending, [`Error::Io`] if the file cannot be written, or as [`Svg::to_png`].
    pub fn write(&self, path: &Path, dpi: f64) -> Result<()> {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("svg") => write_bytes(path, self.text.as_bytes()),
            Some("png") => write_bytes(path, &self.to_png(dpi)?),
            _ => Err(Error::Usage(format!(
                "{}: pictures are written as .svg or .png; end the name with one of these",
                path.display()
            ))),
        }
    }
}

impl std::fmt::Display for Svg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a shape is painted: nothing until asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    fill: Option<Colour>,
    stroke: Option<(Colour, f64)>,
    dash: Option<&'static str>,
    fill_opacity: Option<f64>,
    stroke_opacity: Option<f64>,
}

impl Style {
    /// A filled shape.
    pub fn fill(colour: Colour) -> Self {
        Self { fill: Some(colour), ..Self::default() }
    }

    /// An outline of some width.
    pub fn stroke(colour: Colour, width: f64) -> Self {
        Self { stroke: Some((colour, width)), ..Self::default() }
    }

    /// The same with an outline.
    pub fn outlined(self, colour: Colour, width: f64) -> Self {
        Self { stroke: Some((colour, width)), ..self }
    }

    /// The same with a dash pattern, e.g. `"4 3"`.
    pub fn dashed(self, pattern: &'static str) -> Self {
        Self { dash: Some(pattern), ..self }
    }

    /// The same with a translucent inside (0 invisible, 1 solid).
    pub fn fill_opacity(self, opacity: f64) -> Self {
        Self { fill_opacity: Some(opacity), ..self }
    }

    /// The same with a translucent outline.
    pub fn stroke_opacity(self, opacity: f64) -> Self {
        Self { stroke_opacity: Some(opacity), ..self }
    }

    fn attributes(&self) -> String {
        let mut out = match self.fill {
            Some(c) => format!(" fill=\"{c}\""),
            None => " fill=\"none\"".into(),
        };
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        if let Some(v) = self.fill_opacity {
            attribute(out, "fill-opacity", &number(v));
        }
        if let Some((c, w)) = self.stroke {
            attribute(out, "stroke", &c.to_string());
            attribute(out, "stroke-width", &number(w));
        }
        if let Some(v) = self.stroke_opacity {
            attribute(out, "stroke-opacity", &number(v));
        }
        if let Some(v) = self.dash {
            attribute(out, "stroke-dasharray", v);
        }
    }
}

/// Which point of a line of text stands at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The left end.
    Start,
    /// The centre.
    Middle,
    /// The right end.
    End,
}

/// How a line of text is set.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Size in pixels.
    pub size: f64,
    /// Bold face.
    pub bold: bool,
    /// Colour.
    pub colour: Colour,
    /// What stands at the position.
    pub anchor: Anchor,
    /// Turned a quarter to the left, to be read from below to above.
    pub turned: bool,
}

impl Type {
    /// Regular, dark, starting at its position.
    pub fn new(size: f64) -> Self {
        Self { size, bold: false, colour: Colour::INK, anchor: Anchor::Start, turned: false }
    }

    /// The same around its position.
    pub fn middle(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    /// The same ending at its position.
    pub fn end(self) -> Self {
        Self { anchor: Anchor::End, ..self }
    }

    /// The same in bold.
    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same in another colour.
    pub fn colour(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }

    /// The same turned a quarter to the left.
    pub fn turned(self) -> Self {
        Self { turned: true, ..self }
    }
}

/// A page to draw on; x to the right, y down, in pixels.
#[derive(Debug)]
pub struct Canvas {
    text: String,
    width: f64,
    height: f64,
    depth: usize,
}

impl Canvas {
    /// An empty page; `title` is what a browser shows on hovering and a screen reader says (empty: none).
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        let (width, height) = (width.ceil(), height.ceil());
        let (w, h) = (number(width), number(height));
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\" font-family=\"{}\">\n",
            font::STACK
        );
        if !title.is_empty() {
            let _ = writeln!(text, "<title>{}</title>", escape(title));
        }
        Self { text, width, height, depth: 0 }
    }

    /// Opens a group with attributes that its members inherit; [`Canvas::end`] closes it.
    pub fn group(&mut self, attributes: &[(&str, &str)]) {
        self.text.push_str("<g");
        for (name, value) in attributes {
            attribute(&mut self.text, name, value);
        }
        self.text.push_str(">\n");
        self.depth += 1;
    }

    /// Closes the innermost group.
    pub fn end(&mut self) {
        self.depth = self.depth.checked_sub(1).expect("every end() closes a group() of the same figure");
        self.text.push_str("</g>\n");
    }

    /// A rectangle by its upper left corner.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, style: &Style) {
        self.element(format_args!(
            "rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{}",
            number(x),
            number(y),
            number(width),
            number(height),
            style.attributes()
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &Style) {
        let mut painted = String::new();
        style.write(&mut painted);
        self.element(format_args!(
            "line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"{painted}",
            number(from.0),
            number(from.1),
            number(to.0),
            number(to.1)
        ));
    }

    /// A line through several points.
    pub fn polyline(&mut self, points: &[(f64, f64)], style: &Style) {
        let list: Vec<_> = points.iter().map(|p| format!("{},{}", number(p.0), number(p.1))).collect();
        self.element(format_args!(
            "polyline points=\"{}\" stroke-linejoin=\"round\"{}",
            list.join(" "),
            style.attributes()
        ));
    }

    /// A circle that takes its colour from the group around it.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64) {
        self.element(format_args!("circle cx=\"{}\" cy=\"{}\" r=\"{}\"", number(x), number(y), number(radius)));
    }

    /// A circle.
    pub fn circle(&mut self, x: f64, y: f64, radius: f64, style: &Style) {
        let (x, y, r) = (number(x), number(y), number(radius));
        self.element(format_args!("circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\"{}", style.attributes()));
    }

    /// A path in SVG's own notation.
    pub fn path(&mut self, data: &str, style: &Style) {
        self.element(format_args!("path d=\"{}\"{}", escape(data), style.attributes()));
    }

    /// A path in the unit square, stretched to `width` x `height` with its upper left corner at (x, y); a negative height
    /// stands it on its head, with y its lower edge.
    pub fn stretched(&mut self, data: &str, x: f64, y: f64, width: f64, height: f64, fill: Colour) {
        self.element(format_args!(
            "path d=\"{data}\" transform=\"matrix({} 0 0 {} {} {})\" fill=\"{fill}\"",
            number(width),
            number(height),
            number(x),
            number(y)
        ));
    }

    /// One line of text on its baseline.
    pub fn text(&mut self, x: f64, y: f64, text: &str, set: &Type) {
        if text.is_empty() {
            return;
        }
        let mut attributes = String::new();
        if set.turned {
            let _ = write!(attributes, " transform=\"translate({} {}) rotate(-90)\"", number(x), number(y));
        } else {
            let _ = write!(attributes, " x=\"{}\" y=\"{}\"", number(x), number(y));
        }
        attribute(&mut attributes, "font-size", &number(set.size));
        if set.bold {
            attributes.push_str(" font-weight=\"bold\"");
        }
        match set.anchor {
            Anchor::Start => {}
            Anchor::Middle => attributes.push_str(" text-anchor=\"middle\""),
            Anchor::End => attributes.push_str(" text-anchor=\"end\""),
        }
        attribute(&mut attributes, "fill", &set.colour.to_string());
        let _ = writeln!(self.text, "<text{attributes}>{}</text>", escape(text));
    }

    /// The finished picture.
    pub fn finish(mut self) -> Svg {
        assert_eq!(self.depth, 0, "every group() of a figure has its end()");
        self.text.push_str("</svg>\n");
        Svg { text: self.text, width: self.width, height: self.height }
    }

    fn element(&mut self, inside: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "<{inside}/>");
    }
}

fn attribute(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"{}\"", escape(value));
}

/// A number with at most three decimals and no trailing zeros.
pub(super) fn number(v: f64) -> String {
    let mut s = format!("{v:.3}");
    s.truncate(s.trim_end_matches('0').trim_end_matches('.').len());
    if s == "-0" { "0".into() } else { s }
}

/// The text with everything replaced that means something in XML or that XML forbids.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Reads SVG text with the embedded font and no other.
#[cfg(feature = "png")]
pub(super) fn parse(text: &str) -> Result<resvg::usvg::Tree> {
    let mut options = resvg::usvg::Options { font_family: font::FAMILY.into(), ..Default::default() };
    let fonts = options.fontdb_mut();
    fonts.load_font_data(font::REGULAR.to_vec());
    fonts.load_font_data(font::BOLD.to_vec());
    fonts.set_sans_serif_family(font::FAMILY);
    resvg::usvg::Tree::from_str(text, &options).map_err(|e| Error::Failed(format!("the picture is not valid SVG: {e}")))
}

/// The PNG with a `pHYs` chunk, from which programs take the size on paper; it stands right after the header chunk, which
/// is always 25 bytes behind the 8 of the signature.
#[cfg(feature = "png")]
fn with_resolution(png: &[u8], dpi: f64) -> Vec<u8> {
    let per_metre = ((dpi / 0.0254).round() as u32).to_be_bytes();
    let mut body = b"pHYs".to_vec();
    body.extend(per_metre);
    body.extend(per_metre);
    body.push(1);
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let (header, rest) = png.split_at(33);
    [header, &9u32.to_be_bytes(), &body, &crc.sum().to_be_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Svg {
        let mut page = Canvas::new(40.0, 20.2, "a < b & \"c\"");
        page.group(&[("stroke-linecap", "round"), ("data-x", "\"><script>")]);
        page.rect(0.0, 0.0, 10.0005, 1.0 / 3.0, &Style::fill(Colour(1, 2, 3)).fill_opacity(0.25));
        page.line((0.0, -0.0001), (3.0, 4.0), &Style::stroke(Colour::INK, 1.0).dashed("2 1"));
        page.end();
        page.text(20.0, 15.0, "5' <b>\u{0}\n\"x\" & y", &Type::new(10.0).middle().bold());
        page.finish()
    }

    #[test]
    fn bytes_are_stable_and_escaped() {
        let expected = concat!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"21\" viewBox=\"0 0 40 21\" role=\"img\" ",
            "font-family=\"Arimo, Arial, Helvetica, 'Liberation Sans', sans-serif\">\n",
            "<title>a &lt; b &amp; &quot;c&quot;</title>\n",
            "<g stroke-linecap=\"round\" data-x=\"&quot;&gt;&lt;script&gt;\">\n",
            "<rect x=\"0\" y=\"0\" width=\"10.001\" height=\"0.333\" fill=\"#010203\" fill-opacity=\"0.25\"/>\n",
            "<line x1=\"0\" y1=\"0\" x2=\"3\" y2=\"4\" stroke=\"#222222\" stroke-width=\"1\" stroke-dasharray=\"2 1\"/>\n",
            "</g>\n",
            "<text x=\"20\" y=\"15\" font-size=\"10\" font-weight=\"bold\" text-anchor=\"middle\" fill=\"#222222\">",
            "5&#39; &lt;b&gt;\u{fffd} &quot;x&quot; &amp; y</text>\n</svg>\n"
        );
        assert_eq!(sample().to_string(), expected);
    }

    #[test]
    fn files_go_by_their_ending() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.SVG");
        sample().write(&path, 96.0).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), sample().to_string());
        let e = sample().write(&folder.path().join("a.jpg"), 96.0).unwrap_err();
        assert!(e.to_string().contains(".svg or .png"), "{e}");
    }

    #[test]
    #[cfg(feature = "png")]
    fn png_has_size_resolution_ink_and_text() {
        let png = sample().to_png(192.0).unwrap();
        assert_eq!(png, sample().to_png(192.0).unwrap());
        assert_eq!(png[16..24], [0, 0, 0, 80, 0, 0, 0, 42]);
        assert_eq!(png[37..41], *b"pHYs");
        assert_eq!(u32::from_be_bytes(png[41..45].try_into().unwrap()), 7559);
        let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
        let dark = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            y.flat_map(|y| x.clone().map(move |x| (x, y)))
                .filter(|&(x, y)| pixels.pixel(x, y).unwrap().red() < 128)
                .count()
        };
        assert!(dark(0..80, 14..32) > 50, "the text is missing");
        assert_eq!(dark(0..80, 36..42), 0);
        assert!(sample().to_png(f64::NAN).is_err());
        let wide = Canvas::new(40_000.0, 10.0, "").finish();
        assert!(wide.to_png(96.0).unwrap_err().to_string().contains("lower the resolution"));
    }

    #[test]
    #[cfg(not(feature = "png"))]
    fn png_without_the_feature_says_how_to_get_it() {
        assert!(sample().to_png(96.0).unwrap_err().to_string().contains("--features png"));
    }

    #[test]
    #[cfg(feature = "png")]
    fn measured_width_is_the_drawn_width() {
        let mut page = Canvas::new(400.0, 40.0, "");
        // A capital H has about 0.08 em of side bearing on each side.
        page.text(10.0, 30.0, "Held out chr8: r = 0.87, n = 12,345 H", &Type::new(20.0));
        let drawn = parse(&page.finish().to_string()).unwrap().root().abs_bounding_box();
        let measured = font::width("Held out chr8: r = 0.87, n = 12,345 H", 20.0, false);
        assert!((f64::from(drawn.width()) - measured).abs() < 0.2 * 20.0, "{drawn:?} {measured}");
    }
}
