// channels_first.cu: [N, L, C] to [N, C, L], positions backwards and channels exchanged in pairs where a map is of the other strand.
// Host side: src/ops/channels_first/cuda.rs
// Maths:     y[n, k ^ pairs, p'] = x[n, p, k], p' = p or L - 1 - p; the gradient is the same the other way round
// Layout:    maps [N, L, C] and [N, C, L]; changes [width, M, C] at start[m], and [C, M, L]
// Entries:   channels_first_fwd_f32, channels_first_bwd_f32, channels_first_delta_f32: any grid along x, block 256
// Limits:    N * C, N * L, C * M below 2^63; L, C, width, M below 2^31; any alignment; C even where pairs = 1
// Order:     values are copied
// Measured:  not on a GPU yet; writes are coalesced, reads in steps of C, which is a handful of tracks
#include "drg.cuh"

extern "C" __global__ void __launch_bounds__(256) channels_first_fwd_f32(
    const float* __restrict__ x, float* __restrict__ y, long long n, int l, int c, int back, int pairs) {
    each_cell(n * c, l, [=](long long row, int p) {
        const long long sequence = row / c;
        const int k = (int)(row - sequence * c) ^ pairs;
        y[row * l + p] = x[(sequence * l + (back ? l - 1 - p : p)) * c + k];
    });
}

extern "C" __global__ void __launch_bounds__(256) channels_first_bwd_f32(
    const float* __restrict__ dy, float* __restrict__ dx, long long n, int l, int c, int back, int pairs) {
    each_cell(n * l, c, [=](long long row, int k) {
        const long long sequence = row / l;
        const int p = (int)(row - sequence * l);
        dx[row * c + k] = dy[(sequence * c + (k ^ pairs)) * l + (back ? l - 1 - p : p)];
    });
}

extern "C" __global__ void __launch_bounds__(256) channels_first_delta_f32(
    const float* __restrict__ d, const int* __restrict__ start, float* __restrict__ y, int m, int l, int c, int width, int back, int pairs) {
    each_cell((long long)c * m, l, [=](long long row, int p) {
        const long long k = row / m;
        const int lane = (int)(row - k * m), w = (back ? l - 1 - p : p) - start[lane];
        y[row * l + p] = w >= 0 && w < width ? d[((long long)w * m + lane) * c + (k ^ pairs)] : 0.0f;
    });
}
