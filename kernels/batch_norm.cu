// batch_norm.cu: batch norm over channels and the activation behind it; statistics, value, gradients, change under mutation.
// Host side: src/ops/batch_norm/cuda.rs
// Maths:     z = (x - centre) scale + shift, y = f(z); dz = dy f'(z); dx = scale dz, in training + (x - centre) line[0] + line[1];
//            change f(z + scale d) - f(z); the mean is centre + rest, inverse = 1 / sqrt(variance + eps), scale = gamma inverse
// Layout:    x, y [rows, C]; dy, dx [R, l, C] with tape row rows[r] (null: the same); windows [width, M, C], x [N, len, C];
//            table [5, C] = centre, scale, shift, rest, inverse; line [2, C]; partial [blocks, 2, C] in f64
// Entries:   batch_norm_constants_f32, batch_norm_stats_finish_f32, batch_norm_sums_finish_f32: grid ceil(C / 32)
//            batch_norm_stats_f32, batch_norm_sums_f32: grid ceil(rows / per), column tiles
//            batch_norm_fwd_<type>, batch_norm_bwd_f32, batch_norm_delta_<type>: grid any, column tiles; f32, or bf16 and f16,
//            which are operands of products, rounded to the nearest, in padded rows (operand.cuh)
//            all: block 256; a block has 2^log columns of threads, each 4 channels (1 if C is no multiple of 4; 8 where the result
//            is of 16 bits), the rest are rows
// Limits:    any sizes below 2^31, any alignment
// Order:     a thread adds 8 rows (statistics) or 4 (sums) in f32, those in f64 row by row, then threads by halves, then blocks in
//            eight strands: it depends on the number of rows and on C alone. Statistics are sums around the first row
// Measured:  not on a GPU yet
#include "groups.cuh"
#include "math.cuh"
#include "operand.cuh"

namespace {

constexpr int THREADS = 256;

// Where a thread works: its first channel and its place among the threads of that channel.
template <int V> struct Tile {
    int channel, row, lanes;
    bool inside;

    __device__ __forceinline__ Tile(int c, int log) {
        channel = (int)((blockIdx.y << log) + (threadIdx.x & ((1u << log) - 1))) * V;
        row = (int)(threadIdx.x >> log);
        lanes = THREADS >> log;
        inside = channel < c;
    }
};

// Channels channel .. of a row of c; groups of 8 are zero from c on.
template <int V> __device__ __forceinline__ void read(const float* row, int channel, int c, bool aligned, float (&v)[V]) {
    if constexpr (V == 8) load_eight(row, channel, c, aligned, v); else load_group(row + channel, aligned, v);
}
template <typename T, int V> __device__ __forceinline__ void write(T* row, int channel, int c, bool aligned, const float (&v)[V]) {
    if constexpr (V == 8) store_eight(row, channel, c, aligned, v); else store_group(row + channel, aligned, v);
}

template <int V> struct Constants {
    float centre[V], scale[V], shift[V];

    __device__ __forceinline__ Constants(const float* table, int c, int channel) {
        const bool aligned = V < 8 || c % 4 == 0;
        read(table, channel, c, aligned, centre);
        read(table + c, channel, c, aligned, scale);
        read(table + 2 * c, channel, c, aligned, shift);
    }
    __device__ __forceinline__ float normalised(float x, int e) const { return fmaf(x - centre[e], scale[e], shift[e]); }
};

// Calls f(group) with groups of 4 channels if C is a multiple of 4; of 8 for a result of 16 bits, where the last may be a part.
template <typename T = float, typename F> __device__ __forceinline__ void by_channels(int c, F f) {
    if constexpr (sizeof(T) == 2) f(Group<8>{}); else if (c % 4 == 0) f(Group<4>{}); else f(Group<1>{});
}

// Row of the tape behind position `at` of the sweep.
__device__ __forceinline__ long long tape_row(const int* rows, int l, long long at) {
    if (!rows) return at;
    const int r = (int)((unsigned)at / (unsigned)l);
    return (long long)rows[r] * l + ((int)at - r * l);
}

// Adds the two sums of all threads of a channel, which halve their number again and again; writes partial[blockIdx.x].
template <int V> __device__ __forceinline__ void add_lanes(const Tile<V>& t, int log, int c, double (&a)[V], double (&b)[V], double* partial) {
    SHARED(double, sums, THREADS * 2 * V);
#pragma unroll
    for (int e = 0; e < V; e++) {
        sums[2 * e * THREADS + threadIdx.x] = a[e];
        sums[(2 * e + 1) * THREADS + threadIdx.x] = b[e];
    }
    for (int half = t.lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t.row < half) {
#pragma unroll
            for (int k = 0; k < 2 * V; k++) sums[k * THREADS + threadIdx.x] += sums[k * THREADS + threadIdx.x + (half << log)];
        }
    }
    if (t.row == 0 && t.inside) {
#pragma unroll
        for (int e = 0; e < V; e++) {
            partial[((long long)blockIdx.x * 2) * c + t.channel + e] = sums[2 * e * THREADS + threadIdx.x];
            partial[((long long)blockIdx.x * 2 + 1) * c + t.channel + e] = sums[(2 * e + 1) * THREADS + threadIdx.x];
        }
    }
}

struct Totals {
    double plain, products;
    int channel;
    bool writes;
};

// The two sums over all blocks of the channel of this thread; one of eight threads writes.
__device__ __forceinline__ Totals add_blocks(const double* partial, int blocks, int c) {
    SHARED(double, strands, 2 * THREADS);
    const int lane = lane_index(), strand = warp_index(), channel = (int)blockIdx.x * 32 + lane;
    double plain = 0.0, products = 0.0;
    if (channel < c) {
#pragma unroll 4
        for (int b = strand; b < blocks; b += THREADS / 32) {
            plain += partial[((long long)b * 2) * c + channel];
            products += partial[((long long)b * 2 + 1) * c + channel];
        }
    }
    strands[threadIdx.x] = plain;
    strands[THREADS + threadIdx.x] = products;
    __syncthreads();
    for (int s = 1; s < THREADS / 32 && strand == 0; s++) {
        plain += strands[s * 32 + lane];
        products += strands[THREADS + s * 32 + lane];
    }
    return {plain, products, channel, strand == 0 && channel < c};
}

__device__ __forceinline__ void write_table(float* table, int c, int j, double mean, double variance, float gamma, float beta, double eps) {
    const double inverse = 1.0 / sqrt(variance + eps), scale = (double)gamma * inverse;
    const float centre = (float)mean;
    const double rest = mean - (double)centre;
    table[j] = centre;
    table[c + j] = (float)scale;
    table[2 * c + j] = (float)((double)beta - rest * scale);
    table[3 * c + j] = (float)rest;
    table[4 * c + j] = (float)inverse;
}

template <typename T>
__device__ __forceinline__ void value_rows(const float* __restrict__ x, const float* __restrict__ table, T* __restrict__ y, long long rows, int c, int log, int f) {
    by_channels<T>(c, [=](auto group) {
        constexpr int V = decltype(group)::size, RUN = 4;
        const Tile<V> t(c, log);
        if (!t.inside) return;
        const bool aligned = aligned16(x, y) && (V < 8 || c % 4 == 0);
        const int pitch = row_pitch<T>(c);
        const Constants<V> k(table, c, t.channel);
        const long long step = (long long)gridDim.x * RUN * t.lanes;
        const auto sweep = [&](auto curve) {
            using F = decltype(curve);
            for (long long r = (long long)blockIdx.x * RUN * t.lanes + t.row; r < rows; r += step) {
                float v[RUN][V];
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    if (r + u * t.lanes < rows) read(x + (r + u * t.lanes) * c, t.channel, c, aligned, v[u]);
                }
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    if (r + u * t.lanes < rows) {
#pragma unroll
                        for (int e = 0; e < V; e++) v[u][e] = F::value(k.normalised(v[u][e], e));
                        write(y + (r + u * t.lanes) * pitch, t.channel, c, aligned, v[u]);
                    }
                }
            }
        };
        WITH_CURVE(f, sweep(F{}))
    });
}

template <typename T>
__device__ __forceinline__ void difference_rows(
    const float* __restrict__ x, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
    const float* __restrict__ table, T* __restrict__ y, int m, int c, int width, int len, int log, int f) {
    by_channels<T>(c, [=](auto group) {
        constexpr int V = decltype(group)::size, RUN = 2;
        const Tile<V> t(c, log);
        if (!t.inside) return;
        const bool aligned = aligned16(x, d, y) && (V < 8 || c % 4 == 0);
        const int pitch = row_pitch<T>(c);
        const Constants<V> k(table, c, t.channel);
        const long long count = (long long)width * m, step = (long long)gridDim.x * RUN * t.lanes;
        const auto sweep = [&](auto curve) {
            using F = decltype(curve);
            for (long long r = (long long)blockIdx.x * RUN * t.lanes + t.row; r < count; r += step) {
                float v[RUN][V] = {}, change[RUN][V] = {};
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const long long at = r + u * t.lanes;
                    if (at < count) {
                        const int lane = (int)((unsigned)at % (unsigned)m), p = start[lane] + (int)((unsigned)at / (unsigned)m);
                        if (within(p, len)) {
                            if (x) read(x + ((long long)rows[lane] * len + p) * c, t.channel, c, aligned, v[u]);
                            read(d + at * c, t.channel, c, aligned, change[u]);
                        }
                    }
                }
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const long long at = r + u * t.lanes;
                    if (at < count) {
#pragma unroll
                        for (int e = 0; e < V; e++) change[u][e] = F::difference(k.normalised(v[u][e], e), k.scale[e] * change[u][e]);
                        write(y + at * pitch, t.channel, c, aligned, change[u]);
                    }
                }
            }
        };
        WITH_CURVE(f, sweep(F{}))
    });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) batch_norm_constants_f32(
    const float* __restrict__ gamma, const float* __restrict__ beta, const float* __restrict__ mean, const float* __restrict__ variance, float* table,
    int c, double eps) {
    const int j = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (j < c) write_table(table, c, j, mean[j], variance[j], gamma[j], beta[j], eps);
}

extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_stats_f32(const float* __restrict__ x, double* partial, long long rows, int c, int log, int per) {
    by_channels(c, [=](auto group) {
        constexpr int V = decltype(group)::size, RUN = 8;
        const Tile<V> t(c, log);
        const bool aligned = aligned16(x);
        const long long last = min(rows, ((long long)blockIdx.x + 1) * per);
        double plain[V] = {}, squares[V] = {};
        float around[V] = {};
        if (t.inside) load_group(x + t.channel, aligned, around);
        for (long long r = (long long)blockIdx.x * per + t.row; t.inside && r < last; r += RUN * t.lanes) {
            float v[RUN][V];
            int n = 0;
#pragma unroll
            for (int u = 0; u < RUN; u++) {
                if (r + u * t.lanes < last) {
                    load_group(x + (r + u * t.lanes) * c + t.channel, aligned, v[u]);
                    n++;
                }
            }
            const float share = 1.0f / (float)n;
#pragma unroll
            for (int e = 0; e < V; e++) {
                float sum = 0.0f, off = 0.0f, square = 0.0f;
#pragma unroll
                for (int u = 1; u < RUN; u++) sum += u < n ? v[u][e] - v[0][e] : 0.0f;
                const float mean = fmaf(sum, share, v[0][e]);
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const float d = u < n ? v[u][e] - mean : 0.0f;
                    off += d;
                    square = fmaf(d, d, square);
                }
                const double by = (double)mean - (double)around[e], all = n * by;
                plain[e] += all + off;
                squares[e] += square + by * (2.0 * off + all);
            }
        }
        add_lanes(t, log, c, plain, squares, partial);
    });
}

// Mean and unbiased variance, and the constants that follow from them.
extern "C" __global__ void __launch_bounds__(256) batch_norm_stats_finish_f32(
    const double* __restrict__ partial, const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta, float* table,
    float* mean, float* unbiased, int blocks, long long rows, int c, double eps) {
    const Totals sums = add_blocks(partial, blocks, c);
    if (!sums.writes) return;
    const double n = (double)rows, off = sums.plain / n, exact = (double)x[sums.channel] + off, squares = sums.products - off * sums.plain;
    const double variance = (squares < 0.0 ? 0.0 : squares) / n;
    mean[sums.channel] = (float)exact;
    unbiased[sums.channel] = (float)(variance * (n / (n - 1.0)));
    write_table(table, c, sums.channel, exact, variance, gamma[sums.channel], beta[sums.channel], eps);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    batch_norm_fwd_f32(const float* __restrict__ x, const float* __restrict__ table, float* __restrict__ y, long long rows, int c, int log, int f) {
    value_rows(x, table, y, rows, c, log, f);
}

extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_fwd_bf16(const float* __restrict__ x, const float* __restrict__ table, bf16* __restrict__ y, long long rows, int c, int log, int f) {
    value_rows(x, table, y, rows, c, log, f);
}

extern "C" __global__ void __launch_bounds__(256, 2)
    batch_norm_fwd_f16(const float* __restrict__ x, const float* __restrict__ table, f16* __restrict__ y, long long rows, int c, int log, int f) {
    value_rows(x, table, y, rows, c, log, f);
}

// Sums of dz and of dz (x - centre); dx = scale dz unless dx is null.
extern "C" __global__ void __launch_bounds__(256, 2) batch_norm_sums_f32(
    const float* __restrict__ x, const float* __restrict__ dy, const int* __restrict__ rows, const float* __restrict__ table, float* __restrict__ dx,
    double* partial, long long count, int l, int c, int log, int per, int f) {
    by_channels(c, [=](auto group) {
        constexpr int V = decltype(group)::size, RUN = 4;
        const Tile<V> t(c, log);
        const bool aligned = aligned16(x, dy, dx);
        const Constants<V> k(table, c, t.inside ? t.channel : 0);
        const long long last = min(count, ((long long)blockIdx.x + 1) * per);
        double plain[V] = {}, products[V] = {};
        const auto sweep = [&](auto curve) {
            using F = decltype(curve);
            for (long long r = (long long)blockIdx.x * per + t.row; t.inside && r < last; r += RUN * t.lanes) {
                float v[RUN][V], g[RUN][V];
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const long long at = r + u * t.lanes;
                    if (at < last) {
                        load_group(x + tape_row(rows, l, at) * c + t.channel, aligned, v[u]);
                        load_group(dy + at * c + t.channel, aligned, g[u]);
                    }
                }
                float a[V] = {}, b[V] = {};
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const long long at = r + u * t.lanes;
                    if (at < last) {
#pragma unroll
                        for (int e = 0; e < V; e++) {
                            const float dz = g[u][e] * F::slope(k.normalised(v[u][e], e));
                            a[e] += dz;
                            b[e] = fmaf(dz, v[u][e] - k.centre[e], b[e]);
                            g[u][e] = k.scale[e] * dz;
                        }
                        if (dx) store_group(dx + at * c + t.channel, aligned, g[u]);
                    }
                }
#pragma unroll
                for (int e = 0; e < V; e++) {
                    plain[e] += a[e];
                    products[e] += b[e];
                }
            }
        };
        WITH_CURVE(f, sweep(F{}))
        add_lanes(t, log, c, plain, products, partial);
    });
}

// Gradients of gamma and beta, and the line that the statistics add to dx; each unless it is null.
extern "C" __global__ void __launch_bounds__(256) batch_norm_sums_finish_f32(
    const double* __restrict__ partial, const float* __restrict__ table, float* dgamma, float* dbeta, float* line, int blocks, long long count, int c) {
    const Totals sums = add_blocks(partial, blocks, c);
    if (!sums.writes) return;
    const int j = sums.channel;
    const double scale = table[c + j], rest = table[3 * c + j], inverse = table[4 * c + j], product = sums.products - rest * sums.plain;
    if (dgamma) dgamma[j] = (float)(inverse * product);
    if (dbeta) dbeta[j] = (float)sums.plain;
    if (line) {
        const double n = (double)count, slope = scale * inverse * inverse * product / n;
        line[j] = (float)-slope;
        line[c + j] = (float)(slope * rest - scale * sums.plain / n);
    }
}

// dx = scale dz + the line, which may be null. x may be null without a line and with f the identity.
extern "C" __global__ void __launch_bounds__(256, 2) batch_norm_bwd_f32(
    const float* __restrict__ x, const float* __restrict__ dy, const int* __restrict__ rows, const float* __restrict__ table,
    const float* __restrict__ line, float* __restrict__ dx, long long count, int l, int c, int log, int f) {
    by_channels(c, [=](auto group) {
        constexpr int V = decltype(group)::size, RUN = 4;
        const Tile<V> t(c, log);
        if (!t.inside) return;
        const bool aligned = aligned16(x, dy, dx);
        const Constants<V> k(table, c, t.channel);
        float slope[V] = {}, shift[V] = {};
        if (line) {
            load(line + t.channel, slope);
            load(line + c + t.channel, shift);
        }
        const long long step = (long long)gridDim.x * RUN * t.lanes;
        const auto sweep = [&](auto curve) {
            using F = decltype(curve);
            for (long long r = (long long)blockIdx.x * RUN * t.lanes + t.row; r < count; r += step) {
                float v[RUN][V] = {}, g[RUN][V];
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const long long at = r + u * t.lanes;
                    if (at < count) {
                        if (x) load_group(x + tape_row(rows, l, at) * c + t.channel, aligned, v[u]);
                        load_group(dy + at * c + t.channel, aligned, g[u]);
                    }
                }
#pragma unroll
                for (int u = 0; u < RUN; u++) {
                    const long long at = r + u * t.lanes;
                    if (at < count) {
#pragma unroll
                        for (int e = 0; e < V; e++) {
                            const float dz = g[u][e] * F::slope(k.normalised(v[u][e], e));
                            g[u][e] = line ? fmaf(k.scale[e], dz, fmaf(v[u][e] - k.centre[e], slope[e], shift[e])) : k.scale[e] * dz;
                        }
                        store_group(dx + at * c + t.channel, aligned, g[u]);
                    }
                }
            }
        };
        WITH_CURVE(f, sweep(F{}))
    });
}

extern "C" __global__ void __launch_bounds__(256, 2) batch_norm_delta_f32(
    const float* __restrict__ x, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
    const float* __restrict__ table, float* __restrict__ y, int m, int c, int width, int len, int log, int f) {
    difference_rows(x, d, rows, start, table, y, m, c, width, len, log, f);
}

extern "C" __global__ void __launch_bounds__(256, 2) batch_norm_delta_bf16(
    const float* __restrict__ x, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
    const float* __restrict__ table, bf16* __restrict__ y, int m, int c, int width, int len, int log, int f) {
    difference_rows(x, d, rows, start, table, y, m, c, width, len, log, f);
}

extern "C" __global__ void __launch_bounds__(256, 2) batch_norm_delta_f16(
    const float* __restrict__ x, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
    const float* __restrict__ table, f16* __restrict__ y, int m, int c, int width, int len, int log, int f) {
    difference_rows(x, d, rows, start, table, y, m, c, width, len, log, f);
}
