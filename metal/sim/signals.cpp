#include "metal/sim/signals.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "metal/sim/executor.h"

namespace mlx::core::metal::sim {

namespace {

constexpr std::array<int, 3> caught{SIGSEGV, SIGBUS, SIGFPE};
// Ignored where nobody handles it, so that a late one does no harm.
constexpr int alarm_signal = SIGURG;

std::array<struct sigaction, 3> before;
pthread_t executing;
volatile sig_atomic_t catching = 0;
thread_local volatile sig_atomic_t time_is_up = 0;

uintptr_t code_of(const void* context) {
  const auto& m = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<uintptr_t>(m.gregs[REG_RIP]);
#else
  return m.pc;
#endif
}

// A handler is left by going back to the main stack; nothing on the one that is left behind needs an end.
void on_fault(int signal, siginfo_t* info, void* context) {
  const Stacks& stacks = executor().group.stacks();
  if (catching && pthread_equal(executing, pthread_self()) && executor().running()) {
    const Place place{code_of(context), nullptr, 0};
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    if (signal == SIGFPE) fault("integer division that overflows", place);
    if (address - stacks.low() < stacks.bytes())
      fault("stack overflow: the private memory of a thread is larger than " +
                std::to_string(Stacks::size / 1024) + " KiB",
            place);
    fault("access to no memory at all", place);
  }
  for (size_t i = 0; i < caught.size(); ++i)
    if (caught[i] == signal) sigaction(signal, &before[i], nullptr);  // and it happens again
}

void on_alarm(int, siginfo_t*, void* context) {
  time_is_up = 1;
  if (!catching || !pthread_equal(executing, pthread_self()) || !executor().running()) return;
  const uintptr_t code = code_of(context);
  // In the kernel itself nothing is half done. Elsewhere, its next access ends it.
  if (executor().in_kernel(code)) executor().timed_out({code, nullptr, 0});
  executor().memory.stop_soon();
}

}  // namespace

CatchSignals::CatchSignals() {
  executing = pthread_self();
  for (size_t i = 0; i < caught.size(); ++i) {
    struct sigaction action{};
    action.sa_sigaction = &on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(caught[i], &action, &before[i]);
  }
  catching = 1;
}

CatchSignals::~CatchSignals() {
  catching = 0;
  for (size_t i = 0; i < caught.size(); ++i) sigaction(caught[i], &before[i], nullptr);
}

Watchdog::Watchdog(double seconds) {
  time_is_up = 0;
  static const bool installed = [] {
    struct sigaction action{};
    action.sa_sigaction = &on_alarm;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
    return sigaction(alarm_signal, &action, nullptr) == 0;
  }();
  if (!installed) return;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = alarm_signal;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) != 0) return;
  armed_ = true;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(seconds);
  when.it_value.tv_nsec = static_cast<long>((seconds - std::floor(seconds)) * 1e9) + 1;
  when.it_interval.tv_nsec = 10'000'000;  // again, where the first one came at a bad time
  timer_settime(timer_, 0, &when, nullptr);
}

Watchdog::~Watchdog() {
  if (armed_) timer_delete(timer_);
}

bool Watchdog::expired() { return time_is_up; }

double time_limit() {
  static const double seconds = [] {
    const char* text = std::getenv("MLX_METAL_SIMULATOR_TIMEOUT");
    if (!text || !*text) return 60.0;
    char* end = nullptr;
    const double x = std::strtod(text, &end);
    if (*end || !(x > 0) || x > 1e6)
      throw std::invalid_argument(
          std::string("[metal simulator] MLX_METAL_SIMULATOR_TIMEOUT must be seconds, not ") + text);
    return x;
  }();
  return seconds;
}

void prepare_thread_for_signals() {
  sigset_t all;
  sigfillset(&all);
  for (const int signal : caught) sigdelset(&all, signal);
  sigdelset(&all, alarm_signal);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  // Wide registers make frames of handlers long.
  constexpr size_t size = 256 * 1024;
  thread_local const std::unique_ptr<std::byte[]> memory(new std::byte[size]);
  stack_t stack{};
  stack.ss_sp = memory.get();
  stack.ss_size = size;
  sigaltstack(&stack, nullptr);
  time_is_up = 0;
}

}  // namespace mlx::core::metal::sim
