//! placeholder
/// f
pub trait Float:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + 'static
{
    /// o
    fn of(v: f64) -> Self;
}
impl Float for f32 {
    fn of(v: f64) -> f32 {
        v as f32
    }
}
impl Float for f64 {
    fn of(v: f64) -> f64 {
        v
    }
}
