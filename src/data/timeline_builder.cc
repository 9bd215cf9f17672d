#include "data/timeline_builder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/hash.h"
#include "data/block_codec.h"

namespace grab {
namespace {

constexpr size_t kGroupRowsMin = 65536;
constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// Why rows are rejected.
constexpr char kNoUser[] = "missing user";
constexpr char kLongUser[] = "user id of more than 256 bytes";
static_assert(kUserIdBytesMax == 256, "the text says so");
constexpr char kNoRequestTime[] = "missing or unparsable request time";
constexpr char kNoKnownTime[] = "missing or unparsable known time";
constexpr char kTimeRange[] = "time outside the years 1970 to 9999";
constexpr char kKnownEarly[] = "known before requested";
constexpr char kNoEventId[] = "missing event id";
constexpr char kSameEventId[] = "event id repeated within a user";
constexpr char kUnknownSplit[] = "unknown split";
constexpr char kWeights[] = "weights do not match the ids";
constexpr char kDenseWidth[] = "dense vector of another width, or with missing values";
constexpr char kInfinite[] = "number that is not finite";

// A BIGINT or VARCHAR column of keys.
struct KeyColumn {
  DuckColumn column;
  bool integers = false;

  // 0 for NULL and empty text.
  uint64_t Get(uint64_t row) const {
    if (!column.valid(row)) return 0;
    if (integers) return HashId(column.Get<int64_t>(row));
    const absl::string_view text = column.GetString(row);
    return text.empty() ? 0 : HashId(text);
  }
  std::string Text(uint64_t row) const {
    if (!column.valid(row)) return "";
    return integers ? absl::StrCat(column.Get<int64_t>(row)) : std::string(column.GetString(row));
  }
};

// Of everything that an event carries.
uint64_t HashEvent(const Schema& schema, const EventColumns& events, size_t i) {
  const uint64_t head[] = {events.event_id[i],
                           static_cast<uint64_t>(events.request_time_ms[i]),
                           static_cast<uint64_t>(events.known_time_ms[i]),
                           events.page_id[i],
                           events.session_id[i],
                           static_cast<uint64_t>(events.split[i]),
                           events.actions[i],
                           events.actions_known[i],
                           events.labels[i],
                           events.labels_known[i],
                           events.history[i]};
  uint64_t hash = HashBytes(head, sizeof head);
  const auto add = [&]<class T>(const std::vector<T>& values, size_t begin, size_t end) {
    hash = HashBytes(values.data() + begin, (end - begin) * sizeof(T), hash);
  };
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    const FieldColumn& column = events.fields[f];
    switch (schema.fields[f].kind) {
      case FieldKind::kId:
        add(column.ids, i, i + 1);
        break;
      case FieldKind::kNumber:
        add(column.numbers, i, i + 1);
        break;
      case FieldKind::kDense:
        add(column.numbers, i * schema.fields[f].width, (i + 1) * schema.fields[f].width);
        break;
      case FieldKind::kIds:
        add(column.ids, column.offsets[i], column.offsets[i + 1]);
        if (schema.fields[f].weighted) {
          add(column.numbers, column.offsets[i], column.offsets[i + 1]);
        }
        break;
    }
  }
  return hash;
}

// Keeps the first `n` events.
void CutEvents(const Schema& schema, size_t n, EventColumns& events) {
  events.event_id.resize(n);
  events.request_time_ms.resize(n);
  events.known_time_ms.resize(n);
  events.page_id.resize(n);
  events.session_id.resize(n);
  events.split.resize(n);
  events.history.resize(n);
  events.actions.resize(n);
  events.actions_known.resize(n);
  events.labels.resize(n);
  events.labels_known.resize(n);
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    FieldColumn& column = events.fields[f];
    switch (schema.fields[f].kind) {
      case FieldKind::kId:
        column.ids.resize(n);
        break;
      case FieldKind::kNumber:
        column.numbers.resize(n);
        break;
      case FieldKind::kDense:
        column.numbers.resize(n * schema.fields[f].width);
        break;
      case FieldKind::kIds:
        column.offsets.resize(n + 1);
        column.ids.resize(column.offsets[n]);
        if (schema.fields[f].weighted) column.numbers.resize(column.offsets[n]);
        break;
    }
  }
}

}  // namespace

struct TimelineBuilder::Cells {
  struct Field {
    DuckColumn column;
    KeyColumn keys;  // of an id; of the elements of ids
    DuckColumn floats;
    DuckColumn weights;
    DuckColumn weight_values;
  };

  Cells(const Schema& schema, const LogQuery& query, const DuckQuery& rows)
      : user(Keys(rows, query.user)),
        event_id(Keys(rows, query.event_id)),
        page(Keys(rows, query.page)),
        session(Keys(rows, query.session)),
        events_index(Of(rows, query.events_index)),
        request_time(Of(rows, query.request_time)),
        known_time(Of(rows, query.known_time >= 0 ? query.known_time : query.request_time)),
        split(Of(rows, query.split)),
        duplicate(Of(rows, query.duplicate)),
        order(Of(rows, query.order)),
        actions(Of(rows, query.actions)),
        actions_known(Of(rows, query.actions_known)),
        labels(Of(rows, query.labels)),
        labels_known(Of(rows, query.labels_known)) {
    for (size_t f = 0; f < schema.fields.size(); ++f) {
      Field field;
      const int values = query.fields[f].values;
      const FieldKind kind = schema.fields[f].kind;
      field.column = Of(rows, values);
      if (kind == FieldKind::kId) field.keys = Keys(rows, values);
      if (kind == FieldKind::kDense) field.floats = field.column.Elements();
      if (kind == FieldKind::kIds) {
        field.keys.column = field.column.Elements();
        field.keys.integers = query.fields[f].integers;
      }
      if (query.fields[f].weights >= 0) {
        field.weights = Of(rows, query.fields[f].weights);
        field.weight_values = field.weights.Elements();
      }
      fields.push_back(field);
    }
  }

  static DuckColumn Of(const DuckQuery& rows, int index) {
    return index < 0 ? DuckColumn() : rows.column(static_cast<size_t>(index));
  }
  static KeyColumn Keys(const DuckQuery& rows, int index) {
    if (index < 0) return {};
    return {Of(rows, index), rows.type(static_cast<size_t>(index)) == DUCKDB_TYPE_BIGINT};
  }

  KeyColumn user, event_id, page, session;
  DuckColumn events_index, request_time, known_time, split, duplicate, order;
  DuckColumn actions, actions_known, labels, labels_known;
  std::vector<Field> fields;
};

TimelineBuilder::TimelineBuilder(const Config& config, const Schema& schema, const LogQuery& query,
                                 const TargetRule& rule, RowCounts& counts, Sink sink)
    : config_(config),
      schema_(schema),
      query_(query),
      rule_(rule),
      counts_(counts),
      sink_(std::move(sink)),
      user_events_max_(static_cast<size_t>(config.prepare.user_events_max)) {
  for (const FieldConfig& field : config.fields) {
    if (field.kind != "cross") values_max_.push_back(static_cast<size_t>(field.values_max));
  }
  GRAB_CHECK(values_max_.size() == schema.fields.size());
  block_.events = MakeColumns(schema);
}

Status TimelineBuilder::AddChunk(const DuckQuery& rows) {
  const Cells cells(schema_, query_, rows);
  for (uint64_t row = 0; row < rows.rows(); ++row) {
    ++counts_.rows;
    RowHead head;
    const char* problem = ReadUser(cells, row);
    if (problem == nullptr) problem = ReadHead(cells, row, head);
    if (problem == nullptr) problem = CheckFields(cells, row);
    if (problem != nullptr) {
      Reject(problem, cells, row);
      continue;
    }
    GRAB_RETURN_IF_ERROR(AddRow(cells, row, head));
  }
  return absl::OkStatus();
}

Status TimelineBuilder::Finish() { return EndUser(); }

// Leaves the text in row_user_. The reason why the row's user is unusable, or null.
const char* TimelineBuilder::ReadUser(const Cells& cells, uint64_t row) {
  if (!cells.user.column.valid(row)) return kNoUser;
  if (cells.user.integers) {
    row_user_.clear();
    absl::StrAppend(&row_user_, cells.user.column.Get<int64_t>(row));
  } else {
    const absl::string_view text = cells.user.column.GetString(row);
    if (text.size() > kUserIdBytesMax) return kLongUser;
    row_user_.assign(text.data(), text.size());
  }
  return row_user_.empty() ? kNoUser : nullptr;
}

// The reason why the row is unusable, or null.
const char* TimelineBuilder::ReadHead(const Cells& cells, uint64_t row, RowHead& head) const {
  if (query_.events_index >= 0) {
    head.events_index = static_cast<size_t>(cells.events_index.Get<int32_t>(row));
  }
  if (!cells.request_time.valid(row)) return kNoRequestTime;
  if (!cells.known_time.valid(row)) return kNoKnownTime;
  head.request_time_ms = cells.request_time.Get<int64_t>(row);
  head.known_time_ms = cells.known_time.Get<int64_t>(row);
  if (head.request_time_ms < 0 || head.known_time_ms < 0 || head.request_time_ms > kTimeMaxMs ||
      head.known_time_ms > kTimeMaxMs) {
    return kTimeRange;
  }
  if (head.known_time_ms < head.request_time_ms) return kKnownEarly;
  if (query_.gives_event_id[head.events_index]) {
    head.event_id = cells.event_id.Get(row);
    if (head.event_id == 0) return kNoEventId;
  }
  return ReadSplit(cells, row, head);
}

// The reason why the row's split is unusable, or null.
const char* TimelineBuilder::ReadSplit(const Cells& cells, uint64_t row, RowHead& head) const {
  if (config_.events[head.events_index].split.empty()) {
    head.split = rule_.SplitOf(head.request_time_ms);
  } else {
    const absl::string_view text = cells.split.valid(row) ? cells.split.GetString(row) : "context";
    const auto word = std::find(std::begin(kSplitNames), std::end(kSplitNames), text);
    if (word == std::end(kSplitNames)) return kUnknownSplit;
    head.split = rule_.SplitAs(static_cast<Split>(word - std::begin(kSplitNames)));
  }
  head.labels_that_count =
      rule_.LabelsThatCount(head.split, head.request_time_ms, head.known_time_ms);
  // Of a pass this is most of the context, and nothing to note.
  if (rule_.by_pass() && head.labels_that_count == 0) head.split = Split::kContext;
  return nullptr;
}

const char* TimelineBuilder::CheckFields(const Cells& cells, uint64_t row) const {
  for (size_t f = 0; f < schema_.fields.size(); ++f) {
    const FieldSchema& schema = schema_.fields[f];
    const Cells::Field& field = cells.fields[f];
    if (schema.kind == FieldKind::kId || !field.column.valid(row)) continue;
    if (schema.kind == FieldKind::kNumber) {
      if (std::isinf(field.column.Get<float>(row))) return kInfinite;
      continue;
    }
    const duckdb_list_entry list = field.column.GetList(row);
    if (schema.kind == FieldKind::kDense) {
      if (list.length != schema.width) return kDenseWidth;
      for (uint64_t i = list.offset; i < list.offset + list.length; ++i) {
        if (!field.floats.valid(i)) return kDenseWidth;
        if (!std::isfinite(field.floats.Get<float>(i))) return kInfinite;
      }
    }
    if (!schema.weighted) continue;
    if (!field.weights.valid(row)) return kWeights;
    const duckdb_list_entry weights = field.weights.GetList(row);
    if (weights.length != list.length) return kWeights;
    for (uint64_t i = weights.offset; i < weights.offset + weights.length; ++i) {
      if (!field.weight_values.valid(i)) return kWeights;
      if (!std::isfinite(field.weight_values.Get<float>(i))) return kInfinite;
    }
  }
  return nullptr;
}

void TimelineBuilder::Reject(const char* reason, const Cells& cells, uint64_t row) {
  counts_.rejects.Add(reason, 1, [&] {
    const size_t index =
        query_.events_index < 0 ? 0 : static_cast<size_t>(cells.events_index.Get<int32_t>(row));
    std::string text = absl::StrCat("events ", config_.events[index].name, ", user '",
                                    cells.user.Text(row).substr(0, kUserIdBytesMax), "'");
    if (query_.event_id >= 0) {
      absl::StrAppend(&text, ", event '", cells.event_id.Text(row), "'");
    }
    for (const auto& [name, column] : {std::pair{", request time ", &cells.request_time},
                                       {", known time ", &cells.known_time}}) {
      absl::StrAppend(&text, name,
                      column->valid(row) ? absl::StrCat(column->Get<int64_t>(row)) : "NULL");
    }
    if (query_.split >= 0 && cells.split.valid(row)) {
      absl::StrAppend(&text, ", split '", cells.split.GetString(row), "'");
    }
    return text;
  });
}

Status TimelineBuilder::AddRow(const Cells& cells, uint64_t row, const RowHead& head) {
  if (row_user_ != user_) {
    GRAB_RETURN_IF_ERROR(EndUser());
    user_ = row_user_;
  } else if (head.known_time_ms != block_.events.known_time_ms.back()) {
    EndGroup();
    if (block_.events.size() >= 2 * user_events_max_) KeepNewest(user_events_max_);
  }
  if (group_.size() >= std::max(user_events_max_, kGroupRowsMin)) {
    return absl::InvalidArgumentError(
        absl::StrCat("user '", user_, "' has more than ", group_.size(), " rows at known time ",
                     head.known_time_ms, " ms: filter them, or raise prepare.user_events_max"));
  }
  RowKey key;
  key.events_index = head.events_index;
  if (query_.order >= 0 && !config_.events[head.events_index].order.empty()) {
    key.tied = true;
    key.order = cells.order.valid(row) ? cells.order.Get<uint64_t>(row) : 0;
  }
  if (query_.duplicate >= 0 && cells.duplicate.valid(row)) {
    key.has_duplicate = true;
    key.duplicate = cells.duplicate.Get<uint64_t>(row);
  }
  group_.push_back(key);
  AppendRow(cells, row, head);
  return absl::OkStatus();
}

void TimelineBuilder::AppendRow(const Cells& cells, uint64_t row, const RowHead& head) {
  EventColumns& events = block_.events;
  events.event_id.push_back(head.event_id);
  events.request_time_ms.push_back(head.request_time_ms);
  events.known_time_ms.push_back(head.known_time_ms);
  events.page_id.push_back(query_.page >= 0 ? cells.page.Get(row) : 0);
  events.session_id.push_back(query_.session >= 0 ? cells.session.Get(row) : 0);
  events.split.push_back(head.split);
  events.history.push_back(config_.events[head.events_index].history ? 1 : 0);
  events.actions.push_back(cells.actions.Get<uint32_t>(row));
  events.actions_known.push_back(cells.actions_known.Get<uint32_t>(row));
  events.labels.push_back(cells.labels.Get<uint32_t>(row) & head.labels_that_count);
  events.labels_known.push_back(cells.labels_known.Get<uint32_t>(row) & head.labels_that_count);
  for (size_t f = 0; f < schema_.fields.size(); ++f) AppendField(cells, row, f);
}

void TimelineBuilder::AppendField(const Cells& cells, uint64_t row, size_t f) {
  const Cells::Field& field = cells.fields[f];
  FieldColumn& out = block_.events.fields[f];
  switch (schema_.fields[f].kind) {
    case FieldKind::kId:
      out.ids.push_back(field.keys.Get(row));
      break;
    case FieldKind::kIds:
      AppendKeys(cells, row, f);
      break;
    case FieldKind::kNumber: {
      const float value = field.column.valid(row) ? field.column.Get<float>(row) : kMissing;
      out.numbers.push_back(std::isnan(value) ? kMissing : value);
      break;
    }
    case FieldKind::kDense: {
      const uint32_t width = schema_.fields[f].width;
      if (!field.column.valid(row)) {
        out.numbers.insert(out.numbers.end(), width, kMissing);
        break;
      }
      const uint64_t offset = field.column.GetList(row).offset;
      for (uint32_t i = 0; i < width; ++i) {
        out.numbers.push_back(field.floats.Get<float>(offset + i));
      }
      break;
    }
  }
}

void TimelineBuilder::AppendKeys(const Cells& cells, uint64_t row, size_t f) {
  const Cells::Field& field = cells.fields[f];
  FieldColumn& out = block_.events.fields[f];
  uint64_t kept = 0;
  uint64_t cut = 0;
  uint64_t missing = 0;
  if (field.column.valid(row)) {
    const duckdb_list_entry list = field.column.GetList(row);
    const uint64_t weights = schema_.fields[f].weighted ? field.weights.GetList(row).offset : 0;
    for (uint64_t i = 0; i < list.length; ++i) {
      const uint64_t key = field.keys.Get(list.offset + i);
      if (key == 0) {
        ++missing;
      } else if (kept == values_max_[f]) {
        ++cut;
      } else {
        ++kept;
        out.ids.push_back(key);
        if (schema_.fields[f].weighted) {
          out.numbers.push_back(field.weight_values.Get<float>(weights + i));
        }
      }
    }
  }
  out.offsets.push_back(out.offsets.back() + static_cast<uint32_t>(kept));
  const auto example = [&] { return absl::StrCat("user '", row_user_, "'"); };
  if (cut > 0) {
    counts_.notes.Add(absl::StrCat("ids beyond values_max of ", schema_.fields[f].name), cut,
                      example);
  }
  if (missing > 0) {
    counts_.notes.Add(absl::StrCat("missing ids in lists of ", schema_.fields[f].name), missing,
                      example);
  }
}

// The group is complete: orders rows that the log leaves tied, drops duplicates.
void TimelineBuilder::EndGroup() {
  if (group_.size() > 1) {
    std::vector<uint32_t> order(group_.size());
    std::iota(order.begin(), order.end(), 0);
    const bool reordered = OrderTies(order);
    const bool dropped = DropDuplicates(order);
    if (reordered || dropped) RebuildGroup(order);
  }
  group_.clear();
}

// Rows of one `order` value come from DuckDB in any order; by content, the result is the same on
// every run. Rows of equal content are interchangeable.
bool TimelineBuilder::OrderTies(std::vector<uint32_t>& order) const {
  const auto same = [&](size_t a, size_t b) {
    return group_[a].tied && group_[b].tied && group_[a].events_index == group_[b].events_index &&
           group_[a].order == group_[b].order;
  };
  bool reordered = false;
  const size_t base = block_.events.size() - group_.size();
  for (size_t begin = 0; begin < group_.size();) {
    size_t end = begin + 1;
    while (end < group_.size() && same(begin, end)) ++end;
    if (end - begin > 1) {
      std::vector<std::pair<uint64_t, uint32_t>> by_content;
      for (size_t i = begin; i < end; ++i) {
        by_content.emplace_back(HashEvent(schema_, block_.events, base + i),
                                static_cast<uint32_t>(i));
      }
      std::sort(by_content.begin(), by_content.end());
      for (size_t i = begin; i < end; ++i) {
        reordered = reordered || order[i] != by_content[i - begin].second;
        order[i] = by_content[i - begin].second;
      }
    }
    begin = end;
  }
  return reordered;
}

bool TimelineBuilder::DropDuplicates(std::vector<uint32_t>& order) {
  if (query_.duplicate < 0) return false;
  const size_t base = block_.events.size() - group_.size();
  std::set<std::pair<uint64_t, std::pair<size_t, int64_t>>> seen;
  const size_t before = order.size();
  std::erase_if(order, [&](uint32_t row) {
    const RowKey& key = group_[row];
    if (!key.has_duplicate) return false;
    const int64_t request = block_.events.request_time_ms[base + row];
    return !seen.insert({key.duplicate, {key.events_index, request}}).second;
  });
  counts_.notes.Add("exact duplicates dropped", before - order.size(), [&] {
    return absl::StrCat("user '", user_, "' at ", block_.events.known_time_ms.back(), " ms");
  });
  return order.size() != before;
}

void TimelineBuilder::RebuildGroup(const std::vector<uint32_t>& order) {
  const size_t base = block_.events.size() - group_.size();
  EventColumns rebuilt = MakeColumns(schema_);
  for (const uint32_t row : order) AppendEvent(schema_, block_.events, base + row, rebuilt);
  CutEvents(schema_, base, block_.events);
  for (size_t i = 0; i < rebuilt.size(); ++i) AppendEvent(schema_, rebuilt, i, block_.events);
}

void TimelineBuilder::KeepNewest(size_t events_max) {
  const size_t n = block_.events.size();
  if (n <= events_max) return;
  EventColumns newest = MakeColumns(schema_);
  for (size_t i = n - events_max; i < n; ++i) AppendEvent(schema_, block_.events, i, newest);
  block_.events = std::move(newest);
  position_ += n - events_max;
  counts_.notes.Add("events truncated (prepare.user_events_max)", n - events_max,
                    [&] { return absl::StrCat("user '", user_, "'"); });
}

// Of the open user's events with one event id, all but the first.
void TimelineBuilder::DropRepeatedIds() {
  if (query_.event_id < 0) return;
  const EventColumns& events = block_.events;
  std::unordered_set<uint64_t> seen;
  EventColumns kept = MakeColumns(schema_);
  for (size_t i = 0; i < events.size(); ++i) {
    if (events.event_id[i] == 0 || seen.insert(events.event_id[i]).second) {
      AppendEvent(schema_, events, i, kept);
      continue;
    }
    counts_.rejects.Add(kSameEventId, 1, [&] {
      return absl::StrCat("user '", user_, "' at ", events.known_time_ms[i], " ms");
    });
  }
  if (kept.size() < events.size()) block_.events = std::move(kept);
}

Status TimelineBuilder::EndUser() {
  EndGroup();
  if (user_.empty()) return absl::OkStatus();
  DropRepeatedIds();
  KeepNewest(user_events_max_);
  EventColumns& events = block_.events;
  for (size_t i = 0; i < events.size(); ++i) {
    ++position_;
    if (events.event_id[i] == 0) events.event_id[i] = position_;
    if (events.split[i] != Split::kContext && events.labels_known[i] == 0) {
      events.split[i] = Split::kContext;
      counts_.notes.Add("targets without a known label, made context", 1,
                        [&] { return absl::StrCat("user '", user_, "'"); });
    }
  }
  const uint64_t user_key = HashId(user_);
  for (std::vector<uint64_t>* keys : {&events.page_id, &events.session_id}) {
    std::unordered_map<uint64_t, uint64_t> rank_of = {{0, 0}};
    for (uint64_t& key : *keys) {
      key = GroupKey(user_key, rank_of.try_emplace(key, rank_of.size()).first->second);
    }
  }
  block_.user_id = {user_};
  block_.user_offsets = {0, static_cast<uint32_t>(events.size())};
  const Status status = sink_(block_);
  block_ = {};
  block_.events = MakeColumns(schema_);
  user_.clear();
  return status;
}

}  // namespace grab
