//! The embedded font (Arimo, SIL Open Font License, see `assets/OFL.txt`) and the width of text in it.
//!
//! Arimo has the metrics of Arial and Helvetica, so a viewer without it falls back to one of these and the layout stands.

use std::collections::HashMap;
use std::sync::OnceLock;

/// Regular face, TrueType.
pub(super) const REGULAR: &[u8] = include_bytes!("assets/Arimo-Regular.ttf");
/// Bold face, TrueType.
pub(super) const BOLD: &[u8] = include_bytes!("assets/Arimo-Bold.ttf");
/// Name of the embedded family.
#[cfg(feature = "png")]
pub(super) const FAMILY: &str = "Arimo";
/// Value of `font-family` in every SVG.
pub(super) const STACK: &str = "Arimo, Arial, Helvetica, 'Liberation Sans', sans-serif";
/// Height of a capital letter at size 1.
pub(super) const CAPITAL: f64 = 0.688;

/// Width of a line of text, in the unit of `size`. A character that the font lacks counts as one em.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    static FACES: OnceLock<[HashMap<u16, f64>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| {
        [REGULAR, BOLD].map(|face| advances(face).expect("the embedded font has cmap format 4, hhea, hmtx and head"))
    });
    let face = &faces[usize::from(bold)];
    let em = |c: char| u16::try_from(u32::from(c)).ok().and_then(|c| face.get(&c)).copied().unwrap_or(1.0);
    text.chars().map(em).sum::<f64>() * size
}

/// The text, or as much of its beginning as fits into `room` with an ellipsis.
pub(super) fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    if width(text, size, bold) <= room {
        return text.to_owned();
    }
    let room = room - width("…", size, bold);
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept, size, bold) > room {
            kept.pop();
            break;
        }
    }
    format!("{}…", kept.trim_end())
}

/// Advance width of every character in em: character map (format 4) and horizontal metrics of a TrueType file.
fn advances(font: &[u8]) -> Option<HashMap<u16, f64>> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(font.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_be_bytes(font.get(at..at + 4)?.try_into().ok()?) as usize);
    let table = |tag: &[u8; 4]| {
        let count = usize::from(u16_at(4)?);
        (0..count).map(|i| 12 + 16 * i).find(|&at| font.get(at..at + 4) == Some(tag)).and_then(|at| u32_at(at + 8))
    };
    let em = f64::from(u16_at(table(b"head")? + 18)?);
    let metrics = usize::from(u16_at(table(b"hhea")? + 34)?);
    let (hmtx, cmap) = (table(b"hmtx")?, table(b"cmap")?);
    let map = (0..usize::from(u16_at(cmap + 2)?))
        .filter_map(|i| Some(cmap + u32_at(cmap + 4 + 8 * i + 4)?))
        .find(|&at| u16_at(at) == Some(4))?;
    let segments = usize::from(u16_at(map + 6)?) / 2;
    let (ends, starts) = (map + 14, map + 16 + 2 * segments);
    let (deltas, offsets) = (starts + 2 * segments, starts + 4 * segments);
    let mut found = HashMap::new();
    for s in 0..segments {
        let (start, end) = (u16_at(starts + 2 * s)?, u16_at(ends + 2 * s)?);
        let (delta, offset) = (u16_at(deltas + 2 * s)?, usize::from(u16_at(offsets + 2 * s)?));
        for c in (start..=end).filter(|&c| c != u16::MAX) {
            let glyph = match offset {
                0 => c.wrapping_add(delta),
                _ => match u16_at(offsets + 2 * s + offset + 2 * usize::from(c - start))? {
                    0 => 0,
                    g => g.wrapping_add(delta),
                },
            };
            let advance = u16_at(hmtx + 4 * usize::from(glyph).min(metrics - 1))?;
            found.insert(c, f64::from(advance) / em);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_metrics() {
        // Advances of Arial and its metric twins, in 1/2048 em: zero 1139, W 1933, space 569, bold A 1479.
        assert!((width("0", 2048.0, false) - 1139.0).abs() < 1e-9);
        assert!((width("W ", 2048.0, false) - 2502.0).abs() < 1e-9);
        assert!((width("A", 2048.0, true) - 1479.0).abs() < 1e-9);
        assert_eq!(width("", 10.0, false), 0.0);
        assert_eq!(width("\u{4e2d}", 10.0, false), 10.0);
        assert!(width("−αβΔ×≤…", 10.0, false) < 50.0);
    }

    #[test]
    fn fitting_text_is_untouched_and_long_text_is_cut() {
        assert_eq!(fit("liver", 10.0, false, 100.0), "liver");
        let cut = fit("a very long name of a track", 10.0, false, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 10.0, false) <= 60.0, "{cut}");
    }
}
