// attention.cuh: how tiles of matrix products find their operands in tensors of heads, and where sums go; for attention.cu and
// attention_delta.cu. An operand is named by a function from its row to where that row starts; null means zeros.
#pragma once
#include "gemm.cuh"

namespace attention {

using gemm::Major;
using gemm::Operand;
using gemm::SLICE;

// Whether pieces of 4 elements along rows of `length` can be moved at once, rows being `pitch` apart.
DRG_DEVICE bool in_fours(const float* x, int length, long long pitch) { return length % 4 == 0 && pitch % 4 == 0 && aligned16(x); }

// Asks for k to k + 31 (below `end`) of EXTENT rows.
template <int EXTENT, int THREADS, class Row> DRG_DEVICE void load_rows(uint32_t tile, int k, int end, bool fours, const float* any, Row row) {
  // One loop for both sizes of a piece: two would keep more registers busy.
  const int step = fours ? THREADS / (SLICE / 4) : THREADS / SLICE, at = fours ? (int)threadIdx.x % (SLICE / 4) * 4 : (int)threadIdx.x % SLICE;
#pragma unroll 1
  for (int r = fours ? (int)threadIdx.x / (SLICE / 4) : (int)threadIdx.x / SLICE; r < EXTENT; r += step) {
    const float* const from = row(r);
    const bool inside = from && k + at < end;
    const uint32_t to = tile + 4 * Operand<EXTENT, Major::K>::at(r, at);
    if (fours) cp_async<16>(to, inside ? from + k + at : any, inside);
    else cp_async<4>(to, inside ? from + k + at : any, inside);
  }
}

// Asks for rows k to k + COUNT - 1 (below `end`), EXTENT columns from `first` on (below n).
template <int EXTENT, int THREADS, int COUNT, class Row>
DRG_DEVICE void load_columns(uint32_t tile, int k, int end, int first, int n, bool fours, const float* any, Row row) {
  const auto copy = [=](auto size) {
    constexpr int V = decltype(size)::value, PIECES = EXTENT / V;
#pragma unroll 1
    for (int p = (int)threadIdx.x; p < PIECES * COUNT; p += THREADS) {
      const int r = p / PIECES, column = p % PIECES * V;
      const float* const from = k + r < end ? row(k + r) : nullptr;
      const bool inside = from && first + column < n;
      cp_async<4 * V>(tile + 4 * Operand<EXTENT, Major::MN>::at(column, r), inside ? from + first + column : any, inside);
    }
  };
  if (fours) copy(std::integral_constant<int, 4>{}); else copy(std::integral_constant<int, 1>{});
}

// Calls f(row of the tile, column of the tile, sum) for every sum of this thread.
template <class T, class F> DRG_DEVICE void each_sum(const typename T::Sums& sum, F f) {
#pragma unroll
  for (int i = 0; i < T::MI; i++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
#pragma unroll
      for (int j = 0; j < T::NJ; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          f(T::first_row() + 16 * i + 8 * h + lane_index() / 4, T::first_column() + T::COLUMN_STEP * j + lane_index() % 4 * 2 + e,
            sum[i][j][2 * h + e]);
        }
      }
    }
  }
}

}  // namespace attention
