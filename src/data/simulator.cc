#include "data/simulator.h"

#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "data/duckdb.h"
#include "data/world_ads.h"
#include "data/world_user.h"

namespace grab {
namespace {

constexpr double kWorldAdsMax = 2e6;
constexpr int64_t kMemoryLimitMb = 1024;
constexpr uint64_t kUsersPerUpdate = 64;

// A table that is filled by an appender and written to one Parquet file per chunk.
struct TableSpec {
  const char* name;     // also the folder
  const char* columns;  // of the table
  const char* select;   // of the file
};
enum Table { kImpressions, kConversions, kTruth, kUsers, kTables };
constexpr std::array<TableSpec, kTables> kTableSpecs = {{
    {"impressions",
     "event_id BIGINT, user_id BIGINT, session_id BIGINT, page_id BIGINT, ad_id BIGINT, "
     "request_time_ms BIGINT, known_time_ms BIGINT, position INTEGER, clicked BOOLEAN, "
     "dwell_s FLOAT",
     "*"},
    {"conversions",
     "event_id BIGINT, impression_event_id BIGINT, user_id BIGINT, ad_id BIGINT, "
     "click_time_ms BIGINT, time_ms BIGINT",
     "*"},
    {"truth", "event_id BIGINT, click_probability DOUBLE, convert_probability DOUBLE", "*"},
    {"users", "user_id BIGINT, age INTEGER, gender INTEGER, region INTEGER, device INTEGER", "*"},
}};
// Lists go through the appender as text.
constexpr TableSpec kAdsSpec = {
    "ads",
    "ad_id BIGINT, born_ms BIGINT, dies_ms BIGINT, advertiser INTEGER, category INTEGER, "
    "price_bucket INTEGER, topic INTEGER, topics VARCHAR, topic_weights VARCHAR, tags VARCHAR, "
    "tag_weights VARCHAR, creative VARCHAR",
    "ad_id, born_ms, dies_ms, advertiser, category, price_bucket, topic, "
    "topics::INTEGER[] AS topics, topic_weights::FLOAT[] AS topic_weights, "
    "tags::INTEGER[] AS tags, tag_weights::FLOAT[] AS tag_weights, "
    "creative::FLOAT[] AS creative"};

struct Counts {
  int64_t users_active = 0;
  int64_t pages = 0;
  int64_t pages_without_ads = 0;
  int64_t impressions = 0;
  int64_t clicks = 0;
  int64_t conversions = 0;
  int64_t conversions_after_end = 0;
};

Status CreateTable(DuckDb& db, const TableSpec& spec) {
  return db.Execute(absl::StrCat("CREATE OR REPLACE TABLE ", spec.name, " (", spec.columns, ")"));
}

Status WriteTable(DuckDb& db, const TableSpec& spec, const std::string& path) {
  return db.Execute(absl::StrCat("COPY (SELECT ", spec.select, " FROM ", spec.name, ") TO ",
                                 SqlString(path), " (FORMAT parquet, COMPRESSION zstd)"));
}

// The chunked tables: rows go in, files of at most chunk_rows impressions (and one page) come out.
class WorldWriter {
 public:
  WorldWriter(DuckDb& db, std::string dir, int64_t chunk_rows)
      : db_(db), dir_(std::move(dir)), chunk_rows_(chunk_rows) {}

  Status Start() {
    for (const TableSpec& spec : kTableSpecs) {
      GRAB_RETURN_IF_ERROR(MakeDirectories(JoinPath(dir_, spec.name)));
    }
    return OpenChunk();
  }

  Status AddUser(int64_t user, const UserColumns& columns) {
    DuckAppender& row = *appenders_[kUsers];
    row.Append(user);
    for (const int value : {columns.age, columns.gender, columns.region, columns.device}) {
      row.Append(int32_t{value});
    }
    ++rows_;
    return row.EndRow();
  }

  Status AddImpression(int64_t user, const Impression& impression) {
    DuckAppender& row = *appenders_[kImpressions];
    row.Append(impression.event_id);
    row.Append(user);
    for (const int64_t value : {impression.session_id, impression.page_id, impression.ad,
                                impression.request_time_ms, impression.known_time_ms}) {
      row.Append(value);
    }
    row.Append(int32_t{impression.position});
    row.Append(impression.clicked);
    row.Append(static_cast<float>(impression.dwell_s));
    GRAB_RETURN_IF_ERROR(row.EndRow());
    DuckAppender& truth = *appenders_[kTruth];
    truth.Append(impression.event_id);
    truth.Append(impression.click_probability);
    truth.Append(impression.convert_probability);
    ++rows_;
    return truth.EndRow();
  }

  Status AddConversion(int64_t user, const Conversion& conversion) {
    DuckAppender& row = *appenders_[kConversions];
    for (const int64_t value : {conversion.event_id, conversion.impression_event_id, user,
                                conversion.ad, conversion.click_time_ms, conversion.time_ms}) {
      row.Append(value);
    }
    return row.EndRow();
  }

  // Between pages: writes the chunk when it is full.
  Status EndPage() {
    if (rows_ < chunk_rows_) return absl::OkStatus();
    GRAB_RETURN_IF_ERROR(WriteChunk());
    return OpenChunk();
  }

  // Writes the last chunk, also an empty one if it is the first: a reader's glob then finds a file.
  Status Finish() { return rows_ > 0 || chunks_ == 0 ? WriteChunk() : CloseAppenders(); }

 private:
  Status OpenChunk() {
    rows_ = 0;
    for (size_t i = 0; i < kTables; ++i) {
      GRAB_RETURN_IF_ERROR(CreateTable(db_, kTableSpecs[i]));
      GRAB_ASSIGN_OR_RETURN(appenders_[i], db_.Append(kTableSpecs[i].name));
    }
    return absl::OkStatus();
  }

  Status CloseAppenders() {
    for (auto& appender : appenders_) {
      GRAB_RETURN_IF_ERROR(appender->Close());
      appender.reset();
    }
    return absl::OkStatus();
  }

  Status WriteChunk() {
    GRAB_RETURN_IF_ERROR(CloseAppenders());
    const std::string file = absl::StrFormat("part-%05d.parquet", chunks_++);
    for (const TableSpec& spec : kTableSpecs) {
      GRAB_RETURN_IF_ERROR(WriteTable(db_, spec, JoinPath(JoinPath(dir_, spec.name), file)));
    }
    return absl::OkStatus();
  }

  DuckDb& db_;
  std::string dir_;
  int64_t chunk_rows_;
  int64_t rows_ = 0;  // impressions and users of the open chunk
  int64_t chunks_ = 0;
  std::array<std::unique_ptr<DuckAppender>, kTables> appenders_;
};

// A visitor of SimulateConfig: the ranges declared there hold for callers without a config file
// too.
struct RangeChecker {
  Status status;

  template <class T>
  void Setting(const char* key, const T& value, const char* /*help*/, const Constraint& range) {
    const auto number = static_cast<double>(value);
    if (!status.ok() || (number >= range.min && number <= range.max)) return;
    status = absl::InvalidArgumentError(absl::StrCat("simulate.", key, ": expected ", range.min,
                                                     " to ", range.max, ", got ", value));
  }
};

Status CheckConfig(SimulateConfig config) {
  RangeChecker checker;
  config.Visit(checker);
  GRAB_RETURN_IF_ERROR(checker.status);
  if (config.ads_per_day * config.days > kWorldAdsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("simulate.ads_per_day * simulate.days: expected at most ", kWorldAdsMax,
                     " ads, got ", config.ads_per_day * config.days));
  }
  return absl::OkStatus();
}

// "[1, 2.5]" with enough digits for a float to survive.
template <class Values>
std::string ListText(const Values& values, int count) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    texts.push_back(absl::StrFormat("%.9g", values[i]));
  }
  return absl::StrCat("[", absl::StrJoin(texts, ","), "]");
}

Status WriteAds(DuckDb& db, const AdCatalogue& catalogue, const std::string& dir) {
  GRAB_RETURN_IF_ERROR(CreateTable(db, kAdsSpec));
  GRAB_ASSIGN_OR_RETURN(auto row, db.Append(kAdsSpec.name));
  int64_t id = 0;
  for (const Ad& ad : catalogue.ads()) {
    row->Append(id++);
    row->Append(ad.born_ms);
    row->Append(ad.dies_ms);
    for (const int value : {ad.advertiser, ad.category, ad.price_bucket, ad.topics[0]}) {
      row->Append(int32_t{value});
    }
    row->Append(ListText(ad.topics, 2));
    row->Append(ListText(ad.topic_weights, 2));
    row->Append(ListText(ad.tags, ad.tag_count));
    row->Append(ListText(ad.tag_weights, ad.tag_count));
    row->Append(ListText(ad.creative, kCreativeWidth));
    GRAB_RETURN_IF_ERROR(row->EndRow());
  }
  GRAB_RETURN_IF_ERROR(row->Close());
  GRAB_RETURN_IF_ERROR(WriteTable(db, kAdsSpec, JoinPath(dir, "ads.parquet")));
  return db.Execute("DROP TABLE ads");
}

Status WriteUser(const SimulateConfig& config, int64_t user, const AdCatalogue& catalogue,
                 WorldWriter& writer, Counts& counts) {
  const int64_t end_ms = kWorldStartMs + static_cast<int64_t>(config.days * kDayMs);
  UserWalk walk(static_cast<uint64_t>(config.seed), static_cast<uint64_t>(user),
                config.sessions_per_day, config.days, catalogue);
  GRAB_RETURN_IF_ERROR(writer.AddUser(user, walk.columns()));
  std::vector<Impression> page;
  std::vector<Conversion> conversions;
  const int64_t impressions_before = counts.impressions;
  while (walk.NextPage(page, conversions)) {
    ++counts.pages;
    if (page.empty()) ++counts.pages_without_ads;
    for (const Impression& impression : page) {
      GRAB_RETURN_IF_ERROR(writer.AddImpression(user, impression));
      ++counts.impressions;
      if (impression.clicked) ++counts.clicks;
    }
    for (const Conversion& conversion : conversions) {
      if (conversion.time_ms >= end_ms) {
        ++counts.conversions_after_end;
        continue;
      }
      GRAB_RETURN_IF_ERROR(writer.AddConversion(user, conversion));
      ++counts.conversions;
    }
    GRAB_RETURN_IF_ERROR(writer.EndPage());
  }
  if (counts.impressions > impressions_before) ++counts.users_active;
  return writer.EndPage();
}

std::string WorldJson(const SimulateConfig& config, int64_t ads, const Counts& counts) {
  nlohmann::ordered_json json;
  json["format"] = 1;
  json["settings"] = {{"seed", config.seed},
                      {"users", config.users},
                      {"days", config.days},
                      {"ads_per_day", config.ads_per_day},
                      {"sessions_per_day", config.sessions_per_day},
                      {"chunk_rows", config.chunk_rows}};
  json["start_ms"] = kWorldStartMs;
  json["end_ms"] = kWorldStartMs + static_cast<int64_t>(config.days * kDayMs);
  json["counts"] = {{"ads", ads},
                    {"users", config.users},
                    {"users_active", counts.users_active},
                    {"pages", counts.pages},
                    {"pages_without_ads", counts.pages_without_ads},
                    {"impressions", counts.impressions},
                    {"clicks", counts.clicks},
                    {"conversions", counts.conversions},
                    {"conversions_after_end", counts.conversions_after_end}};
  return json.dump(2) + "\n";
}

// Everything but world.json, into the existing folder `dir`.
StatusOr<std::string> WriteWorld(const SimulateConfig& config, const std::string& dir,
                                 Progress& progress) {
  const std::string spill_dir = JoinPath(dir, ".spill");
  Counts counts;
  const AdCatalogue catalogue(static_cast<uint64_t>(config.seed), config.ads_per_day, config.days);
  {
    GRAB_ASSIGN_OR_RETURN(
        auto db,
        DuckDb::Open({.memory_limit_mb = kMemoryLimitMb, .threads = 1, .temp_dir = spill_dir}));
    GRAB_RETURN_IF_ERROR(WriteAds(*db, catalogue, dir));
    WorldWriter writer(*db, dir, config.chunk_rows);
    GRAB_RETURN_IF_ERROR(writer.Start());
    for (int64_t user = 0; user < config.users; ++user) {
      GRAB_RETURN_IF_ERROR(WriteUser(config, user, catalogue, writer, counts));
      if (static_cast<uint64_t>(user) % kUsersPerUpdate == 0) {
        progress.Update(static_cast<uint64_t>(user), "");
      }
    }
    GRAB_RETURN_IF_ERROR(writer.Finish());
  }
  GRAB_RETURN_IF_ERROR(RemoveAll(spill_dir));
  return WorldJson(config, std::ssize(catalogue.ads()), counts);
}

}  // namespace

Status Simulate(const SimulateConfig& config, const std::string& dir, Progress& progress) {
  GRAB_RETURN_IF_ERROR(CheckConfig(config));
  if (Exists(dir)) {
    return absl::AlreadyExistsError(
        absl::StrCat(dir, ": already exists; remove it or name another folder"));
  }
  const std::string tmp_dir = absl::StrCat(dir, ".tmp");
  GRAB_RETURN_IF_ERROR(RemoveAll(tmp_dir));
  GRAB_RETURN_IF_ERROR(MakeDirectories(tmp_dir));
  progress.Begin("simulate", "users", static_cast<uint64_t>(config.users));
  auto world = WriteWorld(config, tmp_dir, progress);
  progress.End("");
  if (!world.ok()) return world.status();
  GRAB_RETURN_IF_ERROR(WriteFileDurably(JoinPath(tmp_dir, "world.json"), *world));
  return CommitDirectory(tmp_dir, dir);
}

StatusOr<double> TrueAuc(const std::string& dir, int64_t from_ms, int64_t to_ms) {
  if (!Exists(JoinPath(dir, "world.json"))) {
    return absl::NotFoundError(
        absl::StrCat(dir, ": expected a folder written by simulate, found no world.json"));
  }
  GRAB_ASSIGN_OR_RETURN(auto db, DuckDb::Open({.memory_limit_mb = kMemoryLimitMb,
                                               .threads = 1,
                                               .temp_dir = JoinPath(dir, ".spill")}));
  // Mann-Whitney over groups of equal probability; all sums are exact integers up to the last cast.
  const std::string sql = absl::StrCat(
      "WITH groups AS (SELECT click_probability AS p, count(*) FILTER (clicked) AS positives, ",
      "count(*) FILTER (NOT clicked) AS negatives FROM read_parquet(",
      SqlString(JoinPath(dir, "impressions/*.parquet")), ") LEFT JOIN read_parquet(",
      SqlString(JoinPath(dir, "truth/*.parquet")),
      ") USING (event_id) WHERE request_time_ms >= ", from_ms, " AND request_time_ms < ", to_ms,
      " GROUP BY p), ranked AS (SELECT *, coalesce(sum(negatives) OVER (ORDER BY p ROWS BETWEEN "
      "UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS below FROM groups) ",
      "SELECT coalesce(sum(positives), 0)::DOUBLE, coalesce(sum(negatives), 0)::DOUBLE, ",
      "coalesce(sum(positives * (2 * below + negatives)), 0)::DOUBLE, "
      "count(*) FILTER (p IS NULL)::DOUBLE FROM ranked");
  GRAB_ASSIGN_OR_RETURN(auto query, db->Query(sql));
  GRAB_ASSIGN_OR_RETURN(const bool has_row, query->Next());
  if (!has_row) return absl::InternalError(absl::StrCat(dir, ": the AUC query gave no row"));
  const auto value = [&](size_t column) { return query->column(column).Get<double>(0); };
  const double positives = value(0);
  const double negatives = value(1);
  if (value(3) > 0.0) {
    return absl::DataLossError(
        absl::StrCat(dir, ": expected a row of truth/ for every impression, some have none"));
  }
  if (positives == 0.0 || negatives == 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat(dir, ": expected clicked and unclicked impressions with request time in [",
                     from_ms, ", ", to_ms, "), got ", positives, " and ", negatives));
  }
  return value(2) / (2.0 * positives * negatives);
}

}  // namespace grab
