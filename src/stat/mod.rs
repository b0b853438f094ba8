//! Numbers about numbers: correlations, ranks, errors, areas under curves, intervals, and the score table of a model.
//!
//! Everything works on plain `f64` slices. A function of two slices panics when their lengths differ; a number that
//! does not exist (no points, no variance, one label only) is NaN, and each function says when. A NaN among the
//! inputs gives NaN; leaving out missing targets is the job of [`scores`].

mod averaged;
mod classification;
mod compare;
mod correlation;
mod describe;
mod gauge;
mod groups;
pub mod linear;
mod paired;
mod regression;
mod scores;
mod student;

pub use averaged::Averaged;
pub use classification::{auprc, auroc, rank_sum};
pub use compare::Compare;
pub use correlation::{cosine, fisher_interval, ordinal_ranks, pearson, pearson_distance, ranks, spearman};
pub use describe::{bootstrap_interval, mean, median, normal_cdf, normal_quantile, quantile, sd};
pub use gauge::{Gauge, UNIFORM};
pub use groups::TrackGroups;
pub use paired::{Paired, SignedRank, benjamini_hochberg, paired, signed_rank};
pub use regression::{jensen_shannon, mse, r2, rmse};
pub use scores::{Axis, Metric, Profiles, Score, Table, scores};
pub use student::{t_interval, t_quantile};
