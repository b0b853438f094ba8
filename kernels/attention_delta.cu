// attention_delta.cu: the change of an attention when some rows of q, k and v change.
// Host side: src/ops/attention/cuda.rs
// Maths:     src/ops/attention/delta.rs. A query that does not change: do = (sum_J [a expm1(t) v + a e^t dv] - S o) / (1 + S) over the
//            changed keys J; one that does, or whose weights move far: do = sum dp v + sum_J p' dv over all keys. Values and outputs are
//            counted from the mean value and stand multiplied by W, `part` channels a head.
// Layout:    changes [width, M, H d] on the windows `start`; q, k [N, L, H, d], stats [N, L, H, 2]; wv (W v), wo (W o) [N, L, H, part];
//            wdv (W dv) [width, M, H, part]; y [L, M, channels]. Of mutants `first` and on, number blockIdx or i of the launch:
//            slots [., width] window rows that change, in order, count [.] how many; marks [., width] 2: q changes, 1: k or v does;
//            left [., H, 2, width, L]: scores before and their growth by dk, then a expm1(t) and a e^t over 1 + S; rest [., H, L]:
//            -S / (1 + S); again [., L]: whether a query takes the second form, queries [., L] those, number [.] how many
// Entries:   attention_delta_centre_f32     y = v - mean over positions; any grid, block 256
//            attention_delta_marks_f32      marks, slots, count; grid (mutants), block 256
//            attention_delta_scores_<precision>   left from products; grid (tiles of 32 x 128, H, mutants), block 128, shared memory 60 KB
//            attention_delta_settle_f32     the first form's left and rest, again, queries, number; grid (mutants), block 256
//            attention_delta_again_<precision>    the second form: left for changed keys, y for all others; any grid, block 256; scratch of
//                                           16 (H + 1) L a block
//            attention_delta_output_<precision>   y from left, rest, and y; grid (tiles of 128 x 128, joined ? 1 : H, mutants), block 256,
//                                           shared memory 96 KB
// Limits:    width * M * H * max(d, part) and N * L * H * max(d, part) below 2^31 for rows of one tensor, as everywhere; any alignment
// Order:     changed keys in ascending order, products in steps of 16: a mutant's bits depend on its changed rows alone
// Measured:  not on a GPU yet
#include "attention.cuh"
#include "math.cuh"

namespace {

using namespace attention;

constexpr float LARGE_GROWTH = 20.0f;      // from this growth of a score on, the first form is not used: it would overflow
constexpr float SMALL_REST = 1.0f / 16;    // below this rest of the old weights, the first form is not used: it loses as many digits
constexpr int QUERIES = 16;                // of a tile of the second form

// This thread's four elements k to k + 3 of a row of n, zeros behind it and for null.
DRG_DEVICE void piece(const float* __restrict__ row, int k, int n, bool fours, float (&v)[4]) {
  if (row && fours && k < n) {
    load(row + k, v);
  } else {
#pragma unroll
    for (int e = 0; e < 4; e++) v[e] = row && k + e < n ? row[k + e] : 0.0f;
  }
}

// Scores (row, first + j) of 16 rows, `a` those of rows g and g + 8, with the row b(i) of each column: NJ times 8 columns.
template <class P, int NJ, class A, class B> DRG_DEVICE void scores(float (&sum)[1][NJ][4], int k, A a, B b) {
#pragma unroll
  for (int j = 0; j < NJ; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) sum[0][j][e] = 0.0f;
  }
  const int q = lane_index() & 3, g = lane_index() / 4;
#pragma unroll 1
  for (int at = 4 * q; at < k + 4 * q; at += 16) {
    float x[2][4];
    a(g, at, x[0]);
    a(g + 8, at, x[1]);
    const typename P::A left[1] = {P::a(x)};
#pragma unroll
    for (int j = 0; j < NJ; j += 2) {
      typename P::B right[2];
#pragma unroll
      for (int e = 0; e < 2; e++) {
        float v[4];
        b(8 * (j + e) + g, at, v);
        right[e] = P::b(v);
      }
      P::multiply(sum, j, left, right);
    }
  }
}

// Calls f(row, column, sum) for the sums of a warp with 16 rows.
template <int NJ, class F> DRG_DEVICE void each_score(const float (&sum)[1][NJ][4], F f) {
#pragma unroll
  for (int j = 0; j < NJ; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) f(lane_index() / 4 + e / 2 * 8, 8 * j + lane_index() % 4 * 2 + e % 2, sum[0][j][e]);
  }
}

template <class P> DRG_DEVICE void first_scores(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dk, const int* __restrict__ rows,
    const int* __restrict__ start, const int* __restrict__ slots, const int* __restrict__ count, float* __restrict__ left, int first,
    int mutants, int width, int len, int d) {
  using T = gemm::Tile<1, 4, 4>;
  DYNAMIC_SHARED(float, ring);
  const int own = (int)blockIdx.z, m = first + own, n = count[own], head = (int)blockIdx.y, heads = (int)gridDim.y;
  const int across = ceil_div(len, T::BN), row = (int)blockIdx.x / across * T::BM, query = (int)blockIdx.x % across * T::BN;
  if (row >= 2 * n) return;
  const long long pitch = (long long)heads * d, base = (long long)rows[m] * len;
  const float *const queries = q + base * pitch + head * d, *const keys = k + (base + start[m]) * pitch + head * d;
  const float* const growth = dk ? dk + m * pitch + head * d : nullptr;
  const int* const slot = slots + (long long)own * width;
  const bool fours = d % 4 == 0 && aligned16(q, k, dk);
  typename T::Sums sum;
  int at = 0;
  gemm::accumulate<P, T, Major::K, Major::K>(sum, ring, 0, ceil_div(d, SLICE), [&](uint32_t a, uint32_t b) {
    load_rows<T::BM, T::THREADS>(a, at, d, fours, q, [=](int r) -> const float* {
      const int j = row + r;
      if (j < n) return keys + slot[j] * pitch;
      return j < 2 * n && growth ? growth + (long long)slot[j - n] * mutants * pitch : nullptr;
    });
    load_rows<T::BN, T::THREADS>(b, at, d, fours, q, [=](int r) { return query + r < len ? queries + (query + r) * pitch : nullptr; });
    at += SLICE;
  });
  float* const to = left + ((long long)own * heads + head) * 2 * width * len;
  each_sum<T>(sum, [=](int i, int j, float x) {
    const int r = row + i;
    if (r < 2 * n && query + j < len) to[(long long)(r < n ? r : width + r - n) * len + query + j] = x;
  });
}

// From scores (in `s`) and their growth (in `t`) of one query to the change of its weights (in `t`) and its weights after (in `s`). A
// warp.
DRG_DEVICE void change_of_weights(float* s, float* t, int len, float top, float inverse, float factor) {
  const int lane = lane_index();
  float new_top = -INFINITY, most = -INFINITY, gain = 0.0f, new_sum = 0.0f;
  for (int k = lane; k < len; k += 32) {
    new_top = fmaxf(new_top, s[k] + t[k]);
    most = fmaxf(most, t[k] * factor);
    gain = fmaf(expf((s[k] - top) * factor) * inverse, expm1f(at_most(t[k] * factor, LARGE_GROWTH)), gain);
  }
  new_top = warp_max(new_top);
  most = warp_max(most);
  gain = warp_sum(gain);
  for (int k = lane; k < len; k += 32) new_sum += expf((s[k] + t[k] - new_top) * factor);
  new_sum = warp_sum(new_sum);
  // ln(1 + S): from the small sum where it is, from the sums of exponentials where the weights have moved.
  const float total = most <= LARGE_GROWTH && gain > -0.5f
                          ? log1pf(gain)
                          : (float)(log((double)(new_sum * inverse)) + ((double)new_top - top) * factor);
  const float new_inverse = 1.0f / new_sum;
  float others = 0.0f, largest = -1.0f;
  int where = len;
  for (int k = lane; k < len; k += 32) {
    const float a = expf((s[k] - top) * factor) * inverse, b = expf((s[k] + t[k] - new_top) * factor) * new_inverse;
    const float x = t[k] * factor - total, little = a * expm1f(at_least(at_most(x, 1.0f), -1.0f));
    if (a > largest) {
      largest = a;
      where = k;
    }
    t[k] = fabsf(x) < 0.5f ? little : b - a;
    s[k] = b;
  }
  // The changes add up to zero, which gives that of the (first) largest weight.
  const float all = warp_max(largest);
  where = -warp_max(largest == all ? -where : -len);
  for (int k = lane; k < len; k += 32) others += k == where ? 0.0f : t[k];
  others = warp_sum(others);
  if (where < len && lane == where % 32) t[where] = -others;
  __syncwarp();
}

template <class P> DRG_DEVICE void second_form(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dq, const float* __restrict__ dk,
    const float* __restrict__ stats, const float* __restrict__ wv, const int* __restrict__ rows, const int* __restrict__ start,
    const int* __restrict__ slots, const int* __restrict__ count, const int* __restrict__ queries, const int* __restrict__ number,
    float* __restrict__ left, float* scratch, float* __restrict__ y, int first, int launched, int mutants, int width, int len, int heads,
    int d, int part, int channels, float factor) {
  const long long pitch = (long long)heads * d;
  const int tiles = ceil_div(len, QUERIES), lane = lane_index(), warp = warp_index();
  float* const growth = scratch + (long long)blockIdx.x * QUERIES * (heads + 1) * len;   // [16, H, L], in the end the changes of weights
  float* const score = growth + (long long)QUERIES * heads * len;                        // [16, L]
  const bool fours = d % 4 == 0 && aligned16(q, k, dq, dk);
#pragma unroll 1
  for (long long item = blockIdx.x; item < (long long)launched * tiles; item += gridDim.x) {
    const int own = (int)(item % launched), tile = (int)(item / launched) * QUERIES, m = first + own, n = number[own] - tile;
    if (n <= 0) continue;
    const long long base = (long long)rows[m] * len;
    const int* const query = queries + (long long)own * len + tile;
    const int* const slot = slots + (long long)own * width;
    const int keys = count[own], from = start[m];
    // Whether query i has a row in the window: its change is that, or zero where only others change.
    const auto change = [=](int i) -> const float* {
      if (i >= n || !dq) return nullptr;
      const int w = query[i] - from;
      return w >= 0 && w < width ? dq + ((long long)w * mutants + m) * pitch : nullptr;
    };
    const auto old = [=](int i) { return i < n ? q + (base + query[i]) * pitch : nullptr; };
#pragma unroll 1
    for (int head = 0; head < heads; head++) {
      const auto shifted = [=](const float* row) { return row ? row + head * d : nullptr; };
      float* const grown = growth + (long long)head * len;   // rows are heads * len apart
      for (int c = 32 * warp; c < len; c += 256) {
        float sum[1][4][4];
        const auto key = [=](int j, int at, float(&v)[4]) {
          piece(c + j < len ? k + (base + c + j) * pitch + head * d : nullptr, at, d, fours, v);
        };
        scores<P>(sum, d, [=](int i, int at, float(&v)[4]) { piece(shifted(old(i)), at, d, fours, v); }, key);
        each_score(sum, [=](int i, int j, float x) {
          if (c + j < len) score[(long long)i * len + c + j] = x;
        });
        scores<P>(sum, d, [=](int i, int at, float(&v)[4]) { piece(shifted(change(i)), at, d, fours, v); }, key);
        each_score(sum, [=](int i, int j, float x) {
          if (c + j < len) grown[(long long)i * heads * len + c + j] = x;
        });
      }
      __syncthreads();
      // (q + dq) dk for the keys that change.
      for (int c = 16 * warp; dk && c < keys; c += 128) {
        float sum[1][2][4];
        scores<P>(
            sum, d,
            [=](int i, int at, float(&v)[4]) {
              float more[4];
              piece(shifted(old(i)), at, d, fours, v);
              piece(shifted(change(i)), at, d, fours, more);
#pragma unroll
              for (int e = 0; e < 4; e++) v[e] += more[e];
            },
            [=](int j, int at, float(&v)[4]) {
              piece(c + j < keys ? dk + ((long long)slot[c + j] * mutants + m) * pitch + head * d : nullptr, at, d, fours, v);
            });
        each_score(sum, [=](int i, int j, float x) {
          if (c + j < keys) grown[(long long)i * heads * len + from + slot[c + j]] += x;
        });
      }
      __syncthreads();
      for (int i = warp; i < QUERIES; i += 8) {
        float *const s = score + (long long)i * len, *const t = grown + (long long)i * heads * len;
        if (i >= n) {
          for (int l = lane; l < len; l += 32) t[l] = 0.0f;
          continue;
        }
        const float* const saved = stats + ((base + query[i]) * heads + head) * 2;
        change_of_weights(s, t, len, saved[0], 1.0f / saved[1], factor);
        // Changed keys go the way of the first form, which has the changes of their values at hand.
        float* const to = left + (((long long)own * heads + head) * 2 * width) * len + query[i];
        for (int j = lane; j < keys; j += 32) {
          const int l = from + slot[j];
          to[(long long)j * len] = t[l];
          to[(long long)(width + j) * len] = s[l];
          t[l] = 0.0f;
        }
      }
      __syncthreads();   // scores can be written again, and all changes of weights are there
    }
    // Joined: all heads add to the same channels, keys of one head after those of the other. Otherwise head by head.
    const bool joined = part == channels;
    const int columns = joined ? channels : heads * part;
    for (int c = 32 * warp; c < ceil_div(part, 32) * 32 * (joined ? 1 : heads); c += 256) {
      const int wide = ceil_div(part, 32) * 32, head = c / wide, column = c - head * wide;
      float sum[1][4][4];
      const int q4 = 4 * (lane & 3), g = lane / 4, last = joined ? heads : head + 1;
#pragma unroll
      for (int j = 0; j < 4; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) sum[0][j][e] = 0.0f;
      }
#pragma unroll 1
      for (int h = joined ? 0 : head; h < last; h++) {
        const float* const values = wv + (base * heads + h) * part + column;
        const bool weights_fours = len % 4 == 0;
#pragma unroll 1
        for (int l = q4; l < len + q4; l += 16) {
          float x[2][4];
          piece(growth + ((long long)g * heads + h) * len, l, len, weights_fours, x[0]);
          piece(growth + ((long long)(g + 8) * heads + h) * len, l, len, weights_fours, x[1]);
          const typename P::A a[1] = {P::a(x)};
#pragma unroll
          for (int j = 0; j < 4; j += 2) {
            typename P::B b[2];
#pragma unroll
            for (int e = 0; e < 2; e++) {
              float v[4];
              const int at = 8 * (j + e) + g;
#pragma unroll
              for (int r = 0; r < 4; r++) v[r] = l + r < len && column + at < part ? values[(long long)(l + r) * heads * part + at] : 0.0f;
              b[e] = P::b(v);
            }
            P::multiply(sum, j, a, b);
          }
        }
      }
      each_score(sum, [=](int i, int j, float x) {
        if (i < n && column + j < part) y[((long long)query[i] * mutants + m) * columns + head * part + column + j] = x;
      });
    }
    __syncthreads();   // the changes of weights have been read
  }
}

template <class P> DRG_DEVICE void output(
    const float* __restrict__ left, const float* __restrict__ rest, const float* __restrict__ wv, const float* __restrict__ wo,
    const float* __restrict__ wdv, const int* __restrict__ rows, const int* __restrict__ start, const int* __restrict__ slots,
    const int* __restrict__ count, const int* __restrict__ again, float* __restrict__ y, int first, int mutants, int width, int len,
    int heads, int part, int channels) {
  using T = gemm::Tile128;
  DYNAMIC_SHARED(float, ring);
  const int own = (int)blockIdx.z, m = first + own, n = count[own];
  const bool joined = part == channels;
  const int head = (int)blockIdx.y, first_head = joined ? 0 : head, last_head = joined ? heads : head + 1;
  const int across = ceil_div(part, T::BN), query = (int)blockIdx.x / across * T::BM, column = (int)blockIdx.x % across * T::BN;
  const long long base = (long long)rows[m] * len, pitch = (long long)heads * part;
  const int* const slot = slots + (long long)own * width;
  const float* const weights = left + (long long)own * heads * 2 * width * len;
  const float *const values = wv + (base + start[m]) * pitch, *const changes = wdv ? wdv + m * pitch : nullptr;
  const bool a_fours = len % 4 == 0 && aligned16(left), b_fours = part % 4 == 0 && aligned16(wv, wdv);
  // k = (head, before or after, changed key)
  const int k = (last_head - first_head) * 2 * n;
  typename T::Sums sum;
  int at = 0;
  gemm::accumulate<P, T, Major::MN, Major::MN>(sum, ring, 0, ceil_div(k, SLICE), [&](uint32_t a, uint32_t b) {
    load_columns<T::BM, T::THREADS, SLICE>(a, at, k, query, len, a_fours, left, [=](int r) {
      const int which = r / n, j = r - which * n;
      return weights + ((long long)(2 * first_head + which) * width + j) * len;
    });
    load_columns<T::BN, T::THREADS, SLICE>(b, at, k, column, part, b_fours, wv, [=](int r) -> const float* {
      const int which = r / n, j = r - which * n;
      const long long h = first_head + which / 2;
      if (which % 2 == 0) return values + slot[j] * pitch + h * part;
      return changes ? changes + (long long)slot[j] * mutants * pitch + h * part : nullptr;
    });
    at += SLICE;
  });
  each_sum<T>(sum, [=](int i, int j, float x) {
    const int p = query + i, c = column + j;
    if (p >= len || c >= part) return;
    float s = 0.0f;
    for (int h = first_head; h < last_head; h++) {
      s = fmaf(rest[((long long)own * heads + h) * len + p], wo[((base + p) * heads + h) * part + c], s);
    }
    float* const to = y + ((long long)p * mutants + m) * channels + first_head * part + c;
    *to = (again[(long long)own * len + p] ? *to : 0.0f) + (s + x);
  });
}

// Adds to `list` the numbers from 0 to n - 1 for which keep(i), in ascending order; how many. A warp.
template <class Keep> DRG_DEVICE int listed(int n, int* __restrict__ list, Keep keep) {
  int found = 0;
  for (int from = 0; from < n; from += 32) {
    const int i = from + lane_index();
    const bool kept = i < n && keep(i);
    const unsigned mask = __ballot_sync(0xffffffffu, kept);
    if (kept) list[found + __popc(mask & ((1u << lane_index()) - 1))] = i;
    found += __popc(mask);
  }
  return found;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) attention_delta_centre_f32(
    const float* __restrict__ v, const float* __restrict__ mean, float* __restrict__ y, long long rows, int len, int c) {
  each_cell(rows, c, [=](long long r, int k) { y[r * c + k] = v[r * c + k] - mean[r / len * c + k]; });
}

extern "C" __global__ void __launch_bounds__(256) attention_delta_marks_f32(
    const float* __restrict__ dq, const float* __restrict__ dk, const float* __restrict__ dv, const int* __restrict__ start,
    int* __restrict__ marks, int* __restrict__ slots, int* __restrict__ count, int first, int mutants, int width, int len, int c,
    int values) {
  const int own = (int)blockIdx.x, m = first + own;
  int* const mark = marks + (long long)own * width;
  for (int w = warp_index(); w < width; w += 8) {
    const int p = start[m] + w;
    const auto changes = [=](const float* __restrict__ x, int size) {
      bool any = false;
      if (x && p >= 0 && p < len) {
        for (int k = lane_index(); k < size; k += 32) any |= x[((long long)w * mutants + m) * size + k] != 0.0f;
      }
      return __any_sync(0xffffffffu, any) != 0;
    };
    const bool queries = changes(dq, c), others = changes(dk, c) | changes(dv, values);
    if (lane_index() == 0) mark[w] = (queries ? 2 : 0) | (others ? 1 : 0);
  }
  __syncthreads();
  if (warp_index() == 0) {
    const int found = listed(width, slots + (long long)own * width, [=](int w) { return mark[w] != 0; });
    if (lane_index() == 0) count[own] = found;
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_delta_settle_f32(
    const float* __restrict__ stats, const int* __restrict__ rows, const int* __restrict__ start, const int* __restrict__ marks,
    const int* __restrict__ count, float* __restrict__ left, float* __restrict__ rest, int* __restrict__ again, int* __restrict__ queries,
    int* __restrict__ number, int first, int width, int len, int heads, float factor) {
  const int own = (int)blockIdx.x, m = first + own, n = count[own];
  const float* const saved = stats + (long long)rows[m] * len * heads * 2;
  const int* const mark = marks + (long long)own * width;
  int* const flags = again + (long long)own * len;
  for (int i = (int)threadIdx.x; i < len; i += 256) {
    const int w = i - start[m];
    bool second = w >= 0 && w < width && (mark[w] & 2);
    for (int head = 0; head < heads && !second; head++) {
      const float top = saved[((long long)i * heads + head) * 2], inverse = 1.0f / saved[((long long)i * heads + head) * 2 + 1];
      const long long at = ((long long)own * heads + head) * 2 * width * len + i;
      float sum = 0.0f, most = -INFINITY;
      for (int j = 0; j < n; j++) {
        float *const above = left + at + (long long)j * len, *const after = above + (long long)width * len;
        const float a = expf((*above - top) * factor) * inverse, t = *after * factor, cut = at_most(t, LARGE_GROWTH);
        *above = a * expm1f(cut);
        *after = a * expf(cut);
        sum += *above;
        most = fmaxf(most, t);
      }
      second = 1.0f + sum < SMALL_REST || most > LARGE_GROWTH;
      const float scale = 1.0f / (1.0f + sum);
      rest[((long long)own * heads + head) * len + i] = -sum * scale;
      for (int j = 0; j < n; j++) {
        left[at + (long long)j * len] *= scale;
        left[at + (long long)(width + j) * len] *= scale;
      }
    }
    flags[i] = second;
    // All of left is written by the second form.
    for (int head = 0; head < heads && second; head++) rest[((long long)own * heads + head) * len + i] = 0.0f;
  }
  __syncthreads();
  if (warp_index() == 0) {
    const int found = listed(len, queries + (long long)own * len, [=](int i) { return flags[i] != 0; });
    if (lane_index() == 0) number[own] = found;
  }
}

extern "C" __global__ void __launch_bounds__(128, 4) attention_delta_scores_f32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dk, const int* __restrict__ rows,
    const int* __restrict__ start, const int* __restrict__ slots, const int* __restrict__ count, float* __restrict__ left, int first,
    int mutants, int width, int len, int d) {
  first_scores<gemm::SplitTf32>(q, k, dk, rows, start, slots, count, left, first, mutants, width, len, d);
}

extern "C" __global__ void __launch_bounds__(128, 4) attention_delta_scores_tf32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dk, const int* __restrict__ rows,
    const int* __restrict__ start, const int* __restrict__ slots, const int* __restrict__ count, float* __restrict__ left, int first,
    int mutants, int width, int len, int d) {
  first_scores<gemm::Tf32>(q, k, dk, rows, start, slots, count, left, first, mutants, width, len, d);
}

extern "C" __global__ void __launch_bounds__(128, 4) attention_delta_scores_bf16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dk, const int* __restrict__ rows,
    const int* __restrict__ start, const int* __restrict__ slots, const int* __restrict__ count, float* __restrict__ left, int first,
    int mutants, int width, int len, int d) {
  first_scores<gemm::Sixteen<bf16>>(q, k, dk, rows, start, slots, count, left, first, mutants, width, len, d);
}

extern "C" __global__ void __launch_bounds__(128, 4) attention_delta_scores_f16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dk, const int* __restrict__ rows,
    const int* __restrict__ start, const int* __restrict__ slots, const int* __restrict__ count, float* __restrict__ left, int first,
    int mutants, int width, int len, int d) {
  first_scores<gemm::Sixteen<f16>>(q, k, dk, rows, start, slots, count, left, first, mutants, width, len, d);
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_delta_again_f32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dq, const float* __restrict__ dk,
    const float* __restrict__ stats, const float* __restrict__ wv, const int* __restrict__ rows, const int* __restrict__ start,
    const int* __restrict__ slots, const int* __restrict__ count, const int* __restrict__ queries, const int* __restrict__ number,
    float* __restrict__ left, float* scratch, float* __restrict__ y, int first, int launched, int mutants, int width, int len, int heads,
    int d, int part, int channels, float factor) {
  second_form<gemm::SplitTf32>(q, k, dq, dk, stats, wv, rows, start, slots, count, queries, number, left, scratch, y, first, launched, mutants,
                         width, len, heads, d, part, channels, factor);
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_delta_again_tf32(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dq, const float* __restrict__ dk,
    const float* __restrict__ stats, const float* __restrict__ wv, const int* __restrict__ rows, const int* __restrict__ start,
    const int* __restrict__ slots, const int* __restrict__ count, const int* __restrict__ queries, const int* __restrict__ number,
    float* __restrict__ left, float* scratch, float* __restrict__ y, int first, int launched, int mutants, int width, int len, int heads,
    int d, int part, int channels, float factor) {
  second_form<gemm::Tf32>(q, k, dq, dk, stats, wv, rows, start, slots, count, queries, number, left, scratch, y, first, launched, mutants,
                         width, len, heads, d, part, channels, factor);
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_delta_again_bf16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dq, const float* __restrict__ dk,
    const float* __restrict__ stats, const float* __restrict__ wv, const int* __restrict__ rows, const int* __restrict__ start,
    const int* __restrict__ slots, const int* __restrict__ count, const int* __restrict__ queries, const int* __restrict__ number,
    float* __restrict__ left, float* scratch, float* __restrict__ y, int first, int launched, int mutants, int width, int len, int heads,
    int d, int part, int channels, float factor) {
  second_form<gemm::Sixteen<bf16>>(q, k, dq, dk, stats, wv, rows, start, slots, count, queries, number, left, scratch, y, first, launched, mutants,
                         width, len, heads, d, part, channels, factor);
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_delta_again_f16(
    const float* __restrict__ q, const float* __restrict__ k, const float* __restrict__ dq, const float* __restrict__ dk,
    const float* __restrict__ stats, const float* __restrict__ wv, const int* __restrict__ rows, const int* __restrict__ start,
    const int* __restrict__ slots, const int* __restrict__ count, const int* __restrict__ queries, const int* __restrict__ number,
    float* __restrict__ left, float* scratch, float* __restrict__ y, int first, int launched, int mutants, int width, int len, int heads,
    int d, int part, int channels, float factor) {
  second_form<gemm::Sixteen<f16>>(q, k, dq, dk, stats, wv, rows, start, slots, count, queries, number, left, scratch, y, first, launched, mutants,
                         width, len, heads, d, part, channels, factor);
}

extern "C" __global__ void __launch_bounds__(256, 2) attention_delta_output_f32(
    const float* __restrict__ left, const float* __restrict__ rest, const float* __restrict__ wv, const float* __restrict__ wo,
    const float* __restrict__ wdv, const int* __restrict__ rows, const int* __restrict__ start, const int* __restrict__ slots,
    const int* __restrict__ count, const int* __restrict__ again, float* __restrict__ y, int first, int mutants, int width, int len,
    int heads, int part, int channels) {
  output<gemm::SplitTf32>(left, rest, wv, wo, wdv, rows, start, slots, count, again, y, first, mutants, width, len, heads, part, channels);
}

extern "C" __global__ void __launch_bounds__(256) attention_delta_output_tf32(
    const float* __restrict__ left, const float* __restrict__ rest, const float* __restrict__ wv, const float* __restrict__ wo,
    const float* __restrict__ wdv, const int* __restrict__ rows, const int* __restrict__ start, const int* __restrict__ slots,
    const int* __restrict__ count, const int* __restrict__ again, float* __restrict__ y, int first, int mutants, int width, int len,
    int heads, int part, int channels) {
  output<gemm::Tf32>(left, rest, wv, wo, wdv, rows, start, slots, count, again, y, first, mutants, width, len, heads, part, channels);
}

extern "C" __global__ void __launch_bounds__(256) attention_delta_output_bf16(
    const float* __restrict__ left, const float* __restrict__ rest, const float* __restrict__ wv, const float* __restrict__ wo,
    const float* __restrict__ wdv, const int* __restrict__ rows, const int* __restrict__ start, const int* __restrict__ slots,
    const int* __restrict__ count, const int* __restrict__ again, float* __restrict__ y, int first, int mutants, int width, int len,
    int heads, int part, int channels) {
  output<gemm::Sixteen<bf16>>(left, rest, wv, wo, wdv, rows, start, slots, count, again, y, first, mutants, width, len, heads, part, channels);
}

extern "C" __global__ void __launch_bounds__(256) attention_delta_output_f16(
    const float* __restrict__ left, const float* __restrict__ rest, const float* __restrict__ wv, const float* __restrict__ wo,
    const float* __restrict__ wdv, const int* __restrict__ rows, const int* __restrict__ start, const int* __restrict__ slots,
    const int* __restrict__ count, const int* __restrict__ again, float* __restrict__ y, int first, int mutants, int width, int len,
    int heads, int part, int channels) {
  output<gemm::Sixteen<f16>>(left, rest, wv, wo, wdv, rows, start, slots, count, again, y, first, mutants, width, len, heads, part, channels);
}
