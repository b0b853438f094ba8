// rows.cu: moving whole rows of channels: the windows of the delta sweep, and conversions of element types.
// Host side: src/tape/cuda.rs, src/tensor/gpu.rs
// Maths:     none: values are copied, or are zero. Row w of mutant i is position start[i] + w of its sequence; a sequence has
//            positions 0 to len - 1
// Layout:    changes [width, M, C], position by position, mutants side by side; vectors [M, len C]. A row of 16-bit floats is
//            moved as C / 2 words of 32 bits, padding included (operand.cuh)
// Entries:   rows_place_f32          the same change on another window, zero where x has no row or outside of the sequence
//            rows_clear_f32          zero outside of the sequence, in place
//            rows_vector_f32         the change of the whole map of a mutant, zero where x has no row
//            rows_select_f32         the mutants `lanes`, each from 0 to from_m - 1
//            rows_insert_f32         lane lanes[i] of y becomes mutant i of x, row by row at the same positions
//            rows_add_f32            y += x, n elements
//            rows_blend_f32          y = share x + (1 - share) y in f64, rounded once
//            rows_convert_<from>_<to>  rows of c elements, to the nearest, ties to even; 16-bit rows padded (operand.cuh)
//            all: grid of any size along x, block of any size to 256, no dynamic shared memory
// Limits:    width * M, M * len and C below 2^31; any C; C % 4 = 0 and addresses of multiples of 16 bytes are fast
// Order:     every element is written by one thread
// Measured:  not yet
#include "operand.cuh"

namespace {

using Four = Pack<float, 4>;

// Calls f(type of a piece, pieces of a row) with the widest pieces that fit.
template <class F, class... P> __device__ __forceinline__ void in_pieces(int c, F f, const P*... pointers) {
  if (c % 4 == 0 && aligned16(pointers...)) {
    f(Four{}, c / 4);
  } else {
    f(0.0f, c);
  }
}

template <class T> __device__ const T* pieces(const float* x, T) { return reinterpret_cast<const T*>(x); }
template <class T> __device__ T* pieces(float* x, T) { return reinterpret_cast<T*>(x); }

__device__ __forceinline__ bool within(int at, int n) { return (unsigned)at < (unsigned)n; }

// Rows of c elements of type S to type T, 8 at a time.
template <class S, class T> __device__ __forceinline__ void convert(const S* x, T* y, long long rows, int c) {
  const bool aligned = c % 4 == 0 && aligned16(x, y);
  each_cell(rows, ceil_div(c, 8), [=](long long row, int piece) {
    float v[8];
    load_eight(x + row * row_pitch<S>(c), piece * 8, c, aligned, v);
    store_eight(y + row * row_pitch<T>(c), piece * 8, c, aligned, v);
  });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) rows_place_f32(
    const float* __restrict__ x, const int* __restrict__ from, const int* __restrict__ to, float* __restrict__ y, int m, int c,
    int from_width, int to_width, int len) {
  const auto copy = [=](auto piece, int n) {
    each_cell((long long)to_width * m, n, [=](long long r, int k) {
      const int i = (int)((unsigned)r % (unsigned)m), at = to[i] + (int)((unsigned)r / (unsigned)m), w = at - from[i];
      const bool there = within(at, len) && within(w, from_width);
      pieces(y, piece)[r * n + k] = there ? pieces(x, piece)[((long long)w * m + i) * n + k] : decltype(piece){};
    });
  };
  in_pieces(c, copy, x, y);
}

extern "C" __global__ void __launch_bounds__(256) rows_clear_f32(
    float* __restrict__ x, const int* __restrict__ start, int m, int c, int width, int len) {
  const auto clear = [=](auto piece, int n) {
    each_cell((long long)width * m, n, [=](long long r, int k) {
      const int i = (int)((unsigned)r % (unsigned)m), at = start[i] + (int)((unsigned)r / (unsigned)m);
      if (!within(at, len)) pieces(x, piece)[r * n + k] = decltype(piece){};
    });
  };
  in_pieces(c, clear, x);
}

extern "C" __global__ void __launch_bounds__(256) rows_vector_f32(
    const float* __restrict__ x, const int* __restrict__ start, float* __restrict__ y, int m, int c, int width, int len) {
  const auto copy = [=](auto piece, int n) {
    each_cell((long long)m * len, n, [=](long long r, int k) {
      const int i = (int)((unsigned)r / (unsigned)len), w = (int)((unsigned)r % (unsigned)len) - start[i];
      pieces(y, piece)[r * n + k] = within(w, width) ? pieces(x, piece)[((long long)w * m + i) * n + k] : decltype(piece){};
    });
  };
  in_pieces(c, copy, x, y);
}

extern "C" __global__ void __launch_bounds__(256) rows_select_f32(
    const float* __restrict__ x, const int* __restrict__ lanes, float* __restrict__ y, int width, int from_m, int to_m, int c) {
  const auto copy = [=](auto piece, int n) {
    each_cell((long long)width * to_m, n, [=](long long r, int k) {
      const long long w = (unsigned)r / (unsigned)to_m, lane = lanes[(unsigned)r % (unsigned)to_m];
      pieces(y, piece)[r * n + k] = pieces(x, piece)[(w * from_m + lane) * n + k];
    });
  };
  in_pieces(c, copy, x, y);
}

extern "C" __global__ void __launch_bounds__(256) rows_insert_f32(
    const float* __restrict__ x, const int* __restrict__ from, const int* __restrict__ lanes, const int* __restrict__ to,
    float* __restrict__ y, int from_m, int to_m, int c, int from_width, int to_width, int len) {
  const auto copy = [=](auto piece, int n) {
    each_cell((long long)from_width * from_m, n, [=](long long r, int k) {
      const int i = (int)((unsigned)r % (unsigned)from_m), lane = lanes[i];
      const int at = from[i] + (int)((unsigned)r / (unsigned)from_m), w = at - to[lane];
      if (within(at, len) && within(w, to_width)) pieces(y, piece)[((long long)w * to_m + lane) * n + k] = pieces(x, piece)[r * n + k];
    });
  };
  in_pieces(c, copy, x, y);
}

extern "C" __global__ void __launch_bounds__(256) rows_add_f32(const float* __restrict__ x, float* __restrict__ y, long long n) {
  const auto add = [=](auto piece, int size) {
    each_cell((n + size - 1) / size, 1, [=](long long i, int) {
      auto sum = pieces(y, piece)[i];
      const auto more = pieces(x, piece)[i];
      if constexpr (sizeof(sum) == sizeof(float)) {
        sum += more;
      } else {
#pragma unroll
        for (int k = 0; k < 4; k++) sum.v[k] += more.v[k];
      }
      pieces(y, piece)[i] = sum;
    });
  };
  if (n % 4 == 0 && aligned16(x, y)) add(Four{}, 4); else add(0.0f, 1);
}

extern "C" __global__ void __launch_bounds__(256) rows_blend_f32(
    const float* __restrict__ x, float* __restrict__ y, long long n, double share) {
  each_cell(n, 1, [=](long long i, int) { y[i] = (float)(share * (double)x[i] + (1.0 - share) * (double)y[i]); });
}

extern "C" __global__ void __launch_bounds__(256) rows_convert_f32_bf16(
    const float* __restrict__ x, bf16* __restrict__ y, long long rows, int c) {
  convert(x, y, rows, c);
}

extern "C" __global__ void __launch_bounds__(256) rows_convert_bf16_f32(
    const bf16* __restrict__ x, float* __restrict__ y, long long rows, int c) {
  convert(x, y, rows, c);
}

extern "C" __global__ void __launch_bounds__(256) rows_convert_f32_f16(
    const float* __restrict__ x, f16* __restrict__ y, long long rows, int c) {
  convert(x, y, rows, c);
}

extern "C" __global__ void __launch_bounds__(256) rows_convert_f16_f32(
    const f16* __restrict__ x, float* __restrict__ y, long long rows, int c) {
  convert(x, y, rows, c);
}
