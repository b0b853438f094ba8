//! Colours: one for a base, a few for categories, and two continuous scales that stay readable for colour-blind eyes.

/// A colour in sRGB; shown as `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// Lines and text.
    pub const INK: Self = Self(0x22, 0x22, 0x22);
    /// Secondary text and tick marks.
    pub const GREY: Self = Self(0x6b, 0x6b, 0x6b);
    /// Grid lines and frames that should not speak.
    pub const PALE: Self = Self(0xdd, 0xdd, 0xdd);
    /// Paper.
    pub const WHITE: Self = Self(0xff, 0xff, 0xff);

    /// The colour of a base code: A green, C blue, G orange, T and U red, anything else grey.
    pub fn base(code: u8) -> Self {
        [Self(0x2a, 0x9d, 0x44), Self(0x2a, 0x5f, 0xb4), Self(0xf2, 0xa3, 0x1b), Self(0xd6, 0x33, 0x2c)]
            .get(usize::from(code))
            .copied()
            .unwrap_or(Self(0x9a, 0x9a, 0x9a))
    }

    /// The `i`-th colour for categories, after Okabe and Ito (2008), told apart with every common kind of colour
    /// blindness; repeats after seven.
    pub fn category(i: usize) -> Self {
        const SET: [Colour; 7] = [
            Colour(0x00, 0x72, 0xb2),
            Colour(0xd5, 0x5e, 0x00),
            Colour(0x00, 0x9e, 0x73),
            Colour(0xcc, 0x79, 0xa7),
            Colour(0xe6, 0x9f, 0x00),
            Colour(0x56, 0xb4, 0xe9),
            Colour(0x55, 0x55, 0x55),
        ];
        SET[i % SET.len()]
    }

    /// A sequential scale from pale yellow (0) over green and blue to dark violet (1); its lightness in OKLab falls
    /// linearly, so that equal steps look equal, also in grey print. Values outside 0..1 take the end colour.
    pub fn sequential(t: f64) -> Self {
        let t = t.clamp(0.0, 1.0);
        let hue = (105.0 + 180.0 * t).to_radians();
        // The most that sRGB has on this path; clipped colours would show as a step.
        let chroma = 0.065 + 0.028 * (std::f64::consts::PI * t).sin();
        Self::from_oklab(0.94 - 0.66 * t, chroma * hue.cos(), chroma * hue.sin())
    }

    /// A diverging scale: -1 blue, 0 nearly white, +1 red, both arms with the same lightness and chroma at the same
    /// distance from 0. Values outside take the end colour.
    pub fn diverging(t: f64) -> Self {
        let t = t.clamp(-1.0, 1.0);
        let hue = if t < 0.0 { 254f64 } else { 27f64 }.to_radians();
        let chroma = 0.15 * t.abs();
        Self::from_oklab(0.975 - 0.495 * t.abs(), chroma * hue.cos(), chroma * hue.sin())
    }

    /// The sRGB colour of an OKLab point (B. Ottosson, 2020); components outside sRGB are clipped.
    pub fn from_oklab(lightness: f64, a: f64, b: f64) -> Self {
        let l = (lightness + 0.3963377774 * a + 0.2158037573 * b).powi(3);
        let m = (lightness - 0.1055613458 * a - 0.0638541728 * b).powi(3);
        let s = (lightness - 0.0894841775 * a - 1.2914855480 * b).powi(3);
        let channel = |linear: f64| {
            let v = if linear <= 0.0031308 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
            (v.clamp(0.0, 1.0) * 255.0).round() as u8
        };
        Self(
            channel(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
            channel(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
            channel(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s),
        )
    }

    /// Whether dark text is easier to read on this colour than white text.
    pub fn is_light(self) -> bool {
        0.299 * f64::from(self.0) + 0.587 * f64::from(self.1) + 0.114 * f64::from(self.2) > 140.0
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oklab(c: Colour) -> [f64; 3] {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        let (r, g, b) = (linear(c.0), linear(c.1), linear(c.2));
        let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
        let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
        let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
        [
            0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
            1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
            0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
        ]
    }

    fn steps(scale: impl Fn(f64) -> Colour) -> Vec<f64> {
        let points: Vec<_> = (0..=16).map(|i| oklab(scale(f64::from(i) / 16.0))).collect();
        points.windows(2).map(|p| (0..3).map(|k| (p[0][k] - p[1][k]).powi(2)).sum::<f64>().sqrt()).collect()
    }

    #[test]
    fn scales_have_even_steps() {
        for scale in [Colour::sequential as fn(f64) -> Colour, Colour::diverging, |t| Colour::diverging(-t)] {
            let s = steps(scale);
            let (low, high) = s.iter().fold((f64::MAX, 0f64), |(a, b), &v| (a.min(v), b.max(v)));
            assert!(high / low < 1.35, "{s:?}");
        }
    }

    #[test]
    fn diverging_is_balanced_and_clamped() {
        assert_eq!(Colour::diverging(3.0), Colour::diverging(1.0));
        let (low, high) = (oklab(Colour::diverging(-1.0)), oklab(Colour::diverging(1.0)));
        assert!((low[0] - high[0]).abs() < 0.01, "{low:?} {high:?}");
        let centre = Colour::diverging(0.0);
        assert!(centre.0 == centre.1 && centre.1 == centre.2 && centre.0 > 240, "{centre}");
        assert_eq!(Colour(1, 171, 255).to_string(), "#01abff");
    }
}
