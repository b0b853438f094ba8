// state.h: the emulator's inside; one State per host thread, so that several launches run side by side without a lock.
#pragma once
#include <vector>

#include "emulate.h"

namespace drg {
namespace emulate {

constexpr int MAX_THREADS = 1024, MAX_WARPS = 32;
constexpr uint32_t SHARED_LIMIT = 232448, STATIC_LIMIT = 49152;   // bytes a block may have on sm_90, and without opting in
constexpr uint32_t RESERVED = 1024;                               // the hardware keeps the first KB of shared memory as well
constexpr uint32_t ARENA = 262144;                                // descriptors have 18 address bits
constexpr uint32_t STATIC_GUARD = 64;
constexpr uint8_t POISON = 0xff;

// Guard bytes FE FF: NaN when read as bf16, f16, f32 or f64, yet not what poison leaves when it is copied outside.
void guard_fill(uint8_t* from, size_t bytes);
// Offset of the first changed byte, or -1.
ptrdiff_t guard_damage(const uint8_t* from, size_t bytes);

struct Fiber {
  void* stack_pointer;
  char* stack;
};

struct Copy {   // cp.async
  uint32_t destination;
  const void* source;
  int bytes, source_bytes;
  unsigned group;
};

struct Thread {
  Fiber* fiber;   // null: not started, or has returned
  Place place;    // where it waits
  const char* label;
  uint32_t detail;
  unsigned copy_groups, bulk_groups;
  std::vector<Copy> copies;
};

struct Lane {
  uint32_t mask;
  void* data;
  Complete complete;
};

struct Warp {
  uint32_t exists, ready, returned, pending;
  bool descending;
  bool alike;        // all pending lanes are at `at`
  Lane at, lane[32];
  std::vector<std::vector<Wgmma>> groups;   // 32 entries (lanes) per instruction; the last group is open
  unsigned issued;
};

struct Barrier {
  int arrived, threads;
  uint32_t waiting[MAX_WARPS];
};

struct Mbarrier {
  uint32_t address;
  int count, pending, phase;
  int64_t bytes;
  uint32_t waiting[MAX_WARPS];
};

struct Array {
  const void* site;
  const char* name;
  uint32_t offset, bytes;
  bool touched;
};

struct Bulk {   // a tensor copy in flight
  CUtensorMap map;   // by value: the kernel's argument is gone when its thread returns
  int rank, coordinates[5];
  uint32_t shared, barrier;
  bool store;
  int thread;
  unsigned group;
};

struct State {
  const char* name = "";
  void (*call)(void*) = nullptr;
  void* body = nullptr;
  void* main_stack_pointer = nullptr;
  bool failed = false;
  int threads = 0, warps = 0, current = 0, warp = 0, alive = 0;
  uint32_t ready_warps = 0;
  uint64_t random_state = 1;
  unsigned launches = 0;
  Thread thread[MAX_THREADS];
  Warp warps_[MAX_WARPS];
  Barrier barriers[16];
  std::vector<Mbarrier> mbarriers;
  std::vector<Bulk> bulks;
  std::vector<Array> arrays;
  uint8_t* shared = nullptr;
  uint32_t dynamic_bytes = 0, static_base = 0, static_cursor = 0, static_bytes = 0;
  std::vector<Fiber*> fibers, idle;
  std::vector<char*> chunks;

  ~State();
  uint32_t random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
  }
  void make_ready(int warp_index, uint32_t lanes) {
    if (!lanes) return;
    warps_[warp_index].ready |= lanes;
    ready_warps |= 1u << warp_index;
  }
};

State& state();

// The running thread waits until something makes it ready again.
void wait_here(Place place, const char* label, uint32_t detail);
void land_copy(State& s, const Copy& copy);
// Lets one tensor copy in flight, chosen at random, happen; false when there is none.
bool land_bulk(State& s);
// After the last thread: what is still in flight, or null.
const char* left_in_flight(State& s);

}  // namespace emulate
}  // namespace drg
