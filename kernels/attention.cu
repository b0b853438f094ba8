// attention.cu: softmax attention over the positions of a sequence; forward (streaming), and what its gradient is made of.
// Host side: src/ops/attention/cuda.rs
// Maths:     o_h = softmax(q_h k_h^T factor) v_h; p = e^((s - top) factor) / sum again from what forward saved, ds = p (dp - sum p dp) factor
// Layout:    q, k [N, L, H, d], v, o [N, L, H, dv], stats [N, L, H, 2] = largest score, sum of exponentials; scores [R, H, queries, L]
// Entries:   attention_fwd<W>_<precision>   W = 64, 192, 576 channels of v a block; grid (query tiles of 64 x pieces of W channels, H, N),
//                                           fwd576_f32 from compute capability 9.0 on; block 256, shared memory 16 KB + 49 KB (W = 64, 192) or + 73 KB
//            attention_nt_<precision>, attention_nn_, attention_tn_   c[m, n] (+)= sum_k a[m, k] b[k, n] for each (row, head); n: as
//                                           written, t: transposed in memory (a [k, m], b [n, k]); grid (tiles of 128 x 128, H, R), block
//                                           256, shared memory 96 KB
//            attention_slopes_f32           scores to p, dp to ds, in place; any grid, block 256: a warp a query
//            attention_join_f32             sum over heads; any grid, block 256
// Limits:    any d, dv, L, H below 2^31 elements a sequence; 16-byte copies where channels are multiples of 4 and addresses of 16
// Order:     keys in tiles of 64, products in steps of 16: a query's bits depend on its sequence alone
// Measured:  not on a GPU yet
#include "attention.cuh"

namespace {

using namespace attention;

constexpr int QUERIES = 64, KEYS = 64, CHUNK = 16;   // of a block, of a tile, of a stage of values

template <class P, int NJ> DRG_DEVICE void forward(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  using S = gemm::Tile<2, 4, 2>;
  using O = gemm::Tile<2, 4, NJ>;
  using Left = Operand<QUERIES, Major::K>;
  using Values = Operand<O::BN, Major::MN>;
  DYNAMIC_SHARED(float, shared);
  float* const weights = shared;   // two slices of 32 keys
  float* const top = weights + QUERIES * KEYS;
  float *const sum = top + QUERIES, *const alpha = sum + QUERIES, *const ring = alpha + QUERIES;
  static_assert(3 * QUERIES * 4 % 128 == 0, "the ring is aligned");
  const int tiles = ceil_div(len, QUERIES), heads = (int)gridDim.y, head = (int)blockIdx.y;
  const int first = (int)blockIdx.x % tiles * QUERIES, channel = (int)blockIdx.x / tiles * O::BN, channels = min(O::BN, dv - channel);
  const long long sequence = (long long)blockIdx.z * len;
  const unsigned pitch = (unsigned)heads * d, v_pitch = (unsigned)heads * dv;
  const float* const queries = q + (sequence * heads + head) * d;
  const float* const keys = k + (sequence * heads + head) * d;
  const float* const values = v + (sequence * heads + head) * dv + channel;
  const uint32_t stage = shared_address(ring);
  const int row = S::first_row() + lane_index() / 4, column = O::first_column() + lane_index() / 4;
  typename O::Sums out;
#pragma unroll
  for (int i = 0; i < O::MI; i++) {
#pragma unroll
    for (int j = 0; j < NJ; j++) {
#pragma unroll
      for (int e = 0; e < 4; e++) out[i][j][e] = 0.0f;
    }
  }
  if (threadIdx.x < QUERIES) {
    top[threadIdx.x] = -INFINITY;
    sum[threadIdx.x] = 0.0f;
  }
#pragma unroll 1
  for (int key = 0; key < len; key += KEYS) {
    typename S::Sums score;
    int at = 0;
    gemm::accumulate<P, S, Major::K, Major::K>(score, ring, 0, ceil_div(d, SLICE), [&](uint32_t a, uint32_t b) {
      load_rows<QUERIES, 256>(a, at, d, d % 4 == 0 && aligned16(q, k), q, [=](int r) { return first + r < len ? queries + (first + r) * pitch : nullptr; });
      load_rows<KEYS, 256>(b, at, d, d % 4 == 0 && aligned16(q, k), q, [=](int r) { return key + r < len ? keys + (key + r) * pitch : nullptr; });
      at += SLICE;
    });
    each_sum<S>(score, [=](int i, int j, float s) {
      weights[j / SLICE * QUERIES * SLICE + Left::at(i, j % SLICE)] = key + j < len ? s : -INFINITY;
    });
    __syncthreads();   // scores are written, and the ring has been read
    const int left = min(KEYS, len - key), chunks = ceil_div(left, CHUNK);
    const auto load_values = [=](int chunk) {
      if (chunk < chunks) {
        load_columns<O::BN, 256, CHUNK>(stage + chunk % 2 * CHUNK * Values::COLUMNS * 4, chunk * CHUNK, left, 0, channels, dv % 4 == 0 && aligned16(v), q,
                                        [=](int r) { return values + (key + r) * v_pitch; });
      }
      cp_async_commit();
    };
    load_values(0);
#pragma unroll 1
    for (int r = 0; r < QUERIES / 8; r++) {
      const int i = warp_index() * (QUERIES / 8) + r;
      float *const x = weights + Left::at(i, lane_index()), *const y = x + QUERIES * SLICE;
      const float before = top[i], after = fmaxf(before, warp_max(fmaxf(*x, *y)));
      *x = expf((*x - after) * factor);
      *y = expf((*y - after) * factor);
      const float grown = warp_sum(*x + *y), shrunk = expf((before - after) * factor);
      if (lane_index() == 0) {
        top[i] = after;
        sum[i] = fmaf(sum[i], shrunk, grown);
        alpha[i] = shrunk;
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < O::MI; i++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float shrunk = alpha[row + 16 * i + 8 * h];
#pragma unroll
        for (int j = 0; j < NJ; j++) {
          out[i][j][2 * h] *= shrunk;
          out[i][j][2 * h + 1] *= shrunk;
        }
      }
    }
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; chunk++) {
      cp_async_wait<0>();
      __syncthreads();   // the stage is there for everybody, and everybody is done with the other one
      load_values(chunk + 1);
      const float* const b = ring + chunk % 2 * CHUNK * Values::COLUMNS;
      typename P::A a[O::MI];
#pragma unroll
      for (int i = 0; i < O::MI; i++) {
        float x[2][4];
        const float* const slice = weights + chunk / 2 * QUERIES * SLICE;
        Left::fragment(slice, row, 16 * i, chunk % 2, x[0]);
        Left::fragment(slice, row, 16 * i + 8, chunk % 2, x[1]);
        a[i] = P::a(x);
      }
#pragma unroll
      for (int j = 0; j < NJ; j += 2) {
        if (O::COLUMN_STEP * j >= channels) continue;
        typename P::B right[2];
#pragma unroll
        for (int e = 0; e < 2; e++) {
          float x[4];
          Values::fragment(b, column, O::COLUMN_STEP * (j + e), 0, x);
          right[e] = P::b(x);
        }
        P::multiply(out, j, a, right);
      }
    }
    __syncthreads();   // the ring can be used for scores
  }
  if (channel == 0 && threadIdx.x < QUERIES && first + (int)threadIdx.x < len) {
    float* const to = stats + ((sequence + first + threadIdx.x) * heads + head) * 2;
    to[0] = top[threadIdx.x];
    to[1] = sum[threadIdx.x];
  }
  float inverse[O::MI][2];
#pragma unroll
  for (int i = 0; i < O::MI; i++) {
#pragma unroll
    for (int h = 0; h < 2; h++) inverse[i][h] = 1.0f / sum[row + 16 * i + 8 * h];
  }
  each_sum<O>(out, [=](int i, int j, float x) {
    const int half = (i - row) / 8;
    if (first + i < len && j < channels) {
      o[((sequence + first + i) * heads + head) * dv + channel + j] = x * inverse[half / 2][half % 2];
    }
  });
}

// c (+)= a b for one (row, head). MA = Major::MN: a [k, m]; MB = Major::K: b [n, k].
template <class P, Major MA, Major MB> DRG_DEVICE void product(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k, long long a_pitch,
    long long b_pitch, long long c_pitch, int add) {
  using T = gemm::Tile128;
  DYNAMIC_SHARED(float, ring);
  const int across = ceil_div(n, T::BN), first_m = (int)blockIdx.x / across * T::BM, first_n = (int)blockIdx.x % across * T::BN;
  const bool a_fours = in_fours(a, MA == Major::K ? k : m, a_pitch), b_fours = in_fours(b, MB == Major::K ? k : n, b_pitch);
  typename T::Sums sum;
  int at = 0;
  gemm::accumulate<P, T, MA, MB>(sum, ring, 0, ceil_div(k, SLICE), [&](uint32_t left, uint32_t right) {
    if constexpr (MA == Major::K) {
      load_rows<T::BM, T::THREADS>(left, at, k, a_fours, a, [=](int r) { return first_m + r < m ? a + (first_m + r) * a_pitch : nullptr; });
    } else {
      load_columns<T::BM, T::THREADS, SLICE>(left, at, k, first_m, m, a_fours, a, [=](int r) { return a + r * a_pitch; });
    }
    if constexpr (MB == Major::K) {
      load_rows<T::BN, T::THREADS>(right, at, k, b_fours, b, [=](int r) { return first_n + r < n ? b + (first_n + r) * b_pitch : nullptr; });
    } else {
      load_columns<T::BN, T::THREADS, SLICE>(right, at, k, first_n, n, b_fours, b, [=](int r) { return b + r * b_pitch; });
    }
    at += SLICE;
  });
  each_sum<T>(sum, [=](int i, int j, float x) {
    if (first_m + i >= m || first_n + j >= n) return;
    float* const to = c + (first_m + i) * c_pitch + first_n + j;
    *to = add ? *to + x : x;
  });
}

DRG_DEVICE long long row_of(const int* __restrict__ rows) { return rows ? rows[blockIdx.z] : (int)blockIdx.z; }

}  // namespace

extern "C" __global__ void __launch_bounds__(256) attention_fwd64_f32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::SplitTf32, 2>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd64_tf32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Tf32, 2>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd64_bf16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Sixteen<bf16>, 2>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd64_f16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Sixteen<f16>, 2>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd192_f32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::SplitTf32, 6>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd192_tf32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Tf32, 6>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd192_bf16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Sixteen<bf16>, 6>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd192_f16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Sixteen<f16>, 6>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd576_f32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
#if defined(DRG_EMULATE) || __CUDA_ARCH__ >= 900
  forward<gemm::SplitTf32, 18>(q, k, v, o, stats, len, d, dv, factor);
#else   // its registers do not suffice: the host takes W = 192 unless kernels for 9.0 run
  __trap();
#endif
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd576_tf32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Tf32, 18>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd576_bf16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Sixteen<bf16>, 18>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256) attention_fwd576_f16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ v, float* __restrict__ o,
    float* __restrict__ stats, int len, int d, int dv, float factor) {
  forward<gemm::Sixteen<f16>, 18>(q, k, v, o, stats, len, d, dv, factor);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nt_f32(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::SplitTf32, Major::K, Major::K>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nt_tf32(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Tf32, Major::K, Major::K>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nt_bf16(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Sixteen<bf16>, Major::K, Major::K>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nt_f16(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Sixteen<f16>, Major::K, Major::K>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nn_f32(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::SplitTf32, Major::K, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nn_tf32(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Tf32, Major::K, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nn_bf16(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Sixteen<bf16>, Major::K, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_nn_f16(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Sixteen<f16>, Major::K, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_tn_f32(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::SplitTf32, Major::MN, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_tn_tf32(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Tf32, Major::MN, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_tn_bf16(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Sixteen<bf16>, Major::MN, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

extern "C" __global__ void __launch_bounds__(256, 1) attention_tn_f16(
    const float* __restrict__ a, const int* __restrict__ a_rows, long long a_row, long long a_head, long long a_pitch,
    const float* __restrict__ b, const int* __restrict__ b_rows, long long b_row, long long b_head, long long b_pitch,
    float* __restrict__ c, long long c_row, long long c_head, long long c_pitch, int m, int n, int k, int add) {
  product<gemm::Sixteen<f16>, Major::MN, Major::MN>(
      a + row_of(a_rows) * a_row + blockIdx.y * a_head, b + row_of(b_rows) * b_row + blockIdx.y * b_head,
      c + blockIdx.z * c_row + blockIdx.y * c_head, m, n, k, a_pitch, b_pitch, c_pitch, add);
}

// scores, slopes [R, H, queries, L] of queries `first` and on; stats [N, L, H, 2] of the tape rows that `rows` names.
extern "C" __global__ void __launch_bounds__(256) attention_slopes_f32(
    float* __restrict__ scores, float* __restrict__ slopes, const float* __restrict__ stats, const int* __restrict__ rows,
    long long count, int heads, int queries, int first, int len, float factor) {
  const long long step = (long long)gridDim.x * blockDim.x / 32;
  for (long long r = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32; r < count; r += step) {
    const int i = (int)(r % queries), head = (int)(r / queries % heads);
    const float* const saved = stats + ((rows[r / queries / heads] * (long long)len + first + i) * heads + head) * 2;
    const float top = saved[0], inverse = 1.0f / saved[1];
    float *const p = scores + r * len, *const s = slopes + r * len;
    float mean = 0.0f;
    for (int k = lane_index(); k < len; k += 32) {
      const float weight = expf((p[k] - top) * factor) * inverse;
      p[k] = weight;
      mean = fmaf(weight, s[k], mean);
    }
    mean = warp_sum(mean);
    for (int k = lane_index(); k < len; k += 32) s[k] = p[k] * (s[k] - mean) * factor;
  }
}

// y [rows, width] = sum over heads of x [rows, heads, width].
extern "C" __global__ void __launch_bounds__(256) attention_join_f32(
    const float* __restrict__ x, float* __restrict__ y, long long rows, int heads, int width) {
  each_cell(rows, width, [=](long long r, int c) {
    float s = x[r * heads * width + c];
    for (int h = 1; h < heads; h++) s += x[(r * heads + h) * width + c];
    y[r * width + c] = s;
  });
}
