// groups.cuh: neighbouring elements that one thread takes together, 4 where sizes and addresses allow it, else 1.
#pragma once
#include "drg.cuh"

template <int V> struct Group {
    static constexpr int size = V;
};

// V elements; in one access if `aligned`.
template <int V> DRG_DEVICE void load_group(const float* p, bool aligned, float (&v)[V]) {
    if (aligned) {
        load(p, v);
    } else {
#pragma unroll
        for (int e = 0; e < V; e++) v[e] = p[e];
    }
}
template <int V> DRG_DEVICE void store_group(float* p, bool aligned, const float (&v)[V]) {
    if (aligned) {
        store(p, v);
    } else {
#pragma unroll
        for (int e = 0; e < V; e++) p[e] = v[e];
    }
}

// Calls f(group) once, with the widest groups that fill rows of `columns` behind these addresses.
template <typename F, typename... P> DRG_DEVICE void in_groups(long long columns, F f, const P*... pointers) {
    if (columns % 4 == 0 && aligned16(pointers...)) f(Group<4>{}); else f(Group<1>{});
}

// Calls f(group, first element of it) for n elements, in strides of the grid.
template <typename F, typename... P> DRG_DEVICE void each_group(long long n, F f, const P*... pointers) {
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
    const long long fours = aligned16(pointers...) ? n / 4 : 0;
    for (long long i = first; i < fours; i += step) f(Group<4>{}, i * 4);
    for (long long i = fours * 4 + first; i < n; i += step) f(Group<1>{}, i);
}

DRG_DEVICE bool within(int at, int n) { return (unsigned)at < (unsigned)n; }
