// epilogue.cuh: what follows a product before it is stored; for conv1d.cu, conv1d_half.cu and the files of conv1d_sm90.cu.
//   raw = product + bias;  sum = raw + residual;  normed = f((sum - centre) scale + shift), the batch norm of batch_norm.cu
//   Tail          where these are, f32, rows of n; what is not wanted, and a bias or residual that does not exist, is null
//   Norm<T>       table [5, n] as in batch_norm.cu; normed as f32 or as 16-bit operand, in rows of n rounded up to 8, zeros behind n;
//                 the other is null. f: ReLU, GELU or none by their numbers in math.cuh
//   Plain         no norm
//   Place<V>      V neighbouring columns: which, and what belongs to them. Columns from n on are not stored
//   finish        V columns of one row. The residual is loaded before (residual_of), for several rows at once
//   write_pairs   a tile of mma.sync: row(i) is the row of y of the tile's row i, below 0 if there is none
#pragma once
#include "gemm.cuh"
#include "math.cuh"

namespace gemm {

struct Tail {
  const float *bias, *residual;
  float *raw, *sum;
};

struct Plain {
  static constexpr bool NORM = false;
  __device__ __forceinline__ bool in_pieces() const { return true; }
};

template <typename T> struct Norm {
  static constexpr bool NORM = true;
  const float* table;
  float* y;
  T* operand;
  int f;

  __device__ __forceinline__ bool in_pieces() const { return aligned16(table, y); }
  __device__ __forceinline__ float curve(float x) const { return f == 0 ? Relu::value(x) : f == 2 ? Gelu::value(x) : x; }
};

// V elements of which the first `left` exist, in one access where `wide`.
template <int V> DRG_DEVICE void get(const float* p, int left, bool wide, float (&v)[V]) {
  if (wide) {
    if (left > 0) load(p, v);
  } else {
#pragma unroll
    for (int e = 0; e < V; e++) {
      if (e < left) v[e] = p[e];
    }
  }
}
template <int V> DRG_DEVICE void put(float* p, int left, bool wide, const float (&v)[V]) {
  if (wide) {
    if (left > 0) store(p, v);
  } else {
#pragma unroll
    for (int e = 0; e < V; e++) {
      if (e < left) p[e] = v[e];
    }
  }
}

// Whether rows of n columns are moved in pieces of V.
template <int V, class N> DRG_DEVICE bool in_pieces(const Tail& t, const N& norm, int n) {
  return n % V == 0 && aligned16(t.bias, t.residual, t.raw, t.sum) && norm.in_pieces();
}

// V columns of the residual of one row; zeros if there is none, as in rows that do not exist.
template <int V> DRG_DEVICE void residual_of(const Tail& t, long long row, int n, int column, bool wide, float (&v)[V]) {
#pragma unroll
  for (int e = 0; e < V; e++) v[e] = 0.0f;
  if (t.residual && row >= 0) get(t.residual + row * n + column, n - column, wide, v);
}

template <int V, class N> struct Place {
  int n, column, left;
  bool wide;
  float bias[V] = {}, centre[V] = {}, scale[V] = {}, shift[V] = {};

  __device__ __forceinline__ Place(const Tail& t, const N& norm, int n, int column, bool wide) : n(n), column(column), left(n - column), wide(wide) {
    if (t.bias) get(t.bias + column, left, wide, bias);
    if constexpr (N::NORM) {
      get(norm.table + column, left, wide, centre);
      get(norm.table + n + column, left, wide, scale);
      get(norm.table + 2 * n + column, left, wide, shift);
    }
  }
  __device__ __forceinline__ void finish(const Tail& t, const N& norm, long long row, const float (&residual)[V], float (&v)[V]) const {
    if (row < 0) return;
    const long long at = row * n + column;
#pragma unroll
    for (int e = 0; e < V; e++) v[e] += bias[e];
    if (t.raw) put(t.raw + at, left, wide, v);
    if (t.residual) {
#pragma unroll
      for (int e = 0; e < V; e++) v[e] += residual[e];
    }
    if (t.sum) put(t.sum + at, left, wide, v);
    if constexpr (N::NORM) {
#pragma unroll
      for (int e = 0; e < V; e++) v[e] = e < left ? norm.curve(fmaf(v[e] - centre[e], scale[e], shift[e])) : 0.0f;
      if (norm.y) put(norm.y + at, left, wide, v);
      const int pitch = round_up(n, 8);
      if (norm.operand && column < pitch) store(norm.operand + row * pitch + column, v);
    }
  }
};

template <class T, class N, class Row>
DRG_DEVICE void write_pairs(const typename T::Sums& sum, const Tail& tail, const N& norm, int first, int n, Row row) {
  const int column = first + T::first_column() + lane_index() % 4 * 2;
  const bool wide = in_pieces<2>(tail, norm, n);
  int rows[T::MI][2];
#pragma unroll
  for (int i = 0; i < T::MI; i++) {
#pragma unroll
    for (int h = 0; h < 2; h++) rows[i][h] = row(T::first_row() + 16 * i + 8 * h + lane_index() / 4);
  }
#pragma unroll
  for (int j = 0; j < T::NJ; j++) {
    const Place<2, N> place(tail, norm, n, column + T::COLUMN_STEP * j, wide);
    float residual[T::MI][2][2];
#pragma unroll
    for (int i = 0; i < T::MI; i++) {
#pragma unroll
      for (int h = 0; h < 2; h++) residual_of(tail, rows[i][h], n, place.column, wide, residual[i][h]);
    }
#pragma unroll
    for (int i = 0; i < T::MI; i++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float v[2] = {sum[i][j][2 * h], sum[i][j][2 * h + 1]};
        place.finish(tail, norm, rows[i][h], residual[i][h], v);
      }
    }
  }
}

}  // namespace gemm
