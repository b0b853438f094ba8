// loss.cu: losses between predictions and targets; their sum and its gradient.
// Host side: src/ops/loss/cuda.rs, which says of what parts a loss is made; the formulas are those of src/ops/loss/formulas.rs
// Maths:     sum = sum over elements of share f(p, t) + factor times the sum over rows, or columns, of F(line); all in f64, rounded once.
//            f (each): 0 none, 1 square, 2 absolute, 3 binary cross entropy, 4 Poisson, 5 Kullback-Leibler, 6 to 8 cross entropy, symmetric, less
//            entropy, 9 Poisson of rates. F (line): 0 none, 1 correlation, 2 cosine, 3 softmax cross entropy, 4 Jensen-Shannon, 5 and 6
//            contrasts of squares and absolutes, 7 multinomial, 8 squared error of the logarithm of the line's total
// Layout:    p, t, g [B, T], g = gradient (null: not wanted); partial = parts of the sum in f64; sums [2, B] in f64
// Entries:   loss_rows_f32     grid ceil(B / 8)  block 256: a warp a row; writes g
//            loss_columns_f32  grid ceil(T / 8)  block 512: 64 threads a column; writes g, or adds to it
//            loss_row_sums_f32, loss_spread_f32: grid as rows; loss_sums_f64: one block of 512; for a loss of the rows' sums
//            loss_finish_f32   one block of 256: y = weight times the parts
//            loss_check_f32    any grid, block 256: the index of the first number outside of 0 to 1
//            loss_bwd_f32      any grid, block 256
// Limits:    B and T below 2^31; any alignment
// Order:     a thread adds in strides of its team, then the team by halves, then blocks: it depends on B and T alone
// Measured:  not on a GPU yet
#include "drg.cuh"

namespace {

constexpr double EPSILON = 1e-8;
constexpr int COLUMN_THREADS = 512, COLUMNS = 8;

// max(x, low) that hands NaN on.
__device__ __forceinline__ double held(double x, double low) { return x < low ? low : x; }

// A value and its derivative with respect to the prediction.
struct Slope {
    double value, slope;
};

__device__ __forceinline__ Slope square(double p, double t) { return {(p - t) * (p - t), 2.0 * (p - t)}; }
__device__ __forceinline__ Slope absolute(double p, double t) {
    const double error = p - t;
    return {fabs(error), error > 0.0 ? 1.0 : error < 0.0 ? -1.0 : error};
}
__device__ __forceinline__ Slope cross_entropy(double p, double t) { return {-t * log(p + EPSILON), -t / (p + EPSILON)}; }
__device__ __forceinline__ Slope symmetric_cross_entropy(double p, double t) {
    const Slope s = cross_entropy(p, t);
    const double l = log(t + EPSILON);
    return {0.5 * (s.value - p * l), 0.5 * (s.slope - l)};
}

__device__ __forceinline__ Slope each(int kind, double p, double t) {
    switch (kind) {
        case 1: return square(p, t);
        case 2: return absolute(p, t);
        case 3: return {(t - 1.0) * held(log1p(-p), -100.0) - t * held(log(p), -100.0), (p - t) / held((1.0 - p) * p, 1e-12)};
        case 4: return {exp(p) - t * p, exp(p) - t};
        case 5: return {(t == 0.0 ? 0.0 : t * log(t)) - t * p, -t};
        case 6: return cross_entropy(p, t);
        case 7: return symmetric_cross_entropy(p, t);
        case 8: {
            const Slope s = symmetric_cross_entropy(p, t);
            return {s.value + 0.33 * t * log(t + EPSILON), s.slope};
        }
        case 9: return {p - t * log(p + EPSILON), 1.0 - t / (p + EPSILON)};
        default: return {0.0, 0.0};
    }
}

// Threads that share a line of n elements: a warp.
struct Warp {
    const float *p_row, *t_row;
    int n;

    __device__ __forceinline__ int first() const { return lane_index(); }
    __device__ __forceinline__ int step() const { return 32; }
    __device__ __forceinline__ double p(int i) const { return p_row[i]; }
    __device__ __forceinline__ double t(int i) const { return t_row[i]; }
    __device__ __forceinline__ double sum(double v) const { return warp_sum(v); }
};

// 64 threads of a block with 8 lines side by side. All threads of the block must call sum.
template <typename S> struct Column {
    const S *p_first, *t_first;
    int n, stride;
    double* scratch;

    __device__ __forceinline__ int first() const { return (int)threadIdx.x / COLUMNS; }
    __device__ __forceinline__ int step() const { return COLUMN_THREADS / COLUMNS; }
    __device__ __forceinline__ double p(int i) const { return p_first[(long long)i * stride]; }
    __device__ __forceinline__ double t(int i) const { return t_first[(long long)i * stride]; }
    __device__ double sum(double v) const {
        __syncthreads();   // an earlier sum has been read
        scratch[threadIdx.x] = v;
        for (int half = COLUMN_THREADS / 2; half >= COLUMNS; half /= 2) {
            __syncthreads();
            if ((int)threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
        }
        __syncthreads();
        return scratch[threadIdx.x % COLUMNS];
    }
};

// A line without a loss of its own.
struct Nothing {
    template <typename Team> __device__ __forceinline__ explicit Nothing(const Team&) {}
    __device__ __forceinline__ double value() const { return 0.0; }
    template <typename Team> __device__ __forceinline__ Slope at(const Team&, int) const { return {0.0, 0.0}; }
};

// 1 - u v / (|u| |v|) of u = p less its centre, v = t less its centre: correlation with the means as centres, cosine with 0.
template <bool CENTRED> struct Cosine {
    double p_centre = 0.0, t_centre = 0.0, p_norm, t_norm, r;
    bool flat;

    template <typename Team> __device__ __forceinline__ explicit Cosine(const Team& team) {
        const double floor = CENTRED ? 1e-16 : 0.0;
        if (CENTRED) {
            // Taken from the first number, so that the mean of a constant line is that constant to the last bit.
            const double p0 = team.n > 0 ? team.p(0) : 0.0, t0 = team.n > 0 ? team.t(0) : 0.0;
            double ps = 0.0, ts = 0.0;
#pragma unroll 4
            for (int i = team.first(); i < team.n; i += team.step()) {
                ps += team.p(i) - p0;
                ts += team.t(i) - t0;
            }
            p_centre = p0 + team.sum(ps) / team.n;
            t_centre = t0 + team.sum(ts) / team.n;
        }
        double uv = 0.0, uu = 0.0, vv = 0.0;
#pragma unroll 4
        for (int i = team.first(); i < team.n; i += team.step()) {
            const double u = team.p(i) - p_centre, v = team.t(i) - t_centre;
            uv += u * v;
            uu += u * u;
            vv += v * v;
        }
        uv = team.sum(uv);
        uu = sqrt(team.sum(uu));
        vv = sqrt(team.sum(vv));
        p_norm = held(uu, floor);
        t_norm = held(vv, floor);
        r = uv / p_norm / t_norm;
        flat = uu < floor;
    }
    __device__ __forceinline__ double value() const { return 1.0 - r; }
    template <typename Team> __device__ __forceinline__ Slope at(const Team& team, int i) const {
        return {0.0, flat ? 0.0 : (r * (team.p(i) - p_centre) / p_norm - (team.t(i) - t_centre) / t_norm) / p_norm};
    }
};

struct Softmax {
    double log_sum, total;

    __device__ __forceinline__ explicit Softmax(const Warp& team) {
        double largest = -INFINITY, sum = 0.0, targets = 0.0;
        for (int i = team.first(); i < team.n; i += 32) largest = fmax(largest, team.p(i));
        largest = warp_max(largest);
        for (int i = team.first(); i < team.n; i += 32) {
            sum += exp(team.p(i) - largest);
            targets += team.t(i);
        }
        log_sum = largest + log(team.sum(sum));
        total = team.sum(targets);
    }
    __device__ __forceinline__ double value() const { return 0.0; }
    __device__ __forceinline__ Slope at(const Warp& team, int i) const {
        return {team.t(i) * (log_sum - team.p(i)), exp(team.p(i) - log_sum) * total - team.t(i)};
    }
};

struct JensenShannon {
    double p_sum, t_sum, along;

    __device__ __forceinline__ explicit JensenShannon(const Warp& team) {
        double ps = 0.0, ts = 0.0, sum = 0.0;
        for (int i = team.first(); i < team.n; i += 32) {
            ps += team.p(i) + EPSILON;
            ts += team.t(i) + EPSILON;
        }
        p_sum = team.sum(ps);
        t_sum = team.sum(ts);
        along = 0.0;
        for (int i = team.first(); i < team.n; i += 32) sum += (team.p(i) + EPSILON) / p_sum * part(team, i).slope;
        along = team.sum(sum);
    }
    // Value, and the slope with respect to the share of p.
    __device__ __forceinline__ Slope part(const Warp& team, int i) const {
        const double p = (team.p(i) + EPSILON) / p_sum, q = (team.t(i) + EPSILON) / t_sum, log_mean = log2(0.5 * (p + q));
        return {0.5 * (p * (log2(p) - log_mean) + q * (log2(q) - log_mean)), 0.5 * (log2(p) - log_mean)};
    }
    __device__ __forceinline__ double value() const { return 0.0; }
    __device__ __forceinline__ Slope at(const Warp& team, int i) const {
        const Slope s = part(team, i);
        return {s.value, (s.slope - along) / p_sum};
    }
};

// The shares of the row's counts.
struct Multinomial {
    double total, counts;

    __device__ __forceinline__ explicit Multinomial(const Warp& team) {
        double ps = 0.0, ts = 0.0;
        for (int i = team.first(); i < team.n; i += 32) {
            ps += team.p(i) + EPSILON;
            ts += team.t(i);
        }
        total = team.sum(ps);
        counts = team.sum(ts);
    }
    __device__ __forceinline__ double value() const { return 0.0; }
    __device__ __forceinline__ Slope at(const Warp& team, int i) const {
        const double p = team.p(i) + EPSILON, t = team.t(i);
        return {-t * log(p / total), counts / total - t / p};
    }
};

// The row's total count.
struct LogCount {
    double error, slope;

    __device__ __forceinline__ explicit LogCount(const Warp& team) {
        double ps = 0.0, ts = 0.0;
        for (int i = team.first(); i < team.n; i += 32) {
            ps += team.p(i);
            ts += team.t(i);
        }
        ps = team.sum(ps);
        error = log1p(ps) - log1p(team.sum(ts));
        slope = 2.0 * error / (1.0 + ps);
    }
    __device__ __forceinline__ double value() const { return error * error; }
    __device__ __forceinline__ Slope at(const Warp&, int) const { return {0.0, slope}; }
};

// The mean over j of f between the errors of i and of j; each pair counts twice in the gradient.
template <bool SQUARE> struct Contrast {
    __device__ __forceinline__ explicit Contrast(const Warp&) {}
    __device__ __forceinline__ double value() const { return 0.0; }
    __device__ __forceinline__ Slope at(const Warp& team, int i) const {
        const double own = team.p(i) - team.t(i), share = 1.0 / team.n;
        Slope sum = {0.0, 0.0};
        for (int j = 0; j < team.n; j++) {
            const double other = team.p(j) - team.t(j);
            const Slope s = SQUARE ? square(own, other) : absolute(own, other);
            sum.value += s.value;
            sum.slope += s.slope;
        }
        return {share * sum.value, 2.0 * share * sum.slope};
    }
};

// Lane i's part of the loss of a row.
template <typename F>
__device__ __forceinline__ double row_loss(const Warp& team, float* g, int kind, double share, double factor, double weight) {
    const F f(team);
    double value = lane_index() == 0 ? factor * f.value() : 0.0;
    for (int i = team.first(); i < team.n; i += 32) {
        const Slope own = each(kind, team.p(i), team.t(i)), line = f.at(team, i);
        value += share * own.value + factor * line.value;
        if (g) g[i] = (float)((share * own.slope + factor * line.slope) * weight);
    }
    return value;
}

// The loss of the columns of a block; the sum is that of thread 0.
template <typename S, typename G, typename F>
__device__ __forceinline__ double column_loss(const S* p, const S* t, G* g, int rows, int columns, double factor, double weight, bool add) {
    SHARED(double, scratch, COLUMN_THREADS);
    const int column = (int)(blockIdx.x * COLUMNS + threadIdx.x % COLUMNS);
    const bool there = column < columns;
    const Column<S> team = {p + (there ? column : 0), t + (there ? column : 0), there ? rows : 0, columns, scratch};
    const F f(team);
    if (g) {
#pragma unroll 2
        for (int i = team.first(); i < team.n; i += team.step()) {
            const double d = factor * f.at(team, i).slope * weight;
            const long long at = (long long)i * columns + column;
            g[at] = (G)(add ? (double)g[at] + d : d);
        }
    }
    return block_sum<COLUMN_THREADS>(there && team.first() == 0 ? factor * f.value() : 0.0);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) loss_rows_f32(
    const float* __restrict__ p, const float* __restrict__ t, float* g, double* partial, int rows, int tracks, int each_kind, double share, int line,
    double factor, double weight) {
    const int row = (int)blockIdx.x * 8 + warp_index();
    double value = 0.0;
    if (row < rows) {
        const long long first = (long long)row * tracks;
        const Warp team = {p + first, t + first, tracks};
        float* const to = g ? g + first : nullptr;
        switch (line) {
            case 1: value = row_loss<Cosine<true>>(team, to, each_kind, share, factor, weight); break;
            case 2: value = row_loss<Cosine<false>>(team, to, each_kind, share, factor, weight); break;
            case 3: value = row_loss<Softmax>(team, to, each_kind, share, factor, weight); break;
            case 4: value = row_loss<JensenShannon>(team, to, each_kind, share, factor, weight); break;
            case 5: value = row_loss<Contrast<true>>(team, to, each_kind, share, factor, weight); break;
            case 6: value = row_loss<Contrast<false>>(team, to, each_kind, share, factor, weight); break;
            case 7: value = row_loss<Multinomial>(team, to, each_kind, share, factor, weight); break;
            case 8: value = row_loss<LogCount>(team, to, each_kind, share, factor, weight); break;
            default: value = row_loss<Nothing>(team, to, each_kind, share, factor, weight);
        }
    }
    value = block_sum<256>(value);
    if (threadIdx.x == 0) partial[blockIdx.x] = value;
}

extern "C" __global__ void __launch_bounds__(512) loss_columns_f32(
    const float* __restrict__ p, const float* __restrict__ t, float* g, double* partial, int rows, int tracks, int line, double factor, double weight,
    int add) {
    const double value = line == 1 ? column_loss<float, float, Cosine<true>>(p, t, g, rows, tracks, factor, weight, add != 0)
                                   : column_loss<float, float, Cosine<false>>(p, t, g, rows, tracks, factor, weight, add != 0);
    if (threadIdx.x == 0) partial[blockIdx.x] = value;
}

// Sums of the rows of p, then of t.
extern "C" __global__ void __launch_bounds__(256)
    loss_row_sums_f32(const float* __restrict__ p, const float* __restrict__ t, double* sums, int rows, int tracks) {
    const int row = (int)blockIdx.x * 8 + warp_index();
    if (row >= rows) return;
    const Warp team = {p + (long long)row * tracks, t + (long long)row * tracks, tracks};
    double ps = 0.0, ts = 0.0;
    for (int i = team.first(); i < tracks; i += 32) {
        ps += team.p(i);
        ts += team.t(i);
    }
    ps = team.sum(ps);
    ts = team.sum(ts);
    if (lane_index() == 0) {
        sums[row] = ps;
        sums[(long long)rows + row] = ts;
    }
}

// Correlation of the rows' sums; gradient with respect to those of p.
extern "C" __global__ void __launch_bounds__(512) loss_sums_f64(const double* __restrict__ sums, double* gradient, double* partial, int rows, double factor) {
    const double value = column_loss<double, double, Cosine<true>>(sums, sums + rows, gradient, rows, 1, factor, 1.0, false);
    if (threadIdx.x == 0) partial[0] = value;
}

extern "C" __global__ void __launch_bounds__(256)
    loss_spread_f32(const double* __restrict__ gradient, float* __restrict__ g, int rows, int tracks, double weight) {
    each_cell(rows, tracks, [=](long long row, int track) { g[row * tracks + track] = (float)(gradient[row] * weight); });
}

extern "C" __global__ void __launch_bounds__(256) loss_finish_f32(const double* __restrict__ partial, float* y, int parts, double weight) {
    double sum = 0.0;
    for (int i = (int)threadIdx.x; i < parts; i += 256) sum += partial[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) y[0] = (float)(sum * weight);
}

// NaN passes. `first` begins with all bits set.
extern "C" __global__ void __launch_bounds__(256) loss_check_f32(const float* __restrict__ x, unsigned* first, unsigned n) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        if (x[i] < 0.0f || x[i] > 1.0f) atomicMin(first, i);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    loss_bwd_f32(const float* __restrict__ g, const float* __restrict__ dy, float* __restrict__ dx, long long n) {
    const float scale = dy[0];
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) dx[i] = scale * g[i];
}
