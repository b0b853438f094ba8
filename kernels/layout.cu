// layout.cu: moving columns of rows: concatenation, selection of channels, cropping (a sequence is a row then), and their gradients.
// Host side: src/ops/layout/cuda.rs
// Maths:     none: values are copied, or are zero
// Layout:    row major; rows of `width` elements; windows [width, M, C]
// Entries:   layout_copy_f32   y[r, to + k] = x[r, from + k] for k < count, other columns stay
//            layout_widen_f32  y[r, to + k] = x[r, k] for k < count, other columns are zero
//            layout_place_f32  columns to .. to + c of the window `start` of y take the change x of the window `old`; zero where x is
//                              null or has no row, and outside of the sequence
//            layout_cut_u8     y[r, k] = x[r, from + k] for k < count, bytes
//            all: any grid along x, block 256
// Limits:    rows and columns below 2^31; any alignment; groups of 4 elements where widths and addresses are multiples
// Order:     every element is written by one thread
// Measured:  not on a GPU yet
#include "groups.cuh"

extern "C" __global__ void __launch_bounds__(256) layout_copy_f32(
    const float* __restrict__ x, float* __restrict__ y, long long rows, int x_width, int from, int y_width, int to, int count) {
    const auto copy = [=](auto group) {
        constexpr int V = decltype(group)::size;
        each_cell(rows, count / V, [=](long long r, int k) {
            float v[V];
            load(x + r * x_width + from + k * V, v);
            store(y + r * y_width + to + k * V, v);
        });
    };
    in_groups(x_width | from | y_width | to | count, copy, x, y);
}

extern "C" __global__ void __launch_bounds__(256)
    layout_cut_u8(const unsigned char* __restrict__ x, unsigned char* __restrict__ y, long long rows, int x_width, int from, int count) {
    each_cell(rows, count, [=](long long r, int k) { y[r * count + k] = x[r * x_width + from + k]; });
}

extern "C" __global__ void __launch_bounds__(256)
    layout_widen_f32(const float* __restrict__ x, float* __restrict__ y, long long rows, int count, int y_width, int to) {
    const auto copy = [=](auto group) {
        constexpr int V = decltype(group)::size;
        each_cell(rows, y_width / V, [=](long long r, int k) {
            float v[V] = {};
            if (within(k * V - to, count)) load(x + r * count + (k * V - to), v);
            store(y + r * y_width + k * V, v);
        });
    };
    in_groups(count | y_width | to, copy, x, y);
}

extern "C" __global__ void __launch_bounds__(256) layout_place_f32(
    const float* __restrict__ x, const int* __restrict__ old, const int* __restrict__ start, float* __restrict__ y, int m, int c, int x_rows,
    int y_rows, int len, int y_width, int to) {
    const auto copy = [=](auto group) {
        constexpr int V = decltype(group)::size;
        each_cell((long long)y_rows * m, c / V, [=](long long r, int k) {
            const int lane = (int)((unsigned)r % (unsigned)m), p = start[lane] + (int)((unsigned)r / (unsigned)m);
            const int w = x ? p - old[lane] : 0;
            float v[V] = {};
            if (x && within(p, len) && within(w, x_rows)) load(x + ((long long)w * m + lane) * c + k * V, v);
            store(y + r * y_width + to + k * V, v);
        });
    };
    in_groups(c | y_width | to, copy, x, y);
}
