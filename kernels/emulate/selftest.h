// selftest.h: what both files of the emulator's own tests use.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "sm90.cuh"

using drg::emulate::run;

namespace {

constexpr unsigned ALL = 0xffffffffu;
int failures = 0, checks = 0;

void check(bool good, const std::string& what) {
  checks++;
  if (good) return;
  failures++;
  printf("FAILED: %s\n", what.c_str());
}

// A launch of one block that must work.
template <typename F> void works(const char* what, unsigned threads, unsigned shared_bytes, F kernel) {
  const unsigned grid[3] = {1, 1, 1};
  const int rc = run(what, grid, threads, shared_bytes, kernel);
  check(rc == 0 && !*drg_emulate_message(), std::string(what) + ": " + drg_emulate_message());
}

// A launch that must fail with a message that contains `text`; afterwards the next launch must work.
template <typename F> void reports(const char* what, const char* text, unsigned threads, unsigned shared_bytes, F kernel) {
  const unsigned grid[3] = {1, 1, 1};
  const int rc = run(what, grid, threads, shared_bytes, kernel);
  const std::string message = drg_emulate_message();
  check(rc == 1 && message.find(text) != std::string::npos, std::string(what) + ": rc " + std::to_string(rc) + ", expected '" + text + "' in '" + message + "'");
  int seen = 0;
  works("after a fault", 64, 0, [&seen] {
    __syncthreads();
    atomicAdd(&seen, 1);
  });
  check(seen == 64, std::string(what) + ": the launch after it ran " + std::to_string(seen) + " of 64 threads");
}

// trial(fault) returns whether the result was right: always without the fault, and not always with it.
template <typename F> void shows(const char* what, F trial) {
  int good = 0, good_with_fault = 0;
  for (int i = 0; i < 20; i++) {
    good += trial(false);
    good_with_fault += trial(true);
  }
  check(good == 20, std::string(what) + ": the correct kernel was right " + std::to_string(good) + " times of 20");
  check(good_with_fault < 20, std::string(what) + ": the fault was not seen in 20 runs");
}

uint64_t random_state = 88172645463325252ull;
uint32_t random32() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 32);
}
// Multiples of 1/8 in -2 .. 2: products and sums of them are exact.
float random_value() { return (float)((int)(random32() % 33) - 16) * 0.125f; }

template <typename T> uint32_t pair(const float* at, int second) { return pack2<T>(at[0], at[second]); }

}  // namespace
