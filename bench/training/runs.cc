#include "bench/training/runs.h"

#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "cli/process.h"

namespace grab::bench {
namespace {

constexpr uint64_t kLogBytesMax = 256 << 20;

}  // namespace

std::string RunFolder(const RunData& data, const std::string& name, int64_t seed) {
  return JoinPath(data.out_dir, absl::StrCat(absl::StrReplaceAll(name, {{", ", "-"}, {" ", "_"}}),
                                             "-seed", seed));
}

Status TrainRun(const RunData& data, const Run& run, int64_t seed) {
  const std::string dir = RunFolder(data, run.name, seed);
  if (Exists(JoinPath(dir, "metrics.json"))) return absl::OkStatus();
  GRAB_RETURN_IF_ERROR(MakeDirectories(data.out_dir));
  GRAB_RETURN_IF_ERROR(RemoveAll(dir));
  GRAB_ASSIGN_OR_RETURN(const std::string grab, FindBinary("grab", "GRAB_BUILD_TRAIN"));
  std::vector<std::string> arguments = {grab,      "train",   "--config", data.config_path,
                                        "--model", run.model, "--shards", data.shards_dir,
                                        "--out",   dir};
  const auto set = [&](const std::string& setting) {
    arguments.insert(arguments.end(), {"--set", absl::StrCat(run.model, ".train.", setting)});
  };
  set(absl::StrCat("seed=", seed));
  set("patience=0");
  for (const std::string& setting : run.settings) set(setting);
  if (!run.warm_start.empty()) {
    arguments.insert(arguments.end(), {"--warm-start", run.warm_start});
  }
  GRAB_ASSIGN_OR_RETURN(const int code, RunProcess(arguments));
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(dir, ": grab train ended with exit code ", code));
}

StatusOr<nlohmann::json> ReadMetrics(const std::string& dir) {
  const std::string path = JoinPath(dir, "metrics.json");
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLogBytesMax));
  nlohmann::json metrics = nlohmann::json::parse(text, nullptr, false);
  if (!metrics.is_object()) return absl::DataLossError(path + ": is no JSON object");
  return metrics;
}

Status ForEachLogLine(const std::string& dir,
                      const std::function<bool(const nlohmann::json&)>& visit) {
  const std::string path = JoinPath(dir, "log.jsonl");
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLogBytesMax));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_object()) return absl::DataLossError(path + ": a line is no JSON object");
    if (!visit(event)) break;
  }
  return absl::OkStatus();
}

std::optional<double> Number(const nlohmann::json& object, const char* key) {
  if (!object.contains(key) || !object[key].is_number()) return std::nullopt;
  return object[key].get<double>();
}

}  // namespace grab::bench
