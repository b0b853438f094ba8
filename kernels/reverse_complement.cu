// reverse_complement.cu: the other strand of packed bases, of rows of four numbers, and of changes of these.
// Host side: src/ops/reverse_complement/cuda.rs
// Maths:     y[n, p] = complement of x[n, l - 1 - p], codes 0 to 3 become 3 to 0, others stay; rows: y[a, b, i, c] = x[a, B - 1 - b, i, 3 - c]
// Layout:    bases [N, L] bytes; rows [A, B, I, 4]: maps are [N, L, 1, 4], changes [1, width, M, 4]
// Entries:   reverse_complement_bases_u8, reverse_complement_rows_f32: any grid along x, block 256
// Limits:    N * L, A * B, 4 I below 2^31; any alignment
// Order:     values are copied
// Measured:  not on a GPU yet
#include "drg.cuh"

extern "C" __global__ void __launch_bounds__(256) reverse_complement_bases_u8(
    const unsigned char* __restrict__ x, unsigned char* __restrict__ y, int n, int l) {
  each_cell(n, l, [=](long long row, int p) {
    const unsigned char code = x[row * l + l - 1 - p];
    y[row * l + p] = code < 4 ? (unsigned char)(3 - code) : code;
  });
}

extern "C" __global__ void __launch_bounds__(256) reverse_complement_rows_f32(
    const float* __restrict__ x, float* __restrict__ y, int outer, int turned, int inner) {
  const int columns = 4 * inner;
  each_cell((long long)outer * turned, columns, [=](long long row, int column) {
    const long long b = (unsigned)row % (unsigned)turned, from = row - b + (turned - 1 - b);
    y[row * columns + column] = x[from * columns + (column ^ 3)];
  });
}
