// activation.cu: element-wise activation; value, gradient, DeepLIFT multiplier, change under mutation.
// Host side: src/ops/activation/cuda.rs
// Maths:     y = f(x); dx = dy f'(z); multiplier dy (f(a) - f(b)) / (a - b); change f(z + d) - f(z) (math.cuh)
// Layout:    row major; z [N, size], dy and dx [R, size] with tape row rows[r]; windows [width, M, C], z [N, len, C]
//            16-bit rows padded (operand.cuh)
// Entries:   activation_fwd_f32, activation_bwd_f32, activation_rescale_f32, activation_delta_f32: any grid, block 256
//            activation_fwd_bf16, activation_fwd_f16, activation_delta_bf16, activation_delta_f16: operands of products, rounded to
//            the nearest; any grid, block 256
// Limits:    any size, any alignment
// Order:     every element alone
// Measured:  not on a GPU yet
#include "math.cuh"
#include "operand.cuh"

namespace {

// Rows of c elements as 16-bit operands.
template <typename T> __device__ __forceinline__ void value_rows(const float* x, T* y, long long rows, int c, int f) {
    const bool aligned = c % 4 == 0 && aligned16(x);
    WITH_CURVE(f, each_cell(rows, ceil_div(c, 8), [=](long long row, int piece) {
        float v[8];
        load_eight(x + row * c, piece * 8, c, aligned, v);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] = F::value(v[e]);
        store_eight(y + row * row_pitch<T>(c), piece * 8, c, aligned, v);
    }))
}

template <typename T>
__device__ __forceinline__ void difference_rows(const float* z, const float* d, const int* rows, const int* start, T* y, int m, int c, int width, int len,
                                                int f) {
    const bool aligned = c % 4 == 0 && aligned16(z, d);
    WITH_CURVE(f, each_cell((long long)width * m, ceil_div(c, 8), [=](long long row, int piece) {
        const int w = (int)((unsigned)row / (unsigned)m), lane = (int)((unsigned)row % (unsigned)m), p = start[lane] + w;
        float v[8] = {};
        if (p >= 0 && p < len) {
            float at[8];
            load_eight(z + ((long long)rows[lane] * len + p) * c, piece * 8, c, aligned, at);
            load_eight(d + row * c, piece * 8, c, aligned, v);
#pragma unroll
            for (int e = 0; e < 8; e++) v[e] = F::difference(at[e], v[e]);
        }
        store_eight(y + row * row_pitch<T>(c), piece * 8, c, aligned, v);
    }))
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 1) activation_fwd_f32(const float* __restrict__ x, float* y, long long n, int f) {
    const long long step = (long long)gridDim.x * blockDim.x, first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    WITH_CURVE(f, for (long long i = first; i < n; i += step) y[i] = F::value(x[i]))
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_bwd_f32(const float* __restrict__ z, const float* __restrict__ dy, const int* __restrict__ rows, float* dx, long long size, long long n, int f) {
    const long long step = (long long)gridDim.x * blockDim.x, first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    WITH_CURVE(f, for (long long i = first; i < n; i += step) {
        const long long r = i / size;
        dx[i] = dy[i] * F::slope(z[rows[r] * size + (i - r * size)]);
    })
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_rescale_f32(const float* __restrict__ z, const float* __restrict__ dy, const int* __restrict__ rows, const int* __restrict__ partner,
                           float* dx, long long size, long long n, int f) {
    const long long step = (long long)gridDim.x * blockDim.x, first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    WITH_CURVE(f, for (long long i = first; i < n; i += step) {
        const long long r = i / size, at = i - r * size;
        dx[i] = dy[i] * quotient<F>(z[rows[r] * size + at], z[partner[r] * size + at]);
    })
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_delta_f32(const float* __restrict__ z, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start, float* y,
                         int m, int c, int width, int len, int f) {
    WITH_CURVE(f, each_cell((long long)width * m, c, [=](long long row, int channel) {
        const int w = (int)((unsigned)row / (unsigned)m), lane = (int)((unsigned)row % (unsigned)m), p = start[lane] + w;
        const long long at = ((long long)rows[lane] * len + p) * c + channel;
        y[row * c + channel] = p < 0 || p >= len ? 0.0f : F::difference(z[at], d[row * c + channel]);
    }))
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_fwd_bf16(const float* __restrict__ x, bf16* __restrict__ y, long long rows, int c, int f) {
    value_rows(x, y, rows, c, f);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_delta_bf16(const float* __restrict__ z, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
                          bf16* __restrict__ y, int m, int c, int width, int len, int f) {
    difference_rows(z, d, rows, start, y, m, c, width, len, f);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_fwd_f16(const float* __restrict__ x, f16* __restrict__ y, long long rows, int c, int f) {
    value_rows(x, y, rows, c, f);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    activation_delta_f16(const float* __restrict__ z, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
                          f16* __restrict__ y, int m, int c, int width, int len, int f) {
    difference_rows(z, d, rows, start, y, m, c, width, len, f);
}
