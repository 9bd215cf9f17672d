#include "checkpoint/checkpoint.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"

namespace grab {
namespace {

constexpr char kManifestName[] = "manifest.json";
constexpr char kFormat[] = "grab-checkpoint";
constexpr uint64_t kVersion = 1;
constexpr absl::string_view kPrefix = "step-";
constexpr absl::string_view kTmpSuffix = ".tmp";
constexpr size_t kStepDigits = 12;
constexpr int kStateDepthMax = 64;  // our own recursion goes as deep
constexpr uint64_t kChunkBytes = 1 << 20;

std::string StepName(uint64_t step) { return absl::StrFormat("step-%012d", step); }

bool IsFileName(absl::string_view name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  return plain && !name.empty() && name.size() <= 200 && name[0] != '.' && name != kManifestName;
}

std::string Hex(uint64_t checksum) { return absl::StrFormat("%016x", checksum); }

bool ParseHex(const std::string& text, uint64_t& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return result.ec == std::errc() && text == Hex(value);
}

StatusOr<CheckpointFile> Describe(const std::string& path, const std::string& name) {
  GRAB_ASSIGN_OR_RETURN(const auto file, RandomAccessFile::Open(path));
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  std::string chunk(std::min(kChunkBytes, file->size_bytes()), '\0');
  for (uint64_t offset = 0; offset < file->size_bytes(); offset += chunk.size()) {
    chunk.resize(std::min<uint64_t>(chunk.size(), file->size_bytes() - offset));
    GRAB_RETURN_IF_ERROR(file->Read(offset, chunk.size(), chunk.data()));
    XXH3_64bits_update(&hash, chunk.data(), chunk.size());
  }
  return CheckpointFile{name, file->size_bytes(), XXH3_64bits_digest(&hash)};
}

// The document; discarded when malformed or nested deeper than `depth_max`.
nlohmann::json ParseJson(const std::string& text, int depth_max) {
  bool too_deep = false;
  const auto bound = [&too_deep, depth_max](int depth, nlohmann::json::parse_event_t,
                                            nlohmann::json&) {
    too_deep |= depth > depth_max;
    return !too_deep;
  };
  nlohmann::json json = nlohmann::json::parse(text, bound, /*allow_exceptions=*/false);
  return too_deep ? nlohmann::json(nlohmann::json::value_t::discarded) : json;
}

// Over the manifest's content, not its text: all members but the checksum itself, keys sorted.
std::string ManifestChecksum(nlohmann::json manifest) {
  manifest.erase("checksum");
  const std::string text = manifest.dump();
  return Hex(XXH3_64bits(text.data(), text.size()));
}

Status Damaged(const std::string& path, absl::string_view detail) {
  return absl::DataLossError(absl::StrCat(path, ": ", detail));
}

Status ParseFiles(const std::string& path, const nlohmann::json& list,
                  std::vector<CheckpointFile>& files) {
  for (const nlohmann::json& entry : list) {
    CheckpointFile file;
    const bool typed = entry.is_object() && entry.size() == 3 && entry.contains("name") &&
                       entry["name"].is_string() && entry.contains("size_bytes") &&
                       entry["size_bytes"].is_number_unsigned() && entry.contains("checksum") &&
                       entry["checksum"].is_string();
    if (!typed) return Damaged(path, "expected files with name, size_bytes and checksum");
    file.name = entry["name"].get<std::string>();
    file.size_bytes = entry["size_bytes"].get<uint64_t>();
    if (!IsFileName(file.name))
      return Damaged(path, absl::StrCat("impossible file name '", file.name, "'"));
    if (!files.empty() && files.back().name >= file.name) {
      return Damaged(path, absl::StrCat("files out of order at '", file.name, "'"));
    }
    if (!ParseHex(entry["checksum"].get<std::string>(), file.checksum)) {
      return Damaged(path,
                     absl::StrCat("expected 16 hexadecimal digits as the checksum of ", file.name));
    }
    files.push_back(std::move(file));
  }
  return absl::OkStatus();
}

StatusOr<Checkpoint> ReadManifest(const std::string& dir) {
  const std::string path = JoinPath(dir, kManifestName);
  const auto text = ReadFile(path, kManifestBytesMax);
  if (absl::IsNotFound(text.status())) return Damaged(path, "no manifest");
  if (absl::IsInvalidArgument(text.status())) return absl::DataLossError(text.status().message());
  if (!text.ok()) return text.status();
  const nlohmann::json json = ParseJson(*text, kStateDepthMax + 1);
  if (!json.is_object()) return Damaged(path, "expected a JSON object");
  const auto format = json.find("format");
  const auto version = json.find("version");
  if (format == json.end() || *format != kFormat || version == json.end() ||
      !version->is_number_unsigned()) {
    return Damaged(path, absl::StrCat("expected format ", kFormat, " and a version"));
  }
  if (*version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected version ", kVersion, ", got ", version->get<uint64_t>()));
  }
  const auto checksum = json.find("checksum");
  if (checksum == json.end() || !checksum->is_string()) return Damaged(path, "no checksum");
  const std::string expected = ManifestChecksum(json);
  if (*checksum != expected) {
    return Damaged(path,
                   absl::StrCat("its content has checksum ", expected, ", it says otherwise"));
  }
  const auto step = json.find("step");
  const auto files = json.find("files");
  const auto state = json.find("state");
  if (step == json.end() || !step->is_number_unsigned() || files == json.end() ||
      !files->is_array() || state == json.end() || !state->is_object()) {
    return Damaged(path, "expected step, files and state");
  }
  Checkpoint checkpoint{dir, step->get<uint64_t>(), {}, state->dump()};
  GRAB_RETURN_IF_ERROR(ParseFiles(path, *files, checkpoint.files));
  return checkpoint;
}

// "step-000000001000" -> 1000.
std::optional<uint64_t> StepOfName(absl::string_view name) {
  if (!absl::StartsWith(name, kPrefix) || name.size() != kPrefix.size() + kStepDigits) {
    return std::nullopt;
  }
  uint64_t step = 0;
  for (const char c : name.substr(kPrefix.size())) {
    if (c < '0' || c > '9') return std::nullopt;
    step = step * 10 + static_cast<uint64_t>(c - '0');
  }
  return step;
}

bool IsTmp(absl::string_view name) {
  return absl::StartsWith(name, kPrefix) && absl::EndsWith(name, kTmpSuffix);
}

// Names of what is or claims to be a checkpoint, newest first.
StatusOr<std::vector<std::string>> CheckpointNames(const std::string& dir) {
  if (!Exists(dir)) return std::vector<std::string>();
  GRAB_ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(dir));
  names.erase(std::remove_if(names.begin(), names.end(),
                             [](const std::string& name) {
                               return !absl::StartsWith(name, kPrefix) || IsTmp(name);
                             }),
              names.end());
  std::reverse(names.begin(), names.end());
  return names;
}

// OpenCheckpoint of a folder whose name says its step.
StatusOr<Checkpoint> OpenNamed(const std::string& dir, const std::string& name,
                               CheckpointCheck check) {
  const std::string path = JoinPath(dir, name);
  const std::optional<uint64_t> step = StepOfName(name);
  if (!step.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a name of step- and ", kStepDigits, " digits"));
  }
  GRAB_ASSIGN_OR_RETURN(Checkpoint checkpoint, OpenCheckpoint(path, check));
  if (checkpoint.step == *step) return checkpoint;
  return Damaged(path, absl::StrCat("its manifest is that of step ", checkpoint.step));
}

// Removes a checkpoint so that a kill between leaves it either whole or under a .tmp name, which
// Begin clears.
Status RemoveCheckpoint(const std::string& path) {
  const std::string doomed = absl::StrCat(path, kTmpSuffix);
  GRAB_RETURN_IF_ERROR(RemoveAll(doomed));
  GRAB_RETURN_IF_ERROR(RenameDurably(path, doomed));
  return RemoveAll(doomed);
}

}  // namespace

StatusOr<std::string> Checkpoint::Path(const std::string& name) const {
  std::string names;
  for (const CheckpointFile& file : files) {
    if (file.name == name) return JoinPath(dir, name);
    absl::StrAppend(&names, names.empty() ? "" : ", ", file.name);
  }
  return absl::NotFoundError(absl::StrCat(dir, ": no file '", name, "', only ", names));
}

CheckpointWriter::CheckpointWriter(std::string dir, uint64_t step)
    : dir_(std::move(dir)), tmp_dir_(absl::StrCat(dir_, kTmpSuffix)), step_(step) {}

StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointWriter::Begin(const std::string& dir,
                                                                    uint64_t step) {
  GRAB_CHECK(step <= kCheckpointStepMax);
  GRAB_RETURN_IF_ERROR(MakeDirectories(dir));
  GRAB_ASSIGN_OR_RETURN(const auto names, ListDirectory(dir));
  for (const std::string& name : names) {
    if (IsTmp(name)) GRAB_RETURN_IF_ERROR(RemoveAll(JoinPath(dir, name)));
  }
  const std::string path = JoinPath(dir, StepName(step));
  if (Exists(path)) {
    const auto existing = OpenNamed(dir, StepName(step), CheckpointCheck::kChecksums);
    if (existing.ok()) return absl::AlreadyExistsError(path + ": already exists");
    if (!absl::IsDataLoss(existing.status())) return existing.status();
    GRAB_RETURN_IF_ERROR(RemoveCheckpoint(path));
  }
  std::unique_ptr<CheckpointWriter> writer(new CheckpointWriter(path, step));
  GRAB_RETURN_IF_ERROR(MakeDirectories(writer->tmp_dir_));
  return writer;
}

CheckpointWriter::~CheckpointWriter() {
  // What cannot be removed now, the next Begin removes or reports.
  if (!committed_) RemoveAll(tmp_dir_).IgnoreError();
}

std::string CheckpointWriter::Path(const std::string& name) {
  GRAB_CHECK_MSG(IsFileName(name), name);
  if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
  return JoinPath(tmp_dir_, name);
}

Status CheckpointWriter::Commit(const std::string& state_json) {
  GRAB_CHECK(!committed_);
  nlohmann::json state = ParseJson(state_json, kStateDepthMax);
  if (!state.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(dir_, ": expected the state as a JSON object"));
  }
  std::sort(names_.begin(), names_.end());
  GRAB_ASSIGN_OR_RETURN(const auto present, ListDirectory(tmp_dir_));
  for (const std::string& name : present) {
    if (!std::binary_search(names_.begin(), names_.end(), name)) {
      return absl::InternalError(absl::StrCat(tmp_dir_, ": unexpected entry '", name, "'"));
    }
  }
  nlohmann::json files = nlohmann::json::array();
  for (const std::string& name : names_) {
    const auto file = Describe(JoinPath(tmp_dir_, name), name);
    if (absl::IsNotFound(file.status())) {
      return absl::InternalError(absl::StrCat(tmp_dir_, ": file '", name, "' was not written"));
    }
    if (!file.ok()) return file.status();
    files.push_back({{"name", file->name},
                     {"size_bytes", file->size_bytes},
                     {"checksum", Hex(file->checksum)}});
  }
  nlohmann::json manifest = {{"format", kFormat},
                             {"version", kVersion},
                             {"step", step_},
                             {"files", std::move(files)},
                             {"state", std::move(state)}};
  manifest["checksum"] = ManifestChecksum(manifest);
  const std::string text = manifest.dump(1) + "\n";
  if (text.size() > kManifestBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(dir_, ": expected a manifest of at most ",
                                                   kManifestBytesMax, " bytes, got ", text.size()));
  }
  GRAB_RETURN_IF_ERROR(WriteFileDurably(JoinPath(tmp_dir_, kManifestName), text));
  GRAB_RETURN_IF_ERROR(CommitDirectory(tmp_dir_, dir_));
  committed_ = true;
  return absl::OkStatus();
}

std::string CheckpointPath(const std::string& dir, uint64_t step) {
  return JoinPath(dir, StepName(step));
}

StatusOr<std::vector<uint64_t>> CheckpointSteps(const std::string& dir) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<std::string> names, CheckpointNames(dir));
  std::vector<uint64_t> steps;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> step = StepOfName(name)) steps.push_back(*step);
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

StatusOr<Checkpoint> OpenCheckpoint(const std::string& path, CheckpointCheck check) {
  if (!Exists(path)) return absl::NotFoundError(absl::StrCat(path, ": no such checkpoint"));
  GRAB_ASSIGN_OR_RETURN(Checkpoint checkpoint, ReadManifest(path));
  for (const CheckpointFile& file : checkpoint.files) {
    const std::string file_path = JoinPath(path, file.name);
    const auto opened = RandomAccessFile::Open(file_path);
    if (absl::IsNotFound(opened.status())) return Damaged(file_path, "the file is missing");
    if (!opened.ok()) return opened.status();
    if ((*opened)->size_bytes() != file.size_bytes) {
      return Damaged(file_path, absl::StrCat("expected ", file.size_bytes, " bytes, got ",
                                             (*opened)->size_bytes()));
    }
    if (check == CheckpointCheck::kSizes) continue;
    GRAB_ASSIGN_OR_RETURN(const CheckpointFile found, Describe(file_path, file.name));
    if (found.checksum != file.checksum) {
      return Damaged(file_path, absl::StrCat("expected checksum ", Hex(file.checksum), ", got ",
                                             Hex(found.checksum)));
    }
  }
  return checkpoint;
}

StatusOr<LatestCheckpointResult> LatestCheckpoint(const std::string& dir) {
  GRAB_ASSIGN_OR_RETURN(const auto names, CheckpointNames(dir));
  LatestCheckpointResult latest;
  for (const std::string& name : names) {
    auto opened = OpenNamed(dir, name, CheckpointCheck::kChecksums);
    if (opened.ok()) {
      latest.checkpoint = std::move(opened).value();
      break;
    }
    latest.skipped.push_back({JoinPath(dir, name), opened.status()});
  }
  return latest;
}

StatusOr<Checkpoint> OpenLatestCheckpoint(const std::string& dir,
                                          std::vector<std::string>& skipped) {
  GRAB_ASSIGN_OR_RETURN(LatestCheckpointResult latest, LatestCheckpoint(dir));
  std::string message = absl::StrCat(dir, ": no usable checkpoint");
  for (const LatestCheckpointResult::Skipped& damaged : latest.skipped) {
    skipped.emplace_back(damaged.reason.message());
    absl::StrAppend(&message, "; ", damaged.reason.message());
  }
  if (!latest.checkpoint.has_value()) return absl::NotFoundError(message);
  return *std::move(latest.checkpoint);
}

StatusOr<std::vector<std::string>> PruneCheckpoints(const std::string& dir, uint64_t keep) {
  GRAB_CHECK(keep >= 1);
  GRAB_ASSIGN_OR_RETURN(const auto names, CheckpointNames(dir));
  std::vector<std::string> removed;
  uint64_t kept = 0;
  for (const std::string& name : names) {
    if (!StepOfName(name).has_value()) continue;
    if (kept < keep) {
      kept += OpenNamed(dir, name, CheckpointCheck::kSizes).ok();
      continue;
    }
    removed.push_back(JoinPath(dir, name));
    GRAB_RETURN_IF_ERROR(RemoveCheckpoint(removed.back()));
  }
  return removed;
}

StatusOr<std::vector<std::string>> RemoveCheckpointsAfter(const std::string& dir, uint64_t step) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<uint64_t> steps, CheckpointSteps(dir));
  std::vector<std::string> removed;
  for (auto newest = steps.rbegin(); newest != steps.rend() && *newest > step; ++newest) {
    removed.push_back(CheckpointPath(dir, *newest));
    GRAB_RETURN_IF_ERROR(RemoveCheckpoint(removed.back()));
  }
  return removed;
}

}  // namespace grab
