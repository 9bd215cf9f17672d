// Checkpoints: folders `step-000000001000` under a run's `checkpoints/` folder
// (docs/formats/checkpoint.md). One is written as `step-....tmp`, its manifest last, then synced
// and renamed: a kill at any instant leaves the earlier ones usable and never a torn one under a
// checkpoint's name. One writer per folder at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

inline constexpr uint64_t kCheckpointStepMax = 999'999'999'999;
inline constexpr uint64_t kManifestBytesMax = 64 << 20;

struct CheckpointFile {
  std::string name;
  uint64_t size_bytes = 0;
  uint64_t checksum = 0;  // XXH3-64 of the whole file
};

// A complete checkpoint on disk.
struct Checkpoint {
  std::string dir;
  uint64_t step = 0;
  std::vector<CheckpointFile> files;  // by name
  std::string state_json;             // the object given to Commit

  // Path of a file of the checkpoint; a NotFound names those it has.
  StatusOr<std::string> Path(const std::string& name) const;
};

// Folder of the checkpoint of `step` in `dir`.
std::string CheckpointPath(const std::string& dir, uint64_t step);

// Steps of what is named as a checkpoint in `dir`, usable or not, ascending; none without `dir`.
StatusOr<std::vector<uint64_t>> CheckpointSteps(const std::string& dir);

class CheckpointWriter {
 public:
  // Starts the checkpoint of `step` (<= kCheckpointStepMax) in `dir`, which is made if absent;
  // removes what killed writers left. AlreadyExists if a usable one of this step is there; one that
  // is damaged is removed.
  static StatusOr<std::unique_ptr<CheckpointWriter>> Begin(const std::string& dir, uint64_t step);
  // Removes the unfinished checkpoint unless committed.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // The checkpoint's folder, which exists once committed.
  const std::string& dir() const { return dir_; }

  // Where to write the file `name` ([A-Za-z0-9._-]+, no leading dot, not manifest.json); written
  // before Commit.
  std::string Path(const std::string& name);

  // Checksums the files, writes the manifest with `state_json` (a JSON object nested at most 64
  // deep, else an InvalidArgument), syncs and renames. A file that was named but not written, or
  // that was not named, is an Internal error.
  Status Commit(const std::string& state_json);

 private:
  CheckpointWriter(std::string dir, uint64_t step);

  std::string dir_;
  std::string tmp_dir_;
  uint64_t step_;
  std::vector<std::string> names_;
  bool committed_ = false;
};

// How much OpenCheckpoint reads: the manifest and the files' sizes, or every byte.
enum class CheckpointCheck { kSizes, kChecksums };

// The checkpoint in folder `path`. Damage (a manifest that is missing, malformed or fails its own
// checksum; a file that is missing or differs in size or checksum) is a DataLoss naming file,
// expected and got; another format version is a FailedPrecondition. Files the manifest does not
// list are no part of the checkpoint.
StatusOr<Checkpoint> OpenCheckpoint(const std::string& path,
                                    CheckpointCheck check = CheckpointCheck::kChecksums);

struct LatestCheckpointResult {
  struct Skipped {
    std::string path;
    Status reason;
  };
  std::optional<Checkpoint>
      checkpoint;                // the newest usable; none if there is none, or no such folder
  std::vector<Skipped> skipped;  // what is newer or no checkpoint although named so, newest first
};

// The newest checkpoint in `dir` whose every byte is as written; .tmp folders do not count.
StatusOr<LatestCheckpointResult> LatestCheckpoint(const std::string& dir);

// The newest usable checkpoint in `dir`; NotFound, with all reasons, if there is none. Appends to
// `skipped` why newer ones were passed over: the caller reports it.
StatusOr<Checkpoint> OpenLatestCheckpoint(const std::string& dir,
                                          std::vector<std::string>& skipped);

// Removes all that is older than the `keep` (>= 1) newest usable checkpoints (by manifest and
// sizes; nothing is read whole), and returns the paths removed. Damaged ones that are newer stay. A
// kill leaves no half-removed checkpoint under its name.
StatusOr<std::vector<std::string>> PruneCheckpoints(const std::string& dir, uint64_t keep);

// Removes those of later steps, damaged ones too, and returns their paths, newest first.
StatusOr<std::vector<std::string>> RemoveCheckpointsAfter(const std::string& dir, uint64_t step);

}  // namespace grab
