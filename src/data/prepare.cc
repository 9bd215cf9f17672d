#include "data/prepare.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/threads.h"
#include "data/block_codec.h"
#include "data/duckdb.h"
#include "data/log_query.h"
#include "data/log_views.h"
#include "data/shard.h"
#include "data/target_rule.h"
#include "data/timeline_builder.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr char kSpillName[] = "spill";
constexpr int64_t kMsPerS = 1000;

// Blocks being filled hold at most this many times block_events_max events together.
constexpr uint64_t kPendingBlocksMax = 8;
constexpr uint64_t kPendingBytesMax = kBlockBytesMax / 8;  // of one block being filled

std::string Hex(uint64_t value) { return absl::StrFormat("%016x", value); }

std::string Dump(const json& object) {
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// Of one user's rows; a data set's hash is the sum over users, whatever the shards.
uint64_t HashUser(const UserBlock& user) {
  const EventColumns& events = user.events;
  uint64_t hash = HashBytes(user.user_id[0].data(), user.user_id[0].size());
  const auto add = [&]<class T>(const std::vector<T>& values) {
    hash = HashBytes(values.data(), values.size() * sizeof(T), hash);
  };
  add(events.event_id);
  add(events.request_time_ms);
  add(events.known_time_ms);
  add(events.split);
  add(events.labels);
  add(events.labels_known);
  // Logs where every event is history need no word for it.
  const auto& history = events.history;
  if (std::find(history.begin(), history.end(), 0) != history.end()) add(history);
  return hash;
}

// Users to shards by the hash of their id, in blocks of whole users.
class ShardSink {
 public:
  ShardSink(const PrepareConfig& config, const Schema& schema, std::string dir)
      : schema_(schema),
        dir_(std::move(dir)),
        block_events_max_(static_cast<uint64_t>(config.block_events_max)),
        zstd_level_(static_cast<int>(config.zstd_level)),
        shards_(static_cast<size_t>(config.shards)) {}

  Status Open() {
    for (size_t i = 0; i < shards_.size(); ++i) {
      Shard& shard = shards_[i];
      shard.name = absl::StrFormat("shard-%04d.grab", i);
      GRAB_ASSIGN_OR_RETURN(shard.writer,
                            ShardWriter::Create(JoinPath(dir_, shard.name), schema_, zstd_level_));
      Clear(shard);
    }
    return absl::OkStatus();
  }

  Status Add(const UserBlock& user, PrepareReport& report) {
    const uint64_t n = user.events.size();
    const uint64_t bytes = DecodedBytes(schema_, user);
    Shard& shard = shards_[HashId(user.user_id[0]) % shards_.size()];
    if (shard.block.events.size() > 0 && (shard.block.events.size() + n > block_events_max_ ||
                                          shard.bytes + bytes > kPendingBytesMax)) {
      GRAB_RETURN_IF_ERROR(Write(shard));
    }
    for (size_t i = 0; i < n; ++i) AppendEvent(schema_, user.events, i, shard.block.events);
    shard.block.user_id.push_back(user.user_id[0]);
    shard.block.user_offsets.push_back(static_cast<uint32_t>(shard.block.events.size()));
    shard.bytes += bytes;
    pending_events_ += n;
    if (pending_events_ > kPendingBlocksMax * block_events_max_) {
      GRAB_RETURN_IF_ERROR(
          Write(*std::max_element(shards_.begin(), shards_.end(), [](const auto& a, const auto& b) {
            return a.block.events.size() < b.block.events.size();
          })));
    }
    ++report.users;
    report.events += n;
    for (const Split split : user.events.split) ++report.targets[static_cast<size_t>(split)];
    rows_hash_ += Mix64(HashUser(user));
    return absl::OkStatus();
  }

  Status Finish(PrepareReport& report) {
    for (Shard& shard : shards_) {
      if (shard.block.users() > 0) GRAB_RETURN_IF_ERROR(Write(shard));
      GRAB_RETURN_IF_ERROR(shard.writer->Finish());
      report.size_bytes += shard.writer->size_bytes();
    }
    report.rows_hash = Hex(rows_hash_);
    return absl::OkStatus();
  }

  Status RemoveFiles() const {
    for (const Shard& shard : shards_) {
      GRAB_RETURN_IF_ERROR(RemoveAll(JoinPath(dir_, shard.name)));
    }
    return absl::OkStatus();
  }

  json Manifest(const PrepareReport& report) const {
    json shards = json::array();
    for (const Shard& shard : shards_) {
      shards.push_back({{"file", shard.name},
                        {"size_bytes", shard.writer->size_bytes()},
                        {"checksum", Hex(shard.writer->checksum())}});
    }
    return {{"format", "grab shards"},
            {"version", kShardVersion},
            {"schema", json::parse(schema_.ToJson(), nullptr, false)},
            {"users", report.users},
            {"events", report.events},
            {"targets",
             {{"context", report.targets[0]},
              {"train", report.targets[1]},
              {"valid", report.targets[2]},
              {"test", report.targets[3]}}},
            {"rows_hash", report.rows_hash},
            {"shards", shards}};
  }

 private:
  struct Shard {
    std::string name;
    std::unique_ptr<ShardWriter> writer;
    UserBlock block;
    uint64_t bytes = 0;  // decoded, of the block
  };

  void Clear(Shard& shard) const {
    shard.block = {};
    shard.block.events = MakeColumns(schema_);
    shard.block.user_offsets = {0};
    shard.bytes = 0;
  }

  Status Write(Shard& shard) {
    GRAB_RETURN_IF_ERROR(shard.writer->Append(shard.block));
    pending_events_ -= shard.block.events.size();
    Clear(shard);
    return absl::OkStatus();
  }

  const Schema& schema_;
  std::string dir_;
  uint64_t block_events_max_;
  int zstd_level_;
  std::vector<Shard> shards_;
  uint64_t pending_events_ = 0;
  uint64_t rows_hash_ = 0;
};

json ReasonsJson(const Reasons& reasons) {
  json object = json::object();
  for (const auto& [reason, entry] : reasons.by_reason()) {
    object[reason] = {{"count", entry.count}, {"examples", entry.examples}};
  }
  return object;
}

// What a pass needs of the log; without one, all of it.
struct PassScope {
  TimeRange pass;
  TimeRange known;  // events known in it
};

struct Job {
  const Config& config;
  const std::optional<PassScope>& scope;
  const Schema& schema;
  const std::string& tmp_dir;
  Progress& progress;
  PrepareReport& report;
};

// Runs the query through builder and sink; fills the report's counts.
Status WriteShards(const Job& job, const LogQuery& query, const TargetRule& rule, DuckDb& db,
                   ShardSink& sink) {
  job.progress.Begin("read and sort the log", "%", 100);
  GRAB_ASSIGN_OR_RETURN(auto rows, db.Query(query.sql, [&](double percent) {
    job.progress.Update(static_cast<uint64_t>(percent), "");
  }));
  job.progress.End("");
  job.progress.Begin("write shards", "rows", 0);
  RowCounts counts;
  counts.rejects = Reasons(static_cast<size_t>(job.config.prepare.examples_max));
  counts.notes = Reasons(static_cast<size_t>(job.config.prepare.examples_max));
  TimelineBuilder builder(job.config, job.schema, query, rule, counts,
                          [&](UserBlock& user) { return sink.Add(user, job.report); });
  while (true) {
    GRAB_ASSIGN_OR_RETURN(const bool more, rows->Next());
    if (!more) break;
    GRAB_RETURN_IF_ERROR(builder.AddChunk(*rows));
    job.progress.Update(counts.rows, "");
  }
  GRAB_RETURN_IF_ERROR(builder.Finish());
  GRAB_RETURN_IF_ERROR(sink.Finish(job.report));
  job.report.rows_read += counts.rows;
  job.report.rejects = std::move(counts.rejects);
  job.report.notes = std::move(counts.notes);
  job.progress.End(absl::StrCat(job.report.users, " users"));
  return absl::OkStatus();
}

Status CountLeftOut(const LogQuery& query, const std::vector<LogView>& views, DuckDb& db,
                    LeftOut& left_out) {
  for (const std::string& sql : query.count_left_out) {
    GRAB_ASSIGN_OR_RETURN(auto counts, db.Query(sql));
    GRAB_ASSIGN_OR_RETURN(const bool has_row, counts->Next());
    GRAB_CHECK(has_row && counts->columns() == 3);
    left_out.before += static_cast<uint64_t>(counts->column(0).Get<int64_t>(0));
    left_out.after += static_cast<uint64_t>(counts->column(1).Get<int64_t>(0));
    left_out.untimed += static_cast<uint64_t>(counts->column(2).Get<int64_t>(0));
  }
  for (const LogView& view : views) {
    if (view.count_hidden.empty()) continue;
    GRAB_ASSIGN_OR_RETURN(const int64_t hidden, db.QueryInt64(view.count_hidden));
    left_out.hidden += static_cast<uint64_t>(hidden);
  }
  return absl::OkStatus();
}

// What never reached the query: filtered rows, those out of range and unreadable lines.
Status CountUnseen(const Job& job, const LogQuery& query, const std::vector<LogView>& views,
                   DuckDb& db) {
  GRAB_RETURN_IF_ERROR(CountLeftOut(query, views, db, job.report.left_out));
  for (const std::string& sql : query.count_filtered) {
    GRAB_ASSIGN_OR_RETURN(const int64_t filtered, db.QueryInt64(sql));
    job.report.rows_filtered += static_cast<uint64_t>(filtered);
  }
  const uint64_t before = job.report.rejects.total();
  GRAB_RETURN_IF_ERROR(CountBadLines(job.config, db, job.report.rejects));
  job.report.rows_read += job.report.rows_filtered + (job.report.rejects.total() - before);
  return absl::OkStatus();
}

// The report must be written before: a failure names it.
Status CheckRejects(const Job& job, const std::string& report_path) {
  const PrepareReport& report = job.report;
  const double bad = static_cast<double>(report.rejects.total());
  const double allowed = job.config.prepare.bad_fraction_max;
  // Unreadable lines have no time: they are those of the whole log, and held against it.
  const uint64_t rows = report.rows_read + report.left_out.total();
  if (bad > allowed * static_cast<double>(rows)) {
    const auto& reasons = report.rejects.by_reason();
    const auto worst = std::max_element(
        reasons.begin(), reasons.end(),
        [](const auto& a, const auto& b) { return a.second.count < b.second.count; });
    return absl::InvalidArgumentError(absl::StrCat(
        report.rejects.total(), " of ", rows, " rows cannot be used, more than ", allowed,
        " of them (prepare.bad_fraction_max); most often: ", worst->first, " (",
        worst->second.count, " times",
        worst->second.examples.empty() ? "" : absl::StrCat(", as ", worst->second.examples[0]),
        "); all are in ", report_path));
  }
  if (report.events == 0 && !job.scope.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no row became an event; what happened to them is in ", report_path));
  }
  return absl::OkStatus();
}

// `temp_dir`: where it spills unless prepare.temp_dir says otherwise; empty: spilling is an error.
StatusOr<std::unique_ptr<DuckDb>> OpenDatabase(const PrepareConfig& config,
                                               const std::string& temp_dir) {
  DuckDb::Options options;
  options.memory_limit_mb = config.memory_limit_mb;
  options.threads = config.threads > 0 ? config.threads : DefaultThreads();
  options.temp_dir = config.temp_dir.empty() ? temp_dir : config.temp_dir;
  GRAB_ASSIGN_OR_RETURN(auto db, DuckDb::Open(options));
  // It would take a failing cast that two expressions share out of the TRY that makes it a NULL.
  GRAB_RETURN_IF_ERROR(db->Execute("SET disabled_optimizers = 'common_subexpressions'"));
  return db;
}

template <class T>
std::optional<T> OfScope(const std::optional<PassScope>& scope, T PassScope::*member) {
  return scope.has_value() ? std::optional<T>((*scope).*member) : std::nullopt;
}

Status RunJob(const Job& job, ShardSink& sink) {
  const std::optional<TimeRange> pass = OfScope(job.scope, &PassScope::pass);
  GRAB_ASSIGN_OR_RETURN(const TargetRule rule, TargetRule::Create(job.config, pass));
  GRAB_ASSIGN_OR_RETURN(auto db,
                        OpenDatabase(job.config.prepare, JoinPath(job.tmp_dir, kSpillName)));
  const auto end_ms = pass.has_value() ? std::optional<int64_t>(pass->to_ms) : std::nullopt;
  GRAB_ASSIGN_OR_RETURN(const auto views, CreateLogViews(job.config, end_ms, *db));
  GRAB_ASSIGN_OR_RETURN(
      const LogQuery query,
      BuildLogQuery(job.config, job.schema, views, OfScope(job.scope, &PassScope::known), *db));
  GRAB_RETURN_IF_ERROR(sink.Open());
  GRAB_RETURN_IF_ERROR(WriteShards(job, query, rule, *db, sink));
  return CountUnseen(job, query, views, *db);
}

StatusOr<PrepareReport> PrepareScope(const Config& config, const std::optional<PassScope>& scope,
                                     const std::string& out_dir, Progress& progress) {
  if (Exists(out_dir)) {
    return absl::AlreadyExistsError(absl::StrCat(
        out_dir, ": already exists; remove it to prepare again, or name another folder"));
  }
  const Stopwatch watch;
  GRAB_ASSIGN_OR_RETURN(const Schema schema, Schema::FromConfig(config));
  const std::string tmp_dir = out_dir + ".tmp";
  GRAB_RETURN_IF_ERROR(RemoveAll(tmp_dir));
  GRAB_RETURN_IF_ERROR(MakeDirectories(tmp_dir));
  PrepareReport report;
  ShardSink sink(config.prepare, schema, tmp_dir);
  const Job job = {config, scope, schema, tmp_dir, progress, report};
  const Status done = RunJob(job, sink);
  if (!done.ok()) {
    GRAB_RETURN_IF_ERROR(RemoveAll(tmp_dir));
    return done;
  }
  GRAB_RETURN_IF_ERROR(RemoveAll(JoinPath(tmp_dir, kSpillName)));
  report.wall_s = watch.Seconds();
  const std::string report_path = JoinPath(tmp_dir, kReportName);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(report_path, report.ToJson()));
  const Status usable = CheckRejects(job, report_path);
  if (!usable.ok()) {
    GRAB_RETURN_IF_ERROR(sink.RemoveFiles());
    return usable;
  }
  GRAB_RETURN_IF_ERROR(
      WriteFileDurably(JoinPath(tmp_dir, kManifestName), Dump(sink.Manifest(report))));
  GRAB_RETURN_IF_ERROR(CommitDirectory(tmp_dir, out_dir));
  return report;
}

}  // namespace

std::string PrepareReport::ToJson() const {
  const json object = {{"rows_read", rows_read},
                       {"rows_filtered", rows_filtered},
                       {"rows_left_out",
                        {{"before", left_out.before},
                         {"after", left_out.after},
                         {"untimed", left_out.untimed},
                         {"hidden", left_out.hidden}}},
                       {"rows_rejected", rejects.total()},
                       {"rejects", ReasonsJson(rejects)},
                       {"notes", ReasonsJson(notes)},
                       {"users", users},
                       {"events", events},
                       {"targets",
                        {{"context", targets[0]},
                         {"train", targets[1]},
                         {"valid", targets[2]},
                         {"test", targets[3]}}},
                       {"rows_hash", rows_hash},
                       {"size_bytes", size_bytes},
                       {"wall_s", wall_s}};
  return Dump(object);
}

StatusOr<PrepareReport> Prepare(const Config& config, const std::string& out_dir,
                                Progress& progress) {
  return PrepareScope(config, std::nullopt, out_dir, progress);
}

TimeRange KnownRange(const Config& config, const TimeRange& pass, int64_t context_ms) {
  GRAB_CHECK(pass.from_ms < pass.to_ms && context_ms >= 0);
  int64_t delay_s = 0;
  for (const TaskConfig& task : config.tasks) delay_s = std::max(delay_s, task.delay_s);
  const int64_t oldest_ms = pass.from_ms - delay_s * kMsPerS - context_ms;
  return {context_ms == 0 ? 0 : oldest_ms, pass.to_ms};
}

StatusOr<PrepareReport> PrepareRange(const Config& config, const TimeRange& pass,
                                     int64_t context_ms, const std::string& out_dir,
                                     Progress& progress) {
  if (config.prepare.permute_feedback != 0) {
    return absl::InvalidArgumentError(
        "prepare.permute_feedback: permutes a whole log, not passes over one that grows; expected "
        "0");
  }
  for (const EventsConfig& events : config.events) {
    if (!events.event_id.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("[[events]] ", events.name,
                     ": event_id is missing; passes over a log that grows know events by it"));
  }
  const PassScope scope = {pass, KnownRange(config, pass, context_ms)};
  return PrepareScope(config, scope, out_dir, progress);
}

StatusOr<std::optional<int64_t>> LogEnd(const Config& config, int64_t from_ms) {
  GRAB_ASSIGN_OR_RETURN(auto db, OpenDatabase(config.prepare, ""));
  GRAB_RETURN_IF_ERROR(CreateLogViews(config, std::nullopt, *db).status());
  GRAB_ASSIGN_OR_RETURN(const std::string sql, NewestRequestSql(config, from_ms, *db));
  GRAB_ASSIGN_OR_RETURN(auto query, db->Query(sql));
  GRAB_ASSIGN_OR_RETURN(const bool has_row, query->Next());
  GRAB_CHECK(has_row && query->type(0) == DUCKDB_TYPE_BIGINT);
  if (!query->column(0).valid(0)) return std::optional<int64_t>();
  return std::optional<int64_t>(query->column(0).Get<int64_t>(0));
}

}  // namespace grab
