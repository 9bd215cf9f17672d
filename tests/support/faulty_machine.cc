// A library to preload: the calls of libc that machine_faults.h lets go wrong.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "support/machine_faults.h"

namespace grab {
namespace {

const MachineFaults* Map() {
  const char* const path = std::getenv(kMachineFaultsEnv);
  const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) std::abort();
  void* const at = ::mmap(nullptr, sizeof(MachineFaults), PROT_READ, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) std::abort();
  ::close(file);
  return static_cast<const MachineFaults*>(at);
}

const MachineFaults& Faults() {
  static const MachineFaults* const faults = Map();
  return *faults;
}

template <class F>
F* Real(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

void Delay() { std::this_thread::sleep_for(std::chrono::milliseconds(Faults().sync_delay_ms)); }

}  // namespace
}  // namespace grab

extern "C" {

int fsync(int file) {
  static auto* const real = grab::Real<int(int)>("fsync");
  grab::Delay();
  return real(file);
}

int fdatasync(int file) {
  static auto* const real = grab::Real<int(int)>("fdatasync");
  grab::Delay();
  return real(file);
}

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  static auto* const real = grab::Real<int(clockid_t, timespec*)>("clock_gettime");
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += grab::Faults().clock_offset_ms / 1000;
  return result;
}

}  // extern "C"
