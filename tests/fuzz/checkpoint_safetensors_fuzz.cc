// libFuzzer entry: the input is a whole safetensors file.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = memfd_create("safetensors", MFD_CLOEXEC);
  GRAB_CHECK(fd >= 0);
  GRAB_CHECK(write(fd, data, size) == static_cast<ssize_t>(size));
  const auto reader = grab::SafetensorsReader::Open("/proc/self/fd/" + std::to_string(fd));
  if (reader.ok()) {
    for (const grab::TensorInfo& tensor : (*reader)->tensors()) {
      GRAB_CHECK(tensor.end <= size);
      if (grab::DtypeBytes(tensor.dtype) != 1) continue;
      std::vector<uint8_t> out(tensor.end - tensor.begin);
      GRAB_CHECK(
          (*reader)->Read(tensor.name, tensor.dtype, tensor.shape, absl::MakeSpan(out)).ok());
    }
  }
  close(fd);
  return 0;
}
