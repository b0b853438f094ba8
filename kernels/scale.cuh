// scale.cuh: powers of two that bring f32 numbers into the range of f16; for conv1d_pack.cu and conv1d_sm90.cu.
//   int magnitude(x)                     bits of |x|, which grow with it
//   int scale_exponent(largest)          of the power of two that brings numbers, the largest of which has these bits, to below 2^15 (f16
//                                        ends at 65504); 0 for zeros
//   float power_of_two(exponent)         -126 to 127
//   int scale_group(position, groups)    which scale a row of a sequence has that `groups` interleaved ones share: row 0 the first, ..
#pragma once
#include "drg.cuh"

DRG_DEVICE int magnitude(float x) { return __float_as_int(x) & 0x7fffffff; }
DRG_DEVICE int scale_exponent(int largest) { return largest ? min(14 + 127 - (largest >> 23), 126) : 0; }
DRG_DEVICE float power_of_two(int exponent) { return __int_as_float((exponent + 127) << 23); }
DRG_DEVICE int scale_group(int position, int groups) {
  const int rest = position % groups;
  return rest < 0 ? rest + groups : rest;
}
