//! Bit formats and fitted constants of f32 and f64. Polynomials are minimax fits (Remez exchange in 50 digits) of the function
//! named at each constant.

/// What differs between f32 and f64. In a private module, so that nobody else implements `Float`.
pub trait Format: Sized + 'static {
    /// 1.5 * 2^(mantissa bits): adding it rounds to an integer.
    const ROUNDER: Self;
    /// ln 2 with trailing zero bits, so that its multiples by an exponent are exact.
    const LN2_HIGH: Self;
    /// ln 2 - LN2_HIGH.
    const LN2_LOW: Self;
    /// From here on e^x is infinite.
    const EXP_HIGH: Self;
    /// Up to here e^x is 0.
    const EXP_LOW: Self;
    /// Up to here e^x - 1 is -1.
    const EXPM1_LOW: Self;
    /// Rounds to the exponent whose power of two has the bits of 0.
    const DECAY_LOW: Self;
    /// Exponent added while a possibly subnormal power is built.
    const SUBNORMAL_SHIFT: Self;
    /// 2^-SUBNORMAL_SHIFT.
    const SUBNORMAL_BACK: Self;
    /// (e^r - 1 - r) / r^2 on |r| <= 0.347.
    const EXP: &'static [Self];
    /// (2 atanh(s) - 2 s) / s^3 as a polynomial in s^2 <= 0.0296.
    const LOG: &'static [Self];
    /// erf(x) / x as a polynomial in x^2 <= 0.25.
    const ERF: &'static [Self];
    /// Where e^(-a^2 / 2) is 0.
    const TAIL_END: Self;
    /// K of the map (a - K) / (a + K).
    const MILLS_CENTRE: Self;
    /// (a + K) (1 - Phi(a)) e^(a^2 / 2) as a polynomial in (a - K) / (a + K).
    const MILLS: &'static [Self];
    /// Up to this product of change and max(|z| / 2, 1) GELU's difference is its Taylor series.
    const TAYLOR_CUT: Self;

    /// 2^k of a number k + ROUNDER.
    fn power_of_two(self) -> Self;

    /// (m, k) with x = m 2^k and m in [sqrt(1/2), sqrt(2)); for positive finite x.
    fn mantissa(self) -> (Self, Self);

    /// The value cut to so few bits that its square is exact.
    fn short(self) -> Self;
}

macro_rules! format_of {
    ($t:ident, $bits:ident, $mantissa:literal, $sqrt_half:literal, $bias:literal, { $($format:tt)* }) => {
        impl Format for $t {
            const ROUNDER: Self = 1.5 * (1u64 << $mantissa) as $t;
            $($format)*
            #[inline(always)]
            fn power_of_two(self) -> Self {
                // the low bits of k + ROUNDER are k; all others are shifted out
                $t::from_bits((self.to_bits() << $mantissa).wrapping_add(($bias as $bits) << $mantissa))
            }
            #[inline(always)]
            fn mantissa(self) -> (Self, Self) {
                let small = self < $t::MIN_POSITIVE;
                let two_to_bits = (1u64 << $mantissa) as $t;
                let x = if small { self * two_to_bits } else { self };
                // counted from sqrt(1/2), so that m lies around 1
                let bits = x.to_bits().wrapping_sub($sqrt_half);
                let m = $t::from_bits((bits & ((1 << $mantissa) - 1)) + $sqrt_half);
                // as the low bits of 2^(mantissa bits) the exponent becomes a float without a conversion instruction
                let biased = bits.wrapping_add(($bias as $bits) << $mantissa) >> $mantissa;
                let k = $t::from_bits(biased | two_to_bits.to_bits()) - two_to_bits - $bias as $t;
                (m, if small { k - $mantissa as $t } else { k })
            }
            #[inline(always)]
            fn short(self) -> Self {
                $t::from_bits(self.to_bits() & ($bits::MAX << ($mantissa / 2 + 2)))
            }
        }
    };
}

format_of!(f32, u32, 23, 0x3f35_04f3, 127, {
    const LN2_HIGH: Self = 355.0 / 512.0;
    const LN2_LOW: Self = -2.121_944_4e-4;
    const EXP_HIGH: Self = 89.0;
    const EXP_LOW: Self = -104.0;
    const EXPM1_LOW: Self = -40.0;
    const DECAY_LOW: Self = -88.0;
    const SUBNORMAL_SHIFT: Self = 64.0;
    const SUBNORMAL_BACK: Self = 1.0 / (1u128 << 64) as f32;
    const EXP: &'static [Self] = &[4.9999994e-01, 1.666652e-01, 4.1668396e-02, 8.368797e-03, 1.381444e-03];
    const LOG: &'static [Self] = &[6.666666e-01, 4.000034e-01, 2.8536922e-01, 2.3589996e-01];
    const ERF: &'static [Self] =
        &[std::f32::consts::FRAC_2_SQRT_PI, -3.7612608e-01, 1.1282822e-01, -2.67571e-02, 4.7177984e-03];
    const TAIL_END: Self = 13.3;
    const MILLS_CENTRE: Self = 4.0;
    const MILLS: &'static [Self] = &[
        7.5528514e-01,
        -6.078966e-01,
        3.8713688e-01,
        -1.8652284e-01,
        6.0404506e-02,
        -7.5291246e-03,
        -3.5184694e-03,
        1.5754586e-03,
        1.9314642e-04,
        -1.2569605e-04,
    ];
    const TAYLOR_CUT: Self = 0.05;
});

format_of!(f64, u64, 52, 0x3fe6_a09e_667f_3bcd, 1023, {
    const LN2_HIGH: Self = 6.931_471_803_691_238e-1;
    const LN2_LOW: Self = 1.908_214_929_270_587_7e-10;
    const EXP_HIGH: Self = 710.0;
    const EXP_LOW: Self = -746.0;
    const EXPM1_LOW: Self = -80.0;
    const DECAY_LOW: Self = -709.0;
    const SUBNORMAL_SHIFT: Self = 120.0;
    const SUBNORMAL_BACK: Self = 1.0 / (1u128 << 120) as f64;
    const EXP: &'static [Self] = &[
        0.5000000000000011,
        0.16666666666666408,
        0.041666666666529226,
        0.008333333333497945,
        0.0013888888943942028,
        0.0001984126950026166,
        2.4801492518759112e-05,
        2.7557590857964707e-06,
        2.763040106508132e-07,
        2.499900759795348e-08,
    ];
    const LOG: &'static [Self] = &[
        0.6666666666666666,
        0.4000000000000648,
        0.28571428569010915,
        0.22222222658211319,
        0.18181774742795925,
        0.15387131477660254,
        0.13249192319217618,
        0.13259810089846236,
    ];
    const ERF: &'static [Self] = &[
        std::f64::consts::FRAC_2_SQRT_PI,
        -0.3761263890318375,
        0.11283791670954864,
        -0.026866170644997283,
        0.005223977621966354,
        -0.0008548326504821469,
        0.00012055285797237177,
        -1.4922987191422026e-05,
        1.6370885767406899e-06,
        -1.4617782204679245e-07,
    ];
    const TAIL_END: Self = 38.0;
    const MILLS_CENTRE: Self = 5.0;
    const MILLS: &'static [Self] = &[
        0.769193049750063,
        -0.6653825028900567,
        0.4953056159699773,
        -0.3135331566712962,
        0.16502036617033744,
        -0.06911863870657003,
        0.020795066800837356,
        -0.0029933767667050817,
        -0.0007978694080067856,
        0.0005448990333862102,
        -5.9375674808139956e-05,
        -4.9762654890833005e-05,
        1.6681041274681266e-05,
        3.9803846492765475e-06,
        -2.7689525896399363e-06,
        -3.3553710539223754e-07,
        4.3288425138611416e-07,
        4.088040353405643e-08,
        -6.601164866907313e-08,
        -8.294769619983627e-09,
        7.942232432180805e-09,
        1.4319698080215568e-09,
        -3.029054367127476e-10,
    ];
    const TAYLOR_CUT: Self = 1e-3;
});
