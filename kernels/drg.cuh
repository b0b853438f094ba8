// drg.cuh: what every kernel includes first: element types, vectors of elements, ways to go over an array.
#pragma once
#include <cstdint>
#ifdef DRG_EMULATE
#include "emulate/emulate.h"
#else
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#ifdef DRG_EMULATE
struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };
#else
using bf16 = __nv_bfloat16;
using f16 = __half;
#endif

// Conversions round to the nearest, ties to even.
template <class T> __device__ __forceinline__ T from_float(float x);
#ifdef DRG_EMULATE
inline float to_float(bf16 x) { return drg::emulate::bf16_to_float(x.bits); }
inline float to_float(f16 x) { return drg::emulate::f16_to_float(x.bits); }
template <> inline bf16 from_float<bf16>(float x) { return {drg::emulate::float_to_bf16(x)}; }
template <> inline f16 from_float<f16>(float x) { return {drg::emulate::float_to_f16(x)}; }
#else
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(f16 x) { return __half2float(x); }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ f16 from_float<f16>(float x) { return __float2half_rn(x); }
#endif
__device__ __forceinline__ float to_float(float x) { return x; }
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }

// N elements that are loaded and stored at once: at most 16 bytes, at an address that they divide.
template <class T, int N> struct alignas(sizeof(T) * N) Pack {
  static_assert(sizeof(T) * N <= 16, "one access moves 16 bytes");
  T v[N];
};

// Whether all of the pointers can be read in pieces of 16 bytes.
template <class... P> __device__ __forceinline__ bool aligned16(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) | ... | uintptr_t{0}) & 15) == 0;
}

// Calls f(row, column) for all cells of `rows` rows of `columns`, in strides of the grid (x only). Neighbouring threads have
// neighbouring columns; there is one division per thread, not one per cell.
template <class F> __device__ __forceinline__ void each_cell(long long rows, int columns, F f) {
  if (columns <= 0) return;
  const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
  const long long row_step = step / columns;
  const int column_step = (int)(step % columns);
  long long row = first / columns;
  int column = (int)(first % columns);
  while (row < rows) {
    f(row, column);
    row += row_step;
    column += column_step;
    if (column >= columns) {
      column -= columns;
      row++;
    }
  }
}
