//! One macro that compiles a function for several instruction sets and picks the widest at run time, so that a plain build uses
//! AVX-512 where the machine has it. Bodies are ordinary loops; the compiler vectorises them.
//!
//! Results may differ between levels (only [`Fused`] levels round `a * b + c` once), never between threads, slice offsets or
//! slice lengths: bodies use the same arithmetic for every element and sum in an order fixed by the index. AVX2 and AVX-512 give
//! the same bits.

use std::sync::OnceLock;

use crate::error::{Error, Result, hint};

/// Instruction sets that a dispatched function is compiled for, narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of the architecture has: SSE2 on x86-64, NEON on aarch64.
    Portable,
    /// AVX2 with fused multiply-add: 8 lanes of f32.
    Avx2,
    /// AVX-512 F, VL, DQ, BW: 16 lanes of f32.
    Avx512,
}

/// Names of the levels in `DRG_SIMD`.
const NAMES: [(&str, Level); 3] = [("portable", Level::Portable), ("avx2", Level::Avx2), ("avx512", Level::Avx512)];

impl Level {
    /// Name as in the environment variable `DRG_SIMD`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].0
    }

    /// Widest level of this processor.
    pub fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw");
            match (fused, wide) {
                (true, true) => Self::Avx512,
                (true, false) => Self::Avx2,
                _ => Self::Portable,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Portable
    }
}

/// Level that dispatched functions run at: the processor's widest, or the one named by the environment variable `DRG_SIMD`
/// (`portable`, `avx2`, `avx512`) if that is narrower. Read once. [`check`] says whether the variable was understood.
pub fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = FORCED.get() {
        return level;
    }
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| check().unwrap_or_else(|_| Level::detected()))
}

/// Level that `DRG_SIMD` and the processor agree on.
///
/// # Errors
/// The variable holds an unknown name, or a level that this processor does not have.
pub fn check() -> Result<Level> {
    std::env::var("DRG_SIMD").map_or_else(|_| Ok(Level::detected()), |name| choose(&name, Level::detected()))
}

fn choose(name: &str, widest: Level) -> Result<Level> {
    let Some((_, level)) = NAMES.iter().find(|(n, _)| *n == name) else {
        let hint = hint(name, NAMES.map(|(n, _)| n));
        return Err(Error::Usage(format!("DRG_SIMD: expected portable, avx2 or avx512; found '{name}'{hint}")));
    };
    if *level > widest {
        let widest = widest.name();
        return Err(Error::Usage(format!("DRG_SIMD: this processor has no '{name}', its widest level is '{widest}'")));
    }
    Ok(*level)
}

/// Whether a level has a fused multiply-add; the type parameter that `dispatch!` hands to a body.
pub trait Isa {
    /// True if `a * b + c` shall be rounded once. Without the instruction, `mul_add` would call the C library, 60 times slower.
    const FUSED: bool;
}

/// Levels with a fused multiply-add.
pub struct Fused;

/// The portable level: fused on aarch64, or when the build names a processor that can.
pub struct Portable;

impl Isa for Fused {
    const FUSED: bool = true;
}

impl Isa for Portable {
    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
}

/// Compiles a function for every [`Level`] and chooses at run time:
/// `dispatch! { pub fn name[I, T: Float](x: &[T], y: &mut [T]) { .. } }` defines `name<T: Float>`; inside, `I` is the [`Isa`].
/// Whatever the body calls in its loops must be `#[inline(always)]`, or it is compiled without the wide registers.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident[$isa:ident $(, $g:ident : $bound:path)*]
     ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name<$($g: $bound),*>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters)]
            fn body<$isa: $crate::util::simd::Isa $(, $g: $bound)*>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            fn avx512<$($g: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::util::simd::Fused $(, $g)*>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2<$($g: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::util::simd::Fused $(, $g)*>($($arg),*)
            }
            match $crate::util::simd::level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `level` answers a level only after the processor was asked for its instructions.
                $crate::util::simd::Level::Avx512 => unsafe { avx512::<$($g),*>($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::util::simd::Level::Avx2 => unsafe { avx2::<$($g),*>($($arg),*) },
                _ => body::<$crate::util::simd::Portable $(, $g)*>($($arg),*),
            }
        }
    };
}
pub(crate) use dispatch;

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Level>> = const { std::cell::Cell::new(None) };
}

/// Runs `f` once at every level that this machine has, on this thread.
#[cfg(test)]
pub(crate) fn at_every_level(mut f: impl FnMut(Level)) {
    for (_, level) in NAMES.into_iter().filter(|(_, level)| *level <= Level::detected()) {
        FORCED.set(Some(level));
        f(level);
    }
    FORCED.set(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    dispatch! {
        fn fused_error[I, T: Copy](x: f32, unused: T) -> f32 {
            let _ = unused;
            let square = x * x;
            if I::FUSED { x.mul_add(x, -square) } else { x * x - square }
        }
    }

    #[test]
    fn levels_run_the_version_they_name() {
        at_every_level(|level| {
            let fused = level > Level::Portable || Portable::FUSED;
            assert_eq!(fused_error(1.0 + f32::EPSILON, ()) != 0.0, fused, "{level:?}");
        });
    }

    #[test]
    fn names() {
        for (name, level) in NAMES {
            assert_eq!((level.name(), choose(name, Level::Avx512).unwrap()), (name, level));
        }
        let e = choose("avx", Level::Avx512).unwrap_err().to_string();
        assert_eq!(e, "DRG_SIMD: expected portable, avx2 or avx512; found 'avx' (did you mean 'avx2'?)");
        let e = choose("avx512", Level::Avx2).unwrap_err().to_string();
        assert_eq!(e, "DRG_SIMD: this processor has no 'avx512', its widest level is 'avx2'");
    }
}
