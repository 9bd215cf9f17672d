#include "bench/machine.h"

#include <dnnl.h>
#include <stdlib.h>
#include <torch/version.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/threads.h"
#include "bench/process.h"
#include "cli/process.h"
#include "cli/results.h"
#include "kernels/matmul.h"

namespace grab::bench {
namespace {

// Files of /sys claim a size that they do not have, so they are read as a stream.
std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string Commit() {
  const StatusOr<std::string> self = ExecutablePath();
  return self.ok() ? CommitOf(*self) : "";
}

}  // namespace

nlohmann::json DescribeMachine() {
  const dnnl_version_t* onednn = dnnl_version();
  double load[1] = {0.0};
  ::getloadavg(load, 1);
  return {{"name", "machine"},
          {"value", DefaultThreads()},
          {"unit", "cores"},
          {"details",
           {{"cpu", CpuName()},
            {"compiler", absl::StrCat("GCC-compatible ", __VERSION__)},
            {"commit", Commit()},
            {"libtorch", TORCH_VERSION},
            {"onednn", absl::StrCat(onednn->major, ".", onednn->minor, ".", onednn->patch)},
            {"onednn_bf16", Supported(Precision::kBf16) ? "yes" : "no, its figures are left out"},
            {"openblas_core", BlasCore()},
            {"huge_pages", FirstLine("/sys/kernel/mm/transparent_hugepage/enabled")},
            {"load_at_start", load[0]},
            {"ours", Describe(ProcessSettings{})}}}};
}

}  // namespace grab::bench
