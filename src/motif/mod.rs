//! Motifs: PWMs, scanning, recovery of planted motifs.
