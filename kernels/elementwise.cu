// elementwise.cu: sum, difference, product and quotient of two tensors of one shape; values, gradients, changes under mutation.
// Host side: src/ops/elementwise/cuda.rs
// Maths:     y = a + b, a - b, a b, a / b (op 0 to 3), exp(min(a - b, ln 2048)) (4), (relu(a) + 1e-12) / (relu(b) + 1e-12) (5);
//            product: da = dy b, db = dy a; quotient: da = dy / b, db = -(dy a) / (b b); change x + z, x - z, a z + x b + x z,
//            (x - a / b z) / (b + z), exp_difference (math.cuh) of the changes x of a and z of b
// Layout:    row major; a and b [N, size], dy, da and db [R, size] with tape row rows[r]; windows [width, M, C], a and b [N, len, C]
// Entries:   elementwise_fwd_f32, elementwise_bwd_f32, elementwise_delta_f32: any grid along x, block 256
//            bwd leaves out what is null; delta: a null change is none, each side on a window of its own
// Limits:    rows and channels below 2^31; any alignment; groups of 4 elements behind addresses of multiples of 16 bytes
// Order:     every element alone
// Measured:  not on a GPU yet
#include "groups.cuh"
#include "math.cuh"

namespace {

struct Add {
    static constexpr bool linear = true;
    static __device__ __forceinline__ float value(float a, float b) { return a + b; }
    static __device__ __forceinline__ float difference(float, float, float x, float z) { return x + z; }
    static __device__ __forceinline__ float first(float g, float, float) { return g; }
    static __device__ __forceinline__ float second(float g, float, float) { return g; }
};
struct Subtract {
    static constexpr bool linear = true;
    static __device__ __forceinline__ float value(float a, float b) { return a - b; }
    static __device__ __forceinline__ float difference(float, float, float x, float z) { return x - z; }
    static __device__ __forceinline__ float first(float g, float, float) { return g; }
    static __device__ __forceinline__ float second(float g, float, float) { return -g; }
};
struct Multiply {
    static constexpr bool linear = false;
    static __device__ __forceinline__ float value(float a, float b) { return a * b; }
    static __device__ __forceinline__ float difference(float a, float b, float x, float z) { return a * z + x * b + x * z; }
    static __device__ __forceinline__ float first(float g, float, float b) { return g * b; }
    static __device__ __forceinline__ float second(float g, float a, float) { return g * a; }
};
struct Divide {
    static constexpr bool linear = false;
    static __device__ __forceinline__ float value(float a, float b) { return a / b; }
    static __device__ __forceinline__ float difference(float a, float b, float x, float z) { return (x - a / b * z) / (b + z); }
    static __device__ __forceinline__ float first(float g, float, float b) { return g / b; }
    static __device__ __forceinline__ float second(float g, float a, float b) { return -(g * a) / (b * b); }
};

struct ExpDifference {
    static constexpr bool linear = false;
    static __device__ __forceinline__ float value(float a, float b) { return expf(at_most(a - b, LARGEST)); }
    static __device__ __forceinline__ float difference(float a, float b, float x, float z) {
        return exp_difference(1.0f, a - b, x - z, LARGEST);
    }
    static __device__ __forceinline__ float first(float g, float a, float b) { return a - b <= LARGEST ? g * expf(a - b) : 0.0f; }
    static __device__ __forceinline__ float second(float g, float a, float b) { return -first(g, a, b); }
    static constexpr float LARGEST = 7.6246189861593985f;   // ln 2048
};
struct Fraction {
    static constexpr bool linear = false;
    static constexpr float TINY = 1e-12f;
    static __device__ __forceinline__ float side(float x) { return (x <= 0.0f ? 0.0f : x) + TINY; }
    // relu(x + d) - relu(x)
    static __device__ __forceinline__ float moved(float x, float d) {
        return x > 0.0f ? (x + d > 0.0f ? d : -x) : fmaxf(x + d, 0.0f);
    }
    static __device__ __forceinline__ float value(float a, float b) { return side(a) / side(b); }
    static __device__ __forceinline__ float difference(float a, float b, float x, float z) {
        const float was = side(b), is = side(b + z), ratio = side(a) / was;
        // Where the two ratios are far apart, their difference cancels nothing, and the formula would.
        return is + is < was || was + was < is ? side(a + x) / is - ratio : (moved(a, x) - ratio * moved(b, z)) / is;
    }
    static __device__ __forceinline__ float first(float g, float a, float b) { return a > 0.0f ? g / side(b) : 0.0f; }
    static __device__ __forceinline__ float second(float g, float a, float b) {
        const float v = side(b);
        return b > 0.0f ? -(g * side(a)) / (v * v) : 0.0f;
    }
};

// Calls f(operation of number `op`), in the order of `Binary` (src/ops/elementwise.rs).
template <typename F> __device__ __forceinline__ void with_operation(int op, F f) {
    switch (op) {
        case 0: f(Add{}); break;
        case 1: f(Subtract{}); break;
        case 2: f(Multiply{}); break;
        case 3: f(Divide{}); break;
        case 4: f(ExpDifference{}); break;
        case 5: f(Fraction{}); break;
    }
}

// The change of one side at position p of mutant `lane`; zero outside of its window.
template <int V>
__device__ __forceinline__ void changed(const float* d, const int* start, int width, int m, int c, int lane, int p, int k, float (&v)[V]) {
    const int w = d ? p - start[lane] : 0;
    if (d && within(w, width)) {
        load(d + ((long long)w * m + lane) * c + k, v);
    } else {
#pragma unroll
        for (int e = 0; e < V; e++) v[e] = 0.0f;
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 4)
    elementwise_fwd_f32(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, long long n, int op) {
    with_operation(op, [=](auto operation) {
        using Op = decltype(operation);
        const auto compute = [=](auto group, long long i) {
            float u[decltype(group)::size], v[decltype(group)::size];
            load(a + i, u);
            load(b + i, v);
#pragma unroll
            for (int e = 0; e < decltype(group)::size; e++) u[e] = Op::value(u[e], v[e]);
            store(y + i, u);
        };
        each_group(n, compute, a, b, y);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
    elementwise_bwd_f32(const float* __restrict__ a, const float* __restrict__ b, const float* __restrict__ dy, const int* __restrict__ rows,
                        float* __restrict__ da, float* __restrict__ db, int count, int size, int op) {
    with_operation(op, [=](auto operation) {
        using Op = decltype(operation);
        const auto compute = [=](auto group) {
            constexpr int V = decltype(group)::size;
            each_cell(count, size / V, [=](long long r, int k) {
                const long long to = r * size + (long long)k * V, from = Op::linear ? 0 : (long long)rows[r] * size + (long long)k * V;
                float g[V], u[V] = {}, v[V] = {}, d[V];
                load(dy + to, g);
                if (!Op::linear) {
                    load(a + from, u);
                    load(b + from, v);
                }
                if (da) {
#pragma unroll
                    for (int e = 0; e < V; e++) d[e] = Op::first(g[e], u[e], v[e]);
                    store(da + to, d);
                }
                if (db) {
#pragma unroll
                    for (int e = 0; e < V; e++) d[e] = Op::second(g[e], u[e], v[e]);
                    store(db + to, d);
                }
            });
        };
        in_groups(size, compute, a, b, dy, da, db);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4) elementwise_delta_f32(
    const float* __restrict__ a, const float* __restrict__ b, const int* __restrict__ rows, const float* __restrict__ da,
    const int* __restrict__ da_start, const float* __restrict__ db, const int* __restrict__ db_start, const int* __restrict__ start,
    float* __restrict__ y, int m, int c, int width, int da_width, int db_width, int len, int op) {
    with_operation(op, [=](auto operation) {
        using Op = decltype(operation);
        const auto compute = [=](auto group) {
            constexpr int V = decltype(group)::size;
            each_cell((long long)width * m, c / V, [=](long long r, int k) {
                const int lane = (int)((unsigned)r % (unsigned)m), p = start[lane] + (int)((unsigned)r / (unsigned)m);
                float u[V] = {}, v[V] = {}, x[V] = {}, z[V] = {};
                if (within(p, len)) {
                    changed(da, da_start, da_width, m, c, lane, p, k * V, x);
                    changed(db, db_start, db_width, m, c, lane, p, k * V, z);
                    if (!Op::linear) {
                        const long long from = ((long long)rows[lane] * len + p) * c + k * V;
                        load(a + from, u);
                        load(b + from, v);
                    }
#pragma unroll
                    for (int e = 0; e < V; e++) x[e] = Op::difference(u[e], v[e], x[e], z[e]);
                }
                store(y + r * c + k * V, x);
            });
        };
        in_groups(c, compute, a, b, da, db, y);
    });
}
