// log.cu: logarithm of a shifted value; value, gradient, change under mutation.
// Host side: src/ops/log/cuda.rs
// Maths:     y = ln(offset + x) factor; dx = dy factor / (offset + x); change ln(1 + d / (offset + x)) factor
// Layout:    row major; x [N, size], dy and dx [R, size] with tape row rows[r]; windows [width, M, C], x [N, len, C]
// Entries:   log_fwd_f32, log_bwd_f32, log_delta_f32: any grid, block 256
// Limits:    any size, any alignment
// Order:     every element alone
// Measured:  not on a GPU yet
#include "drg.cuh"

extern "C" __global__ void __launch_bounds__(256) log_fwd_f32(const float* __restrict__ x, float* __restrict__ y, long long n, float offset, float factor) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) y[i] = logf(offset + x[i]) * factor;
}

extern "C" __global__ void __launch_bounds__(256)
    log_bwd_f32(const float* __restrict__ x, const float* __restrict__ dy, const int* __restrict__ rows, float* __restrict__ dx, long long size, long long n,
                float offset, float factor) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const long long r = i / size;
        dx[i] = dy[i] * factor / (offset + x[rows[r] * size + (i - r * size)]);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    log_delta_f32(const float* __restrict__ x, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start, float* __restrict__ y,
                  int m, int c, int width, int len, float offset, float factor) {
    each_cell((long long)width * m, c, [=](long long row, int channel) {
        const int w = (int)((unsigned)row / (unsigned)m), lane = (int)((unsigned)row % (unsigned)m), p = start[lane] + w;
        const bool inside = p >= 0 && p < len;
        const float old = inside ? x[((long long)rows[lane] * len + p) * c + channel] : 0.0f;
        y[row * c + channel] = inside ? log1pf(d[row * c + channel] / (offset + old)) * factor : 0.0f;
    });
}
