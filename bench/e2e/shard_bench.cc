// Size and decode speed of shards against gzip CSV and Parquet (Zstd) of the same sorted rows and
// stored columns.
//
//   shard_bench CONFIG DATA_DIR [REPETITIONS]
//
// Every format is read whole on one thread, files in the page cache: shards into UserBlocks, the
// others by DuckDB into its column chunks, which are then dropped. CSV and Parquet hold ids as the
// log has them, shards as 64-bit keys.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/file.h"
#include "config/config.h"
#include "data/duckdb.h"
#include "data/log_query.h"
#include "data/log_views.h"
#include "data/prepare.h"
#include "data/shard.h"

namespace grab {
namespace {

struct Format {
  std::string name;
  std::string path;
  std::function<StatusOr<uint64_t>()> decode;  // rows
};

StatusOr<double> MedianSeconds(const Format& format, int repetitions) {
  std::vector<double> seconds;
  for (int i = 0; i < repetitions; ++i) {
    const Stopwatch watch;
    GRAB_RETURN_IF_ERROR(format.decode().status());
    seconds.push_back(watch.Seconds());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

uint64_t SizeBytes(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return std::filesystem::file_size(path);
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".grab") bytes += entry.file_size();
  }
  return bytes;
}

StatusOr<uint64_t> DecodeShards(const std::string& dir) {
  GRAB_ASSIGN_OR_RETURN(const auto set, ShardSet::Open(dir));
  uint64_t rows = 0;
  for (const ShardSet::BlockRef& ref : set->blocks()) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, set->Read(ref));
    rows += block.events.size();
  }
  return rows;
}

StatusOr<uint64_t> DecodeSql(DuckDb& db, const std::string& relation) {
  GRAB_ASSIGN_OR_RETURN(auto query, db.Query("SELECT * FROM " + relation));
  uint64_t rows = 0;
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const bool more, query->Next());
    if (!more) return rows;
    rows += query->rows();
  }
}

// The rows that Prepare turns into shards, as CSV and Parquet; returns read_csv with their exact
// types.
StatusOr<std::string> Export(const Config& config, DuckDb& db, const std::string& csv,
                             const std::string& parquet) {
  GRAB_ASSIGN_OR_RETURN(const Schema schema, Schema::FromConfig(config));
  GRAB_ASSIGN_OR_RETURN(const auto views, CreateLogViews(config, std::nullopt, db));
  GRAB_ASSIGN_OR_RETURN(const LogQuery query,
                        BuildLogQuery(config, schema, views, std::nullopt, db));
  // Not stored: what only finds duplicates and ties.
  std::vector<std::string> helpers;
  if (query.duplicate >= 0) helpers.push_back("grab_duplicate");
  if (query.order >= 0) helpers.push_back("grab_tie");
  const std::string rows = absl::StrCat(
      "SELECT *",
      helpers.empty() ? "" : absl::StrCat(" EXCLUDE (", absl::StrJoin(helpers, ", "), ")"),
      " FROM (", query.sql, ")");
  GRAB_RETURN_IF_ERROR(db.Execute(
      absl::StrCat("COPY (", rows, ") TO ", SqlString(csv), " (FORMAT csv, COMPRESSION gzip)")));
  GRAB_RETURN_IF_ERROR(db.Execute(absl::StrCat("COPY (", rows, ") TO ", SqlString(parquet),
                                               " (FORMAT parquet, COMPRESSION zstd)")));
  GRAB_ASSIGN_OR_RETURN(auto types,
                        db.Query(absl::StrCat("SELECT column_name, column_type FROM (DESCRIBE ",
                                              "SELECT * FROM ", SqlString(parquet), ")")));
  std::vector<std::string> columns;
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const bool more, types->Next());
    if (!more) break;
    for (uint64_t row = 0; row < types->rows(); ++row) {
      columns.push_back(absl::StrCat(SqlString(types->column(0).GetString(row)), ": ",
                                     SqlString(types->column(1).GetString(row))));
    }
  }
  return absl::StrCat("read_csv(", SqlString(csv), ", header = true, auto_detect = false, delim = ",
                      "',', quote = '\"', escape = '\"', columns = {", absl::StrJoin(columns, ", "),
                      "})");
}

Status Run(const std::string& config_path, const std::string& data_dir, int repetitions) {
  GRAB_ASSIGN_OR_RETURN(Config config, LoadConfig(config_path, {}));
  config.data_dir = data_dir;
  std::string dir = (std::filesystem::temp_directory_path() / "shard_bench_XXXXXX").string();
  if (::mkdtemp(dir.data()) == nullptr) return FileError(dir, "create the folder", errno);
  const std::string shards = JoinPath(dir, "shards");
  const std::string csv = JoinPath(dir, "rows.csv.gz");
  const std::string parquet = JoinPath(dir, "rows.parquet");
  GRAB_ASSIGN_OR_RETURN(const PrepareReport report, Prepare(config, shards, NoProgress()));
  GRAB_ASSIGN_OR_RETURN(auto db, DuckDb::Open({4096, 1, JoinPath(dir, "spill")}));
  GRAB_ASSIGN_OR_RETURN(const std::string read_csv, Export(config, *db, csv, parquet));
  const Format formats[] = {
      {"gzip CSV", csv, [&] { return DecodeSql(*db, read_csv); }},
      {"Parquet", parquet, [&] { return DecodeSql(*db, SqlString(parquet)); }},
      {"shards", shards, [&] { return DecodeShards(shards); }},
  };
  std::printf("%s: %lu events of %lu users, medians of %d\n", config.name.c_str(), report.events,
              report.users, repetitions);
  std::printf("%-10s %12s %10s %12s %10s %14s\n", "format", "bytes", "size", "decode ms", "time",
              "rows/s");
  double csv_seconds = 0;
  for (const Format& format : formats) {
    GRAB_ASSIGN_OR_RETURN(const uint64_t rows, format.decode());
    GRAB_ASSIGN_OR_RETURN(const double seconds, MedianSeconds(format, repetitions));
    if (csv_seconds == 0) csv_seconds = seconds;
    const double size = static_cast<double>(SizeBytes(format.path));
    std::printf("%-10s %12.0f %+9.1f%% %12.1f %+9.1f%% %14.0f\n", format.name.c_str(), size,
                (size / static_cast<double>(SizeBytes(csv)) - 1) * 100, seconds * 1e3,
                (seconds / csv_seconds - 1) * 100, static_cast<double>(rows) / seconds);
  }
  return RemoveAll(dir);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) {
  int repetitions = 7;
  if (argc < 3 || argc > 4 || (argc == 4 && !absl::SimpleAtoi(argv[3], &repetitions)) ||
      repetitions < 1) {
    std::fprintf(stderr, "usage: shard_bench CONFIG DATA_DIR [REPETITIONS]\n");
    return 2;
  }
  const grab::Status status = grab::Run(argv[1], argv[2], repetitions);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
