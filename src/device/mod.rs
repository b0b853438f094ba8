//! CPU and (later) CUDA: probe, threads, memory.
