// math.cuh: activation functions, one element each: value, slope and difference without cancellation.
// Twin of src/util/math/{float,curve}.rs, in f32: formulas and branches are the same, exponentials are CUDA's own (at most 2 units
// in the last place). No fast-math. NaN passes through every function.
#pragma once
#include "drg.cuh"

// max(x, low) and min(x, high) that hand NaN on, which fmaxf and fminf do not.
static __device__ __forceinline__ float at_least(float x, float low) { return x < low ? low : x; }
static __device__ __forceinline__ float at_most(float x, float high) { return x > high ? high : x; }

// From here on the upper tail of the normal distribution is 0 in f32.
#define DRG_TAIL_END 13.3f
// Below this change GELU's difference takes its Taylor series.
#define DRG_TAYLOR_CUT 0.05f

// 1 / (1 + e^-x) and its complement, each with small relative error.
struct Sigmoids {
    float s, r;
};
static __device__ __forceinline__ Sigmoids sigmoids(float x) {
    const float e = expf(-fabsf(x)), large = 1.0f / (1.0f + e), small = e * large;
    return {x < 0.0f ? small : large, x < 0.0f ? large : small};
}

// For a >= 0: the upper tail q = 1 - Phi(a) of the normal distribution, and e = exp(-a^2 / 2).
struct Tail {
    float q, e;
};
static __device__ __forceinline__ Tail normal_tail(float a) {
    const float b = at_most(a, DRG_TAIL_END);
    return {0.5f * erfcf(b * 0.70710678118654752f), expf(-0.5f * b * b)};
}

// max(z + d, 0) - max(z, 0).
static __device__ __forceinline__ float relu_difference(float z, float d) { return at_least(d + at_most(z, 0.0f), -at_least(z, 0.0f)); }
// min(z + d, high) - min(z, high).
static __device__ __forceinline__ float ceiling_difference(float z, float d, float high) {
    const float held = at_most(z, high);
    return at_most(d + (z - held), high - held);
}
static __device__ __forceinline__ float clamp_difference(float z, float d, float low, float high) {
    const float held = at_most(at_least(z, low), high);
    return at_most(at_least(d + (z - held), low - held), high - held);
}
// 1 up to and including `high`, then 0.
static __device__ __forceinline__ float below(float x, float high) { return x > high ? 0.0f : 1.0f; }

struct Relu {
    static __device__ __forceinline__ float value(float x) { return at_least(x, 0.0f); }
    static __device__ __forceinline__ float slope(float x) { return x <= 0.0f ? 0.0f : 1.0f; }
    static __device__ __forceinline__ float difference(float z, float d) { return relu_difference(z, d); }
};

struct ReluNonZero {
    static __device__ __forceinline__ float value(float x) { return at_least(x, 0.0f) + 0.01f; }
    static __device__ __forceinline__ float slope(float x) { return Relu::slope(x); }
    static __device__ __forceinline__ float difference(float z, float d) { return relu_difference(z, d); }
};

// x Phi(x) = max(x, 0) - g(|x|) with g(a) = a (1 - Phi(a)) of at most 0.17: neither loses digits where x is large.
struct Gelu {
    static __device__ __forceinline__ float value(float x) {
        const float a = fabsf(x);
        return fmaf(-at_most(a, DRG_TAIL_END), normal_tail(a).q, at_least(x, 0.0f));
    }
    static __device__ __forceinline__ float slope(float x) {
        const float a = fabsf(x);
        const Tail t = normal_tail(a);
        const float g = fmaf(at_most(a, DRG_TAIL_END) * -0.3989422804014327f, t.e, t.q);
        return x > 0.0f ? 1.0f - g : g;
    }
    static __device__ __forceinline__ float difference(float z, float d) {
        const float a = at_most(fabsf(z), DRG_TAIL_END);
        const Tail t = normal_tail(a);
        if (fabsf(d) * at_least(0.5f * a, 1.0f) < DRG_TAYLOR_CUT) {
            // Four terms: f' = Phi + z phi, f'' = phi (2 - z^2), f''' = phi (z^3 - 4 z), f'''' = phi (-z^4 + 7 z^2 - 4).
            const float y = at_least(at_most(z, DRG_TAIL_END), -DRG_TAIL_END), phi = t.e * 0.3989422804014327f, square = y * y;
            const float cdf = y > 0.0f ? 1.0f - t.q : t.q;
            const float fourth = fmaf(square, 7.0f - square, -4.0f), third = y * (square - 4.0f);
            float curved = fmaf(d * 0.25f, fourth, third);
            curved = fmaf(d * (1.0f / 3.0f), curved, 2.0f - square);
            curved = fmaf(d * 0.5f, curved, y);
            return d * fmaf(phi, curved, cdf);
        }
        const float b = at_most(fabsf(z + d), DRG_TAIL_END);
        return relu_difference(z, d) - fmaf(b, normal_tail(b).q, -(a * t.q));
    }
};

struct Sigmoid {
    static __device__ __forceinline__ float value(float x) { return sigmoids(x).s; }
    static __device__ __forceinline__ float slope(float x) {
        const Sigmoids s = sigmoids(x);
        return s.s * s.r;
    }
    // s(b) - s(a) = r(a) s(b) (1 - e^-d) = s(a) r(b) (e^d - 1); the one whose exponential cannot overflow.
    static __device__ __forceinline__ float difference(float z, float d) {
        const Sigmoids a = sigmoids(z), b = sigmoids(z + d);
        const float m = expm1f(-fabsf(d));
        return d > 0.0f ? -(a.r * b.s * m) : a.s * b.r * m;
    }
};

struct Tanh {
    static __device__ __forceinline__ float value(float x) { return tanhf(x); }
    static __device__ __forceinline__ float slope(float x) {
        const Sigmoids s = sigmoids(x + x);
        return 4.0f * s.s * s.r;
    }
    static __device__ __forceinline__ float difference(float z, float d) { return 2.0f * Sigmoid::difference(z + z, d + d); }
};

struct Sin {
    static __device__ __forceinline__ float value(float x) { return sinf(x); }
    static __device__ __forceinline__ float slope(float x) { return cosf(x); }
    // 2 cos(z + d / 2) sin(d / 2), with the cosine of the sum expanded because the sum would be rounded.
    static __device__ __forceinline__ float difference(float z, float d) {
        const float s = sinf(0.5f * d), c = cosf(0.5f * d);
        return 2.0f * s * (cosf(z) * c - sinf(z) * s);
    }
};

struct Identity {
    static __device__ __forceinline__ float value(float x) { return x; }
    static __device__ __forceinline__ float slope(float) { return 1.0f; }
    static __device__ __forceinline__ float difference(float, float d) { return d; }
};

struct Clamp {
    static __device__ __forceinline__ float value(float x) { return at_most(at_least(x, -2056.0f), 2056.0f); }
    static __device__ __forceinline__ float slope(float x) { return below(fabsf(x), 2056.0f); }
    static __device__ __forceinline__ float difference(float z, float d) { return clamp_difference(z, d, -2056.0f, 2056.0f); }
};

// e^(q min(z + d, high)) - e^(q min(z, high)): in factors of the old value, or, where the factor might overflow and nothing cancels,
// as it stands.
static __device__ __forceinline__ float exp_difference(float q, float z, float d, float high) {
    const float y = expf(q * at_most(z, high)), by = q * ceiling_difference(z, d, high);
    return by > 1.0f ? expf(q * at_most(z + d, high)) - y : y * expm1f(by);
}

struct Exp {
    static __device__ __forceinline__ float value(float x) { return expf(at_most(x, 22.18070977791825f)); }
    static __device__ __forceinline__ float slope(float x) { return below(x, 22.18070977791825f) * value(x); }
    static __device__ __forceinline__ float difference(float z, float d) {
        return exp_difference(1.0f, z, d, 22.18070977791825f);
    }
};

struct ExpMax {
    static __device__ __forceinline__ float value(float x) { return expf(at_most(x, 4.852030263919617f)); }
    static __device__ __forceinline__ float slope(float x) { return below(x, 4.852030263919617f) * value(x); }
    static __device__ __forceinline__ float difference(float z, float d) {
        return exp_difference(1.0f, z, d, 4.852030263919617f);
    }
};

struct Squared {
    static __device__ __forceinline__ float value(float x) {
        const float a = at_most(x, 11.313708498984761f);
        return a * a;
    }
    static __device__ __forceinline__ float slope(float x) { return below(x, 11.313708498984761f) * (x + x); }
    static __device__ __forceinline__ float difference(float z, float d) {
        const float high = 11.313708498984761f, a = at_most(z, high), e = ceiling_difference(z, d, high);
        return e * (a + a + e);
    }
};

struct Third {
    static __device__ __forceinline__ float value(float x) {
        const float a = at_most(x, 5.039684199579493f);
        return a * a * a;
    }
    static __device__ __forceinline__ float slope(float x) { return below(x, 5.039684199579493f) * (3.0f * x * x); }
    static __device__ __forceinline__ float difference(float z, float d) {
        const float high = 5.039684199579493f, a = at_most(z, high), e = ceiling_difference(z, d, high), b = a + e;
        return e * fmaf(b, a + b, a * a);
    }
};

struct ClampedRelu {
    static __device__ __forceinline__ float value(float x) { return at_most(at_least(x, 0.0f), 2056.0f); }
    static __device__ __forceinline__ float slope(float x) { return Relu::slope(x) * below(x, 2056.0f); }
    static __device__ __forceinline__ float difference(float z, float d) { return clamp_difference(z, d, 0.0f, 2056.0f); }
};

struct ClampedGelu {
    static __device__ __forceinline__ float value(float x) { return Gelu::value(at_most(x, 2056.0f)); }
    static __device__ __forceinline__ float slope(float x) { return Gelu::slope(x) * below(x, 2056.0f); }
    static __device__ __forceinline__ float difference(float z, float d) {
        return Gelu::difference(at_most(z, 2056.0f), ceiling_difference(z, d, 2056.0f));
    }
};

struct Silu {
    // The bound keeps -infinity away from a product with 0.
    static __device__ __forceinline__ float value(float x) { return at_least(x, -104.0f) * sigmoids(x).s; }
    static __device__ __forceinline__ float slope(float x) {
        const Sigmoids s = sigmoids(x);
        return s.s * fmaf(at_most(at_least(x, -104.0f), 88.0f), s.r, 1.0f);
    }
    // d s(z + d) + z (s(z + d) - s(z)).
    static __device__ __forceinline__ float difference(float z, float d) {
        return fmaf(d, sigmoids(z + d).s, z * Sigmoid::difference(z, d));
    }
};

// ln(1 + e^-|x|), what softplus adds to ReLU.
static __device__ __forceinline__ float softplus_tail(float x) { return log1pf(expf(-fabsf(x))); }

struct Softplus {
    static __device__ __forceinline__ float value(float x) { return at_least(x, 0.0f) + softplus_tail(x); }
    static __device__ __forceinline__ float slope(float x) { return sigmoids(x).s; }
    // ln(1 + s(z) (e^d - 1)) for small d; else by its two parts, of which neither is large when they cancel.
    static __device__ __forceinline__ float difference(float z, float d) {
        if (fabsf(d) < 1.0f) return log1pf(sigmoids(z).s * expm1f(d));
        return relu_difference(z, d) + (softplus_tail(z + d) - softplus_tail(z));
    }
};

// (f(a) - f(b)) / (a - b), DeepLIFT's multiplier; the slope at a where the two are closer than 1e-6.
template <typename F> static __device__ __forceinline__ float quotient(float a, float b) {
    const float d = a - b;
    return fabsf(d) < 1e-6f ? F::slope(a) : F::difference(b, d) / d;
}

// Runs the statement with F = the curve of number `f`, in the order of `Activation` (src/util/math/activation.rs).
#define WITH_CURVE(f, ...)                                       \
    switch (f) {                                                       \
        case 0: { using F = Relu; __VA_ARGS__; } break;                  \
        case 1: { using F = ReluNonZero; __VA_ARGS__; } break;           \
        case 2: { using F = Gelu; __VA_ARGS__; } break;                  \
        case 3: { using F = Sigmoid; __VA_ARGS__; } break;               \
        case 4: { using F = Tanh; __VA_ARGS__; } break;                  \
        case 5: { using F = Sin; __VA_ARGS__; } break;                   \
        case 6: { using F = Identity; __VA_ARGS__; } break;              \
        case 7: { using F = Clamp; __VA_ARGS__; } break;                 \
        case 8: { using F = Exp; __VA_ARGS__; } break;                   \
        case 9: { using F = ExpMax; __VA_ARGS__; } break;                \
        case 10: { using F = Squared; __VA_ARGS__; } break;              \
        case 11: { using F = Third; __VA_ARGS__; } break;                \
        case 12: { using F = ClampedRelu; __VA_ARGS__; } break;          \
        case 13: { using F = ClampedGelu; __VA_ARGS__; } break;          \
        case 14: { using F = Silu; __VA_ARGS__; } break;                 \
        case 15: { using F = Softplus; __VA_ARGS__; } break;             \
    }
