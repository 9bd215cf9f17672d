// grab inspect
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/text_table.h"
#include "data/shard.h"

namespace grab {
namespace {

struct Options {
  std::string path;
  std::string user;
};

// A prepared folder or a single shard file, seen alike.
struct Blocks {
  std::vector<std::unique_ptr<ShardReader>> readers;
  std::unique_ptr<ShardSet> set;  // of a folder: its manifest has been checked
  uint64_t size_bytes = 0;

  const Schema& schema() const { return readers[0]->schema(); }
};

StatusOr<Blocks> OpenBlocks(const std::string& path) {
  Blocks blocks;
  std::vector<std::string> files = {path};
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    GRAB_ASSIGN_OR_RETURN(blocks.set, ShardSet::Open(path));
    GRAB_ASSIGN_OR_RETURN(files, ListDirectory(path));
    std::erase_if(files, [](const std::string& name) { return !absl::EndsWith(name, ".grab"); });
    for (std::string& file : files) file = JoinPath(path, file);
  }
  for (const std::string& file : files) {
    GRAB_ASSIGN_OR_RETURN(const auto raw, RandomAccessFile::Open(file));
    blocks.size_bytes += raw->size_bytes();
    GRAB_ASSIGN_OR_RETURN(auto reader, ShardReader::Open(file));
    blocks.readers.push_back(std::move(reader));
  }
  return blocks;
}

std::string TimeText(int64_t time_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(time_ms),
                          absl::UTCTimeZone());
}

std::string KeyText(uint64_t key) { return key == 0 ? "-" : absl::StrFormat("%016x", key); }

// Names of the bits that are set; "?" and a name where a bit is not known.
std::string BitsText(const std::vector<std::string>& names, uint32_t bits, uint32_t known) {
  std::vector<std::string> words;
  for (size_t i = 0; i < names.size(); ++i) {
    const uint32_t bit = uint32_t{1} << i;
    if ((known & bit) == 0) {
      words.push_back("?" + names[i]);
    } else if ((bits & bit) != 0) {
      words.push_back(names[i]);
    }
  }
  return words.empty() ? "-" : absl::StrJoin(words, ",");
}

std::string FieldText(const FieldSchema& schema, const FieldColumn& column, size_t i) {
  constexpr uint32_t kFloatsShownMax = 4;
  std::vector<std::string> parts;
  switch (schema.kind) {
    case FieldKind::kId:
      return KeyText(column.ids[i]);
    case FieldKind::kNumber:
      return std::isnan(column.numbers[i]) ? "-" : absl::StrFormat("%g", column.numbers[i]);
    case FieldKind::kIds:
      for (uint32_t k = column.offsets[i]; k < column.offsets[i + 1]; ++k) {
        parts.push_back(KeyText(column.ids[k]) +
                        (schema.weighted ? absl::StrFormat("*%g", column.numbers[k]) : ""));
      }
      return parts.empty() ? "-" : absl::StrJoin(parts, ",");
    case FieldKind::kDense:
      if (std::isnan(column.numbers[i * schema.width])) return "-";
      for (uint32_t k = 0; k < std::min(schema.width, kFloatsShownMax); ++k) {
        parts.push_back(absl::StrFormat("%.3g", column.numbers[i * schema.width + k]));
      }
      if (schema.width > kFloatsShownMax) parts.push_back("...");
      return absl::StrCat("(", absl::StrJoin(parts, ","), ")");
  }
  return "";
}

void PrintSummary(const std::string& path, const Blocks& blocks) {
  uint64_t users = 0, events = 0, blocks_count = 0;
  uint64_t targets[4] = {0, 0, 0, 0};
  int64_t first_ms = std::numeric_limits<int64_t>::max();
  int64_t last_ms = std::numeric_limits<int64_t>::min();
  for (const auto& reader : blocks.readers) {
    for (const BlockInfo& block : reader->blocks()) {
      ++blocks_count;
      users += block.users;
      events += block.events;
      for (size_t s = 0; s < 4; ++s) targets[s] += block.targets[s];
      first_ms = std::min(first_ms, block.request_time_min_ms);
      last_ms = std::max(last_ms, block.request_time_max_ms);
    }
  }
  std::printf(
      "%s: %zu shards, %" PRIu64 " blocks, %" PRIu64 " users, %" PRIu64
      " events, %s bytes (%.1f per event)\n",
      path.c_str(), blocks.readers.size(), blocks_count, users, events,
      HumanCount(static_cast<double>(blocks.size_bytes)).c_str(),
      events == 0 ? 0.0 : static_cast<double>(blocks.size_bytes) / static_cast<double>(events));
  for (size_t s = 0; s < 4; ++s) {
    std::printf("  %-8s %" PRIu64 "\n", kSplitNames[s], targets[s]);
  }
  if (events > 0) {
    std::printf("  requests from %s to %s\n", TimeText(first_ms).c_str(),
                TimeText(last_ms).c_str());
  }
  if (blocks.set != nullptr) std::printf("  rows hash %s\n", blocks.set->rows_hash().c_str());
  const Schema& schema = blocks.schema();
  std::printf("  %zu fields, actions %s, tasks %s\n", schema.fields.size(),
              absl::StrJoin(schema.actions, " ").c_str(), absl::StrJoin(schema.tasks, " ").c_str());
}

void PrintUser(const Schema& schema, const UserBlock& block, size_t user) {
  std::vector<std::vector<std::string>> rows = {{"request", "known_after_s", "split", "history",
                                                 "event_id", "page", "session", "actions",
                                                 "labels"}};
  for (const FieldSchema& field : schema.fields) rows[0].push_back(field.name);
  const EventColumns& events = block.events;
  for (size_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
    const double known_after_s =
        static_cast<double>(events.known_time_ms[i] - events.request_time_ms[i]) / 1000.0;
    std::vector<std::string>& row = rows.emplace_back();
    row = {TimeText(events.request_time_ms[i]),
           absl::StrFormat("%.3f", known_after_s),
           SplitName(events.split[i]),
           events.history[i] != 0 ? "yes" : "no",
           KeyText(events.event_id[i]),
           KeyText(events.page_id[i]),
           KeyText(events.session_id[i]),
           BitsText(schema.actions, events.actions[i], events.actions_known[i]),
           BitsText(schema.tasks, events.labels[i], events.labels_known[i])};
    for (size_t f = 0; f < schema.fields.size(); ++f) {
      row.push_back(FieldText(schema.fields[f], events.fields[f], i));
    }
  }
  std::fputs(TextTable(rows).c_str(), stdout);
}

Status Inspect(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const Blocks blocks, OpenBlocks(options.path));
  if (options.user.empty()) {
    PrintSummary(options.path, blocks);
    return absl::OkStatus();
  }
  for (const auto& reader : blocks.readers) {
    for (size_t b = 0; b < reader->blocks().size(); ++b) {
      GRAB_ASSIGN_OR_RETURN(const UserBlock block, reader->Read(b));
      for (size_t user = 0; user < block.users(); ++user) {
        if (block.user_id[user] != options.user) continue;
        PrintUser(reader->schema(), block, user);
        return absl::OkStatus();
      }
    }
  }
  return absl::NotFoundError(absl::StrCat(options.path, ": there is no user '", options.user, "'"));
}

}  // namespace

void AddInspect(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("inspect", "Show what shards hold");
  sub->add_option("path", options->path, "Folder written by grab prepare, or one shard file")
      ->required();
  sub->add_option("--user", options->user, "Show this user's events; ids are their hashes, in hex")
      ->type_name("ID");
  sub->footer(
      "Examples:\n"
      "  grab inspect runs/demo/shards\n"
      "  grab inspect runs/demo/shards --user 42");
  sub->callback([&command, options] { command = [options] { return Inspect(*options); }; });
}

}  // namespace grab
