// philox.cuh: Philox4x32-10, the counter-based generator of Salmon et al. (2011): four random words for a key and a counter.
// Twin of src/util/philox.rs: the same words.
#pragma once
#include "drg.cuh"

DRG_DEVICE uint4 philox4x32(uint4 counter, uint2 key) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned a = 0xD2511F53u, b = 0xCD9E8D57u;
        counter = make_uint4(__umulhi(b, counter.z) ^ counter.y ^ key.x, b * counter.z, __umulhi(a, counter.x) ^ counter.w ^ key.y, a * counter.x);
        key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
    }
    return counter;
}
