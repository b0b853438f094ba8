// dropout.cu: dropout with masks that follow from counters; value and gradient are the same kernel.
// Host side: src/ops/dropout/cuda.rs
// Maths:     y = x keep where the random word is at least `threshold`, else 0
// Layout:    row major, x and y [rows, size]; row r has the stream of sample samples[r]. Element e takes word e % 64 / 16 of the
//            Philox block e / 64 * 16 + e % 16
// Entries:   dropout_fwd_f32: any grid along x, block 256
// Limits:    size below 2^31; any alignment. 16 threads draw 16 blocks for 64 neighbours, so that accesses are in runs of 16
// Order:     every element alone
// Measured:  not on a GPU yet
#include "philox.cuh"

extern "C" __global__ void __launch_bounds__(256) dropout_fwd_f32(
    const float* __restrict__ x, const int* __restrict__ samples, float* __restrict__ y, long long rows, int size, unsigned number, unsigned key0,
    unsigned key1, unsigned threshold, float keep) {
    each_cell(rows, (int)(((long long)size + 63) / 64 * 16), [=](long long r, int block) {
        const int first = block / 16 * 64 + block % 16;
        const long long at = r * size + first;
        float v[4];
#pragma unroll
        for (int w = 0; w < 4; w++) v[w] = first + 16 * w < size ? x[at + 16 * w] : 0.0f;
        const uint4 words = philox4x32(make_uint4((unsigned)block, (unsigned)samples[r], number, 0xD509u), make_uint2(key0, key1));
        const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int w = 0; w < 4; w++) {
            if (first + 16 * w < size) y[at + 16 * w] = word[w] < threshold ? 0.0f : v[w] * keep;
        }
    });
}
