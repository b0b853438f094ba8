// operand.cuh: rows of 16-bit operands of products, which are padded with zeros to a multiple of 8 elements; f32 rows are not.
// Host side: Tensor::pitch
//
//   row_pitch<T>(c)                               elements of a row of c in memory
//   load_eight(row, first, c, aligned, v)         elements first .. first + 7 of a row, zero from c on
//   store_eight(row, first, c, aligned, v)        16-bit: one access, zeros from c on; f32: those below c
// `aligned`: c % 4 == 0 and f32 rows begin at multiples of 16 bytes. 16-bit rows always do, and `first` is a multiple of 8.
#pragma once
#include "drg.cuh"

template <typename T> DRG_DEVICE int row_pitch(int c) { return sizeof(T) == 2 ? round_up(c, 8) : c; }

template <typename T> DRG_DEVICE void load_eight(const T* row, int first, int c, bool aligned, float (&v)[8]) {
  if constexpr (sizeof(T) == 2) {
    load(row + first, v);
  } else {
#pragma unroll
    for (int half = 0; half < 8; half += 4) {
      float four[4] = {};
      if (aligned) {
        if (first + half < c) load(row + first + half, four);
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++) four[e] = first + half + e < c ? row[first + half + e] : 0.0f;
      }
#pragma unroll
      for (int e = 0; e < 4; e++) v[half + e] = four[e];
    }
  }
}

template <typename T> DRG_DEVICE void store_eight(T* row, int first, int c, bool aligned, const float (&v)[8]) {
  if constexpr (sizeof(T) == 2) {
    float padded[8];
#pragma unroll
    for (int e = 0; e < 8; e++) padded[e] = first + e < c ? v[e] : 0.0f;
    store(row + first, padded);
  } else {
#pragma unroll
    for (int half = 0; half < 8; half += 4) {
      if (aligned) {
        const float four[4] = {v[half], v[half + 1], v[half + 2], v[half + 3]};
        if (first + half < c) store(row + first + half, four);
      } else {
#pragma unroll
        for (int e = half; e < half + 4; e++) {
          if (first + e < c) row[first + e] = v[e];
        }
      }
    }
  }
}
