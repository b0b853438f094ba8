// optim.cu: steps of the optimisers over all values of a model in one launch.
// Host side: src/nn/optim/cuda.rs; the rules are those of src/nn/optim.rs, bit for bit: every rounding is written out
// Maths:     g += decay w; then the rule
// Layout:    w and what the rule remembers are flat runs [P]. pieces [n, 8]: address of the gradient (0: the tensor rests), offset in the
//            runs, length, flags (1 Nesterov, 2 first step), and 8 scalars in pairs of f32. chunks [blocks, 2]: piece, first element
// Entries:   optim_sgd_f32, optim_momentum_f32, optim_adagrad_f32, optim_adadelta_f32, optim_adam_f32, optim_amsgrad_f32, optim_nadam_f32:
//            a block of 256 a chunk of at most 4096 elements
//            optim_finite_f32: any grid, block 256; sets the flag if a number is not finite
// Limits:    pieces below 2^31 elements; any alignment (tensors lie in the runs without gaps)
// Order:     every element alone
// Measured:  not on a GPU yet
#include "drg.cuh"

namespace {

constexpr float EPSILON = 1e-8f;
constexpr int CHUNK = 4096;

__device__ __forceinline__ float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float add(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float divided(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ float root(float a) { return __fsqrt_rn(a); }

struct Sgd {
    static constexpr int slots = 0;
    static __device__ __forceinline__ void step(float& w, float g, float*, const float* k, int) {
        const float decay = k[0], rate = k[1];
        g = fmaf(w, decay, g);
        w = fmaf(g, rate, w);
    }
};

struct Momentum {
    static constexpr int slots = 1;
    static __device__ __forceinline__ void step(float& w, float g, float* s, const float* k, int flags) {
        const float decay = k[0], rate = k[1], momentum = k[2];
        g = fmaf(w, decay, g);
        s[0] = flags & 2 ? g : add(mul(s[0], momentum), g);
        w = fmaf(flags & 1 ? fmaf(s[0], momentum, g) : s[0], rate, w);
    }
};

struct Adagrad {
    static constexpr int slots = 1;
    static __device__ __forceinline__ void step(float& w, float g, float* s, const float* k, int) {
        const float decay = k[0], rate = k[1];
        g = fmaf(w, decay, g);
        s[0] = fmaf(g, g, s[0]);
        w = add(w, divided(mul(rate, g), add(root(s[0]), EPSILON)));
    }
};

struct Adadelta {
    static constexpr int slots = 2;
    static __device__ __forceinline__ void step(float& w, float g, float* s, const float* k, int) {
        const float decay = k[0], rate = k[1], rho = k[2], fresh = k[3];
        g = fmaf(w, decay, g);
        s[0] = fmaf(mul(fresh, g), g, mul(s[0], rho));
        const float u = mul(divided(root(add(s[1], EPSILON)), root(add(s[0], EPSILON))), g);
        s[1] = fmaf(mul(fresh, u), u, mul(s[1], rho));
        w = fmaf(u, rate, w);
    }
};

// Decays the value and the gradient, and follows both moments.
__device__ __forceinline__ float moments(float w, float& g, float* s, const float* k) {
    const float decay = k[0], shrink = k[2], beta2 = k[3], first = k[4], second = k[5];
    const float shrunk = mul(w, shrink);
    g = fmaf(w, decay, g);
    // As `lerp`: from the nearer end.
    const float from = first < 0.5f ? s[0] : g, part = first < 0.5f ? first : add(first, -1.0f);
    s[0] = fmaf(part, add(g, -s[0]), from);
    s[1] = fmaf(mul(second, g), g, mul(s[1], beta2));
    return shrunk;
}

struct Adam {
    static constexpr int slots = 2;
    static __device__ __forceinline__ void step(float& w, float g, float* s, const float* k, int) {
        const float rate = k[1], correction = k[6], shrunk = moments(w, g, s, k);
        const float below = add(divided(root(s[1]), correction), EPSILON);
        w = add(shrunk, divided(mul(rate, s[0]), below));
    }
};

struct Amsgrad {
    static constexpr int slots = 3;
    static __device__ __forceinline__ void step(float& w, float g, float* s, const float* k, int) {
        const float rate = k[1], correction = k[6], shrunk = moments(w, g, s, k);
        s[2] = s[2] > s[1] ? s[2] : s[1];
        const float below = add(divided(root(s[2]), correction), EPSILON);
        w = add(shrunk, divided(mul(rate, s[0]), below));
    }
};

struct NAdam {
    static constexpr int slots = 2;
    static __device__ __forceinline__ void step(float& w, float g, float* s, const float* k, int) {
        const float rate = k[1], correction = k[6], gradient = k[7], shrunk = moments(w, g, s, k);
        const float below = add(root(divided(s[1], correction)), EPSILON);
        w = add(add(shrunk, divided(mul(gradient, g), below)), divided(mul(rate, s[0]), below));
    }
};

// The block's chunk.
template <typename Rule>
__device__ __forceinline__ void step(const long long* pieces, const int* chunks, float* w, float* a, float* b, float* c) {
    const long long* const piece = pieces + (long long)chunks[2 * blockIdx.x] * 8;
    const float* g = reinterpret_cast<const float*>(piece[0]);
    if (!g) return;
    const int first = chunks[2 * blockIdx.x + 1], n = (int)min(piece[2] - first, (long long)CHUNK), flags = (int)piece[3];
    float k[8];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const Pack<float, 2> pair = bit_cast<Pack<float, 2>>(piece[4 + i]);
        k[2 * i] = pair.v[0];
        k[2 * i + 1] = pair.v[1];
    }
    g += first;
    const long long at = piece[1] + first;
    float* const runs[3] = {a, b, c};
    constexpr int SLOTS = Rule::slots, MOST = SLOTS > 0 ? SLOTS : 1, TOGETHER = 4;
    for (int i = (int)threadIdx.x; i < n; i += TOGETHER * 256) {
        float value[TOGETHER], gradient[TOGETHER], slot[TOGETHER][MOST];
#pragma unroll
        for (int u = 0; u < TOGETHER; u++) {
            const int e = i + u * 256;
            if (e < n) {
                gradient[u] = g[e];
                value[u] = w[at + e];
#pragma unroll
                for (int s = 0; s < SLOTS; s++) slot[u][s] = runs[s][at + e];
            }
        }
#pragma unroll
        for (int u = 0; u < TOGETHER; u++) {
            const int e = i + u * 256;
            if (e < n) {
                Rule::step(value[u], gradient[u], slot[u], k, flags);
                w[at + e] = value[u];
#pragma unroll
                for (int s = 0; s < SLOTS; s++) runs[s][at + e] = slot[u][s];
            }
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 4)
    optim_sgd_f32(const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w) {
    step<Sgd>(pieces, chunks, w, nullptr, nullptr, nullptr);
}

extern "C" __global__ void __launch_bounds__(256, 4)
    optim_momentum_f32(const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w, float* __restrict__ momentum) {
    step<Momentum>(pieces, chunks, w, momentum, nullptr, nullptr);
}

extern "C" __global__ void __launch_bounds__(256, 4)
    optim_adagrad_f32(const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w, float* __restrict__ sum) {
    step<Adagrad>(pieces, chunks, w, sum, nullptr, nullptr);
}

extern "C" __global__ void __launch_bounds__(256, 4) optim_adadelta_f32(
    const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w, float* __restrict__ square, float* __restrict__ moved) {
    step<Adadelta>(pieces, chunks, w, square, moved, nullptr);
}

extern "C" __global__ void __launch_bounds__(256, 4) optim_adam_f32(
    const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w, float* __restrict__ mean, float* __restrict__ square) {
    step<Adam>(pieces, chunks, w, mean, square, nullptr);
}

extern "C" __global__ void __launch_bounds__(256, 4) optim_amsgrad_f32(
    const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w, float* __restrict__ mean, float* __restrict__ square,
    float* __restrict__ largest) {
    step<Amsgrad>(pieces, chunks, w, mean, square, largest);
}

extern "C" __global__ void __launch_bounds__(256, 4) optim_nadam_f32(
    const long long* __restrict__ pieces, const int* __restrict__ chunks, float* __restrict__ w, float* __restrict__ mean, float* __restrict__ square) {
    step<NAdam>(pieces, chunks, w, mean, square, nullptr);
}

extern "C" __global__ void __launch_bounds__(256) optim_finite_f32(const float* __restrict__ x, int* flag, long long n) {
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
    bool found = false;
    for (long long i = first; i < n; i += stride) found |= !(fabsf(x[i]) <= 3.402823466e38f);
    if (found) atomicOr(flag, 1);
}
