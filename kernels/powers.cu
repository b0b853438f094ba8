// powers.cu: learned powers of a value and of its exponential; value, gradients, change under mutation.
// Host side: src/ops/powers/cuda.rs
// Maths:     f(y) = y + a0 y^p0 + a1 E^p1, E = exp(min(y, ln 128)), p = log2(2 + e); dy f'(y); sums of dy times the derivatives by a
//            and e, without what has no logarithm; change f(y + d) - f(y) in factors of the old powers
// Layout:    row major, channels last; a and e [c, 2]; y [N, size], dy and dx [R, size] with tape row rows[r]; windows [width, M, c],
//            y [N, len, c]
// Entries:   powers_fwd_f32, powers_bwd_f32, powers_delta_f32: any grid, block 256
//            powers_bwd_learned_f32: a block of 256 a channel
// Limits:    any size, any alignment
// Order:     every element alone; sums over rows r, r + 256, .. a thread, then over the block in a fixed order
// Measured:  not on a GPU yet
#include "math.cuh"

namespace {

constexpr float LARGEST = 4.852030263919617f;   // ln 128

struct Channel {
    float a0, a1, e0, e1, p0, p1;
    __device__ __forceinline__ Channel(const float* a, const float* e, int j)
        : a0(a[2 * j]), a1(a[2 * j + 1]), e0(e[2 * j]), e1(e[2 * j + 1]), p0(log2f(2.0f + e0)), p1(log2f(2.0f + e1)) {}
    __device__ __forceinline__ float value(float y) const { return y + a0 * powf(y, p0) + a1 * expf(p1 * at_most(y, LARGEST)); }
    __device__ __forceinline__ float slope(float y) const {
        return 1.0f + a0 * p0 * powf(y, p0 - 1.0f) + (y <= LARGEST ? a1 * p1 * expf(p1 * y) : 0.0f);
    }
    __device__ __forceinline__ float difference(float y, float d) const {
        const float is = y + d, grows = p0 * log1pf(d / y);
        // Where the power grows by more than e nothing cancels, and the factor of the old one might overflow.
        const float first = p0 == 1.0f ? d : y > 0.0f && is > 0.0f && grows <= 1.0f ? powf(y, p0) * expm1f(grows) : powf(is, p0) - powf(y, p0);
        return d + a0 * first + a1 * exp_difference(p1, y, d, LARGEST);
    }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(256)
    powers_fwd_f32(const float* __restrict__ x, const float* __restrict__ a, const float* __restrict__ e, float* __restrict__ y, long long n, int c) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) y[i] = Channel(a, e, (int)(i % c)).value(x[i]);
}

extern "C" __global__ void __launch_bounds__(256)
    powers_bwd_f32(const float* __restrict__ x, const float* __restrict__ a, const float* __restrict__ e, const float* __restrict__ dy,
                   const int* __restrict__ rows, float* __restrict__ dx, long long size, long long n, int c) {
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const long long r = i / size, at = i - r * size;
        dx[i] = dy[i] * Channel(a, e, (int)(at % c)).slope(x[rows[r] * size + at]);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    powers_bwd_learned_f32(const float* __restrict__ x, const float* __restrict__ a, const float* __restrict__ e, const float* __restrict__ dy,
                           float* __restrict__ da, float* __restrict__ de, long long rows, int c) {
    const int j = (int)blockIdx.x;
    const Channel k(a, e, j);
    float sum[4] = {};
    for (long long r = threadIdx.x; r < rows; r += 256) {
        const float y = x[r * c + j], g = dy[r * c + j], E = at_most(y, LARGEST);
        const float first = powf(y, k.p0), second = expf(k.p1 * E);
        sum[0] += g * first;
        sum[1] += g * second;
        sum[2] += y > 0.0f ? g * k.a0 * first * logf(y) : 0.0f;
        sum[3] += g * k.a1 * second * E;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sum[i] = block_sum<256>(sum[i]);
    if (threadIdx.x == 0) {
        constexpr float LN2 = 0.6931471805599453f;
        da[2 * j] = sum[0];
        da[2 * j + 1] = sum[1];
        de[2 * j] = sum[2] / ((2.0f + k.e0) * LN2);
        de[2 * j + 1] = sum[3] / ((2.0f + k.e1) * LN2);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    powers_delta_f32(const float* __restrict__ x, const float* __restrict__ a, const float* __restrict__ e, const float* __restrict__ d,
                     const int* __restrict__ rows, const int* __restrict__ start, float* __restrict__ y, int m, int c, int width, int len) {
    each_cell((long long)width * m, c, [=](long long row, int j) {
        const int w = (int)((unsigned)row / (unsigned)m), lane = (int)((unsigned)row % (unsigned)m), p = start[lane] + w;
        const bool inside = p >= 0 && p < len;
        const float old = inside ? x[((long long)rows[lane] * len + p) * c + j] : 0.0f;
        y[row * c + j] = inside ? Channel(a, e, j).difference(old, d[row * c + j]) : 0.0f;
    });
}
