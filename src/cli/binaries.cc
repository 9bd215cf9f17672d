#include "cli/binaries.h"

#include "cli/process.h"

namespace grab {
namespace {

constexpr OtherBinary kBinaries[] = {
    {"train", "Train one model on prepared shards (grab-train)", "grab-train", "GRAB_BUILD_TRAIN",
     false},
    {"trees", "Train boosted trees on running counts of the same rows (grab-trees)", "grab-trees",
     "GRAB_BUILD_TREES", false},
    {"bench", "Measure this machine, grab on it, and what others do (grab-bench)", "grab-bench",
     "GRAB_BUILD_BENCH", false},
    {"serve", "Rank in real time: gRPC and HTTP (grab-serve)", "grab-serve", "GRAB_BUILD_SERVER",
     false},
    {"replay", "Send a prepared log through a running server and compare (grab-client)",
     "grab-client", "GRAB_BUILD_SERVER", true},
    {"load", "Put a running server under load (grab-client)", "grab-client", "GRAB_BUILD_SERVER",
     true},
};

}  // namespace

absl::Span<const OtherBinary> OtherBinaries() { return kBinaries; }

Status ExecOther(const OtherBinary& other, const std::vector<std::string>& arguments) {
  GRAB_ASSIGN_OR_RETURN(const std::string path, FindBinary(other.binary, other.option));
  std::vector<std::string> all;
  if (other.is_one_of_several) all.emplace_back(other.command);
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Exec(path, all);
}

StatusOr<std::string> FindTrain() { return FindBinary("grab-train", "GRAB_BUILD_TRAIN"); }

}  // namespace grab
