#include "bench/training/kills.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "checkpoint/checkpoint.h"

namespace grab::bench {
namespace {

constexpr double kForever = 1e9;
constexpr uint64_t kFileBytesMax = 1ULL << 32;

enum class Ending { kDone, kKilled, kFailed };

// Runs the command and kills it after `after_s`.
Ending RunFor(const std::vector<std::string>& arguments, double after_s) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const int null = ::open("/dev/null", O_WRONLY);
    if (null < 0 || ::dup2(null, 1) < 0 || ::dup2(null, 2) < 0) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  const Stopwatch watch;
  int state = 0;
  while (watch.Seconds() < after_s) {
    if (::waitpid(child, &state, WNOHANG) == child) {
      return WIFEXITED(state) && WEXITSTATUS(state) == 0 ? Ending::kDone : Ending::kFailed;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &state, 0);
  return Ending::kKilled;
}

std::vector<std::string> Arguments(const KillOptions& options, const std::string& out,
                                   bool resume) {
  std::vector<std::string> arguments = options.command;
  arguments.insert(arguments.end(), {"--out", out});
  if (resume) arguments.push_back("--resume");
  return arguments;
}

// A hash of every file at `path`, by its path below `root`.
Status HashFiles(const std::string& root, const std::string& path,
                 std::map<std::string, uint64_t>& hashes) {
  const std::string full = JoinPath(root, path);
  if (std::filesystem::is_directory(full)) {
    GRAB_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(full));
    for (const std::string& name : names) {
      GRAB_RETURN_IF_ERROR(HashFiles(root, JoinPath(path, name), hashes));
    }
    return absl::OkStatus();
  }
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(full, kFileBytesMax));
  hashes[path] = HashBytes(text.data(), text.size());
  return absl::OkStatus();
}

StatusOr<std::map<std::string, uint64_t>> Left(const KillOptions& options, const std::string& run) {
  std::map<std::string, uint64_t> hashes;
  for (const std::string& path : options.compared) {
    GRAB_RETURN_IF_ERROR(HashFiles(run, path, hashes));
  }
  // A checkpoint's manifest also says how long training took; its files are the state.
  GRAB_ASSIGN_OR_RETURN(const LatestCheckpointResult latest,
                        LatestCheckpoint(JoinPath(run, "checkpoints")));
  if (latest.checkpoint.has_value()) {
    for (const CheckpointFile& file : latest.checkpoint->files) {
      hashes[absl::StrCat("checkpoint ", latest.checkpoint->step, " ", file.name)] = file.checksum;
    }
  }
  return hashes;
}

// One run that is killed up to `kills` times, then left to end.
Status KillOne(const KillOptions& options, const std::string& run, double whole_s, int kills,
               Rng& rng, KillResult& result) {
  Ending ending = Ending::kKilled;
  for (int k = 0; ending != Ending::kDone; ++k) {
    GRAB_ASSIGN_OR_RETURN(const LatestCheckpointResult latest,
                          LatestCheckpoint(JoinPath(run, "checkpoints")));
    // Before its first checkpoint a run cannot be resumed; it starts again.
    const bool resume = latest.checkpoint.has_value();
    if (!resume) GRAB_RETURN_IF_ERROR(RemoveAll(run));
    ending =
        RunFor(Arguments(options, run, resume), k < kills ? whole_s * rng.Uniform() : kForever);
    if (ending == Ending::kFailed) {
      return absl::InternalError(
          absl::StrCat(run, ": the run failed by itself after ", k, " kills"));
    }
    if (ending == Ending::kKilled) ++result.kills;
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<KillResult> KillAndResume(const KillOptions& options) {
  const std::string whole = JoinPath(options.work_dir, "whole");
  const Stopwatch watch;
  if (RunFor(Arguments(options, whole, false), kForever) != Ending::kDone) {
    return absl::InternalError(absl::StrCat(whole, ": the uninterrupted run failed"));
  }
  const double whole_s = watch.Seconds();
  GRAB_ASSIGN_OR_RETURN(const auto expected, Left(options, whole));
  KillResult result;
  Rng rng(options.seed);
  while (result.kills < options.kills) {
    const std::string run = JoinPath(options.work_dir, absl::StrCat("killed-", result.runs++));
    const int kills = std::min(options.kills_per_run, options.kills - result.kills);
    GRAB_RETURN_IF_ERROR(KillOne(options, run, whole_s, kills, rng, result));
    GRAB_ASSIGN_OR_RETURN(const auto left, Left(options, run));
    if (left != expected) {
      ++result.mismatches;
      for (const auto& [path, hash] : expected) {
        const auto found = left.find(path);
        if (found == left.end() || found->second != hash) {
          result.what.push_back(absl::StrCat(run, ": ", path));
        }
      }
    }
    GRAB_RETURN_IF_ERROR(RemoveAll(run));
  }
  return result;
}

}  // namespace grab::bench
