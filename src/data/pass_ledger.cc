#include "data/pass_ledger.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"

namespace grab {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "grab passes";
constexpr uint64_t kLedgerBytesMax = 4 << 20;

bool IsNumber(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned();
}

}  // namespace

StatusOr<PassLedger> PassLedger::Load(const std::string& path) {
  PassLedger ledger;
  if (!Exists(path)) return ledger;
  GRAB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLedgerBytesMax));
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object() || object.value("format", json()) != kFormat ||
      !object.value("passes", json()).is_array()) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected {\"format\": \"", kFormat, "\", \"passes\": [...]}"));
  }
  for (const json& pass : object["passes"]) {
    const std::string place = absl::StrCat(path, ": passes[", ledger.entries_.size(), "]: ");
    Entry entry;
    if (!pass.is_object() || !IsNumber(pass, "from_ms") || !IsNumber(pass, "to_ms") ||
        !IsNumber(pass, "events") || !pass.value("events_hash", json()).is_string() ||
        !absl::SimpleHexAtoi(pass["events_hash"].get<std::string>(), &entry.events_hash)) {
      return absl::DataLossError(absl::StrCat(
          place, "expected {from_ms, to_ms, events: whole numbers, events_hash: hexadecimal}"));
    }
    entry.range = {pass["from_ms"].get<int64_t>(), pass["to_ms"].get<int64_t>()};
    entry.events = pass["events"].get<uint64_t>();
    const bool ascends =
        ledger.entries_.empty() || ledger.entries_.back().range.to_ms <= entry.range.from_ms;
    if (entry.range.from_ms >= entry.range.to_ms || entry.range.to_ms > kTimeMaxMs || !ascends) {
      return absl::DataLossError(absl::StrCat(place, "expected ascending ranges, got [",
                                              entry.range.from_ms, ", ", entry.range.to_ms, ")"));
    }
    ledger.entries_.push_back(entry);
  }
  return ledger;
}

Status PassLedger::Save(const std::string& path) const {
  json passes = json::array();
  for (const Entry& entry : entries_) {
    passes.push_back({{"from_ms", entry.range.from_ms},
                      {"to_ms", entry.range.to_ms},
                      {"events", entry.events},
                      {"events_hash", absl::StrFormat("%016x", entry.events_hash)}});
  }
  return WriteFileDurably(path, json{{"format", kFormat}, {"passes", passes}}.dump(1) + "\n");
}

// The entries' ranges with what the shards hold of them.
StatusOr<std::vector<PassLedger::Entry>> PassLedger::CountEvents(const ShardSet& shards) const {
  std::vector<Entry> counted;
  for (const Entry& entry : entries_) counted.push_back({entry.range, 0, 0});
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (size_t user = 0; user < block.users(); ++user) {
      const uint64_t user_key = HashId(block.user_id[user]);
      for (size_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
        const int64_t known_ms = block.events.known_time_ms[i];
        const auto entry =
            std::partition_point(counted.begin(), counted.end(),
                                 [&](const Entry& other) { return other.range.to_ms <= known_ms; });
        if (entry == counted.end() || !entry->range.Contains(known_ms)) continue;
        ++entry->events;
        entry->events_hash += Mix64(HashCombine(user_key, block.events.event_id[i]));
      }
    }
  }
  return counted;
}

StatusOr<LateEvents> PassLedger::Add(const ShardSet& shards, const TimeRange& pass,
                                     const TimeRange& known) {
  GRAB_CHECK(known.from_ms <= pass.from_ms && pass.from_ms < pass.to_ms);
  std::erase_if(entries_, [&](const Entry& entry) {
    return entry.range.from_ms < known.from_ms || entry.range.to_ms > pass.from_ms;
  });
  entries_.push_back({pass, 0, 0});
  if (entries_.size() > kPassesMax) {
    entries_.erase(entries_.begin(), entries_.end() - kPassesMax);
  }
  GRAB_ASSIGN_OR_RETURN(std::vector<Entry> now, CountEvents(shards));
  LateEvents late;
  for (size_t i = 0; i + 1 < entries_.size(); ++i) {
    const Entry& before = entries_[i];
    if (now[i].events > before.events) late.late += now[i].events - before.events;
    if (now[i].events < before.events) late.gone += before.events - now[i].events;
    if (now[i].events == before.events && now[i].events_hash != before.events_hash) {
      ++late.passes_changed;
    }
  }
  entries_ = std::move(now);
  return late;
}

}  // namespace grab
