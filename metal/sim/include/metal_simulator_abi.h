// What a compiled kernel and the simulator know of each other: the records that the source transform emits,
// and the functions of the simulator that metal_stdlib calls. Includes nothing: it is a part of every kernel.
#pragma once

namespace metal_simulator {

// What an argument of a kernel is; from ThreadPositionInGrid on its value is one of Thread's.
enum Kind : int {
  KindBuffer,
  KindThreadgroup,
  ThreadPositionInGrid,
  ThreadPositionInThreadgroup,
  ThreadgroupPositionInGrid,
  ThreadIndexInThreadgroup,
  ThreadIndexInSimdgroup,
  SimdgroupIndexInThreadgroup,
  ThreadsPerGrid,
  ThreadsPerThreadgroup,
  ThreadgroupsPerGrid,
  SimdgroupsPerThreadgroup,
  ThreadsPerSimdgroup,
  DispatchThreadsPerThreadgroup,
  DispatchSimdgroupsPerThreadgroup,
  GridOrigin,
  ThreadIndexInQuadgroup,
  QuadgroupIndexInThreadgroup,
  QuadgroupsPerThreadgroup,
  Kinds
};

struct Thread {
  unsigned values[Kinds][4];
};

struct Parameter {
  int kind;
  int index;  // of a buffer or of threadgroup memory
  const char* name;
  bool constant;          // in the constant address space: not to be written
  const bool* condition;  // a function constant that says whether there is an argument at all
  unsigned size, align;   // of what it refers to
  bool reference;         // to one value; else a pointer to as many as are bound
};

struct Kernel {
  const char* name;
  const char* file;
  int line;
  unsigned max_threads;  // 0: none said
  const char*
      constants;  // names of the function constants that it cannot do without, each followed by a space
  void (*run)(const Kernel*, const Thread*, void* const* arguments);
  void (*function)();
  const Parameter* parameters;
  int parameter_count;
  Kernel* next;
};

struct Constant {
  int index;
  const char* name;
  void* value;
  unsigned size;
  char type;  // b, i, u, f; h is half, B bfloat
  bool defined;
  Constant* next;
};

// A constant whose initializer uses function constants.
struct Derived {
  void (*compute)();
  Derived* next;
};

// A variable of threadgroup memory.
struct Site {
  const char* name;
  const char* file;
  int line;
  unsigned size, align;
  const char* owner;  // the type name of a class in the kernel
  unsigned long long stamp;
  unsigned offset;
  Site* next;
};

struct Module {
  int version;
  Kernel* kernels;
  Constant* constants;
  Derived* derived;
  Derived* derived_end;
  Site* sites;
};

constexpr int abi_version = 2;

enum Meeting : int { MeetBarrier, MeetSimdBarrier, MeetSimd, MeetQuad };
enum Access : int { AccessRead = 1, AccessWrite = 2 };

// What lanes hand each other. Slots hold 32 bytes each; a lane may read those whose bit is set in `active`.
struct Exchange {
  unsigned char slots[32][32];
  unsigned active;
  bool done;  // somebody computed `result`
  unsigned char result[64];
};

}  // namespace metal_simulator

extern "C" {
void* metal_simulator_threadgroup(metal_simulator::Site* site);
// flags: 1 device memory, 2 threadgroup memory.
void metal_simulator_barrier(int meeting, int flags, const char* file, int line);
// Waits for the other lanes, each with a value of `size` bytes.
metal_simulator::Exchange* metal_simulator_meet(int operation, const void* value, unsigned size,
                                                const char* file, int line);
// Reading lane `lane` of an exchange, which must be there.
void metal_simulator_check_lane(const metal_simulator::Exchange* exchange, unsigned lane, const char* file,
                                int line);
// Checks an access; what is done with the memory is up to the caller.
void metal_simulator_access(const volatile void* address, unsigned size, int access, const char* file,
                            int line);
void metal_simulator_atomic(const volatile void* address, unsigned size, int access, const char* file,
                            int line);
// Each lane brings two elements of a, b and c and gets two of a b + c.
void metal_simulator_matrix_multiply(const float* operands, float* result, const char* file, int line);
unsigned metal_simulator_lane();
}
