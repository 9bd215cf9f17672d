#include "data/block_codec.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "base/hash.h"
#include "data/encoding.h"
#include "data/shard.h"

namespace grab {
namespace {

enum Users : uint8_t { kText = 0, kDecimal = 1 };

// How a column with one value per event is stored.
enum Column : uint8_t {
  kPlain = 0,      // a value per event
  kPerUser = 1,    // a value per user
  kUserKey = 2,    // HashId of the user's id
  kGroupRank = 3,  // GroupKey: differences of ranks
  kDependent = 4,  // a value per dictionary entry of an earlier field
};

// Added to the split of an event that is never history.
constexpr uint64_t kCandidateOnly = 4;

constexpr uint64_t kEventBytes = 8 * 5 + sizeof(Split) + 1 + 4 * 4;
constexpr uint64_t kUserBytes = sizeof(std::string) + sizeof(uint32_t);

uint64_t FieldEventBytes(const FieldSchema& field) {
  switch (field.kind) {
    case FieldKind::kId:
      return sizeof(uint64_t);
    case FieldKind::kIds:
      return sizeof(uint32_t);
    case FieldKind::kNumber:
      return sizeof(float);
    case FieldKind::kDense:
      return sizeof(float) * field.width;
  }
  return 0;
}

uint64_t EventBytes(const Schema& schema) {
  uint64_t bytes = kEventBytes;
  for (const FieldSchema& field : schema.fields) bytes += FieldEventBytes(field);
  return bytes;
}

uint64_t IdBytes(const FieldSchema& field) {
  return sizeof(uint64_t) + (field.weighted ? sizeof(float) : 0);
}

// The value of every user when each has only one; users without events get a default one.
template <class T>
bool FindPerUser(const UserBlock& block, const std::vector<T>& values, std::vector<T>& per_user) {
  per_user.assign(block.users(), T());
  for (size_t user = 0; user < block.users(); ++user) {
    const uint32_t begin = block.user_offsets[user];
    const uint32_t end = block.user_offsets[user + 1];
    if (begin == end) continue;
    per_user[user] = values[begin];
    for (uint32_t i = begin + 1; i < end; ++i) {
      if (std::memcmp(&values[i], &values[begin], sizeof(T)) != 0) return false;
    }
  }
  return true;
}

template <class T>
bool FindDependent(const DictionaryCodes& parent, const std::vector<T>& values,
                   std::vector<T>& per_entry) {
  per_entry.assign(parent.entries, T());
  std::vector<bool> seen(parent.entries, false);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t code = parent.codes[i];
    if (!seen[code]) {
      seen[code] = true;
      per_entry[code] = values[i];
    } else if (std::memcmp(&values[i], &per_entry[code], sizeof(T)) != 0) {
      return false;
    }
  }
  return true;
}

class BlockEncoder {
 public:
  BlockEncoder(const Schema& schema, const UserBlock& block, int zstd_level)
      : schema_(schema), block_(block), out_(zstd_level), codes_(schema.fields.size()) {
    for (const std::string& user : block.user_id) user_keys_.push_back(HashId(user));
  }

  std::string Encode() {
    const EventColumns& events = block_.events;
    PutUsers();
    PutDifferences(events.event_id);
    PutTimes();
    PutGroup(events.page_id);
    PutGroup(events.session_id);
    PutSplits();
    PutSmall(events.actions);
    PutSmall(events.actions_known);
    PutSmall(events.labels);
    PutSmall(events.labels_known);
    for (size_t f = 0; f < schema_.fields.size(); ++f) PutField(f);
    return out_.bytes();
  }

 private:
  void PutInts(std::vector<uint64_t>& ints) {
    out_.PutInts(ints);
    ints.clear();
  }

  void PutUsers() {
    const size_t n = block_.users();
    for (size_t user = 0; user < n; ++user) {
      ints_.push_back(block_.user_offsets[user + 1] - block_.user_offsets[user]);
    }
    PutInts(ints_);
    if (n == 0) return;
    int64_t previous = 0;
    for (const std::string& user : block_.user_id) {
      int64_t value = 0;
      if (!absl::SimpleAtoi(user, &value) || absl::StrCat(value) != user) break;
      ints_.push_back(ZigZag(
          static_cast<int64_t>(static_cast<uint64_t>(value) - static_cast<uint64_t>(previous))));
      previous = value;
    }
    const bool decimal = ints_.size() == n;
    out_.PutByte(decimal ? kDecimal : kText);
    if (decimal) {
      PutInts(ints_);
      return;
    }
    ints_.clear();
    std::vector<uint8_t> text;
    for (const std::string& user : block_.user_id) {
      ints_.push_back(user.size());
      text.insert(text.end(), user.begin(), user.end());
    }
    PutInts(ints_);
    out_.PutBytes(text);
  }

  // Each value as its difference to the one before, wrapping around.
  template <class T>
  void PutDifferences(const std::vector<T>& values) {
    uint64_t previous = 0;
    for (const T value : values) {
      ints_.push_back(ZigZag(static_cast<int64_t>(static_cast<uint64_t>(value) - previous)));
      previous = static_cast<uint64_t>(value);
    }
    PutInts(ints_);
  }

  void PutTimes() {
    const EventColumns& events = block_.events;
    PutDifferences(events.request_time_ms);
    for (size_t i = 0; i < events.size(); ++i) {
      ints_.push_back(static_cast<uint64_t>(events.known_time_ms[i]) -
                      static_cast<uint64_t>(events.request_time_ms[i]));
    }
    PutInts(ints_);
  }

  void PutSplits() {
    const EventColumns& events = block_.events;
    for (size_t i = 0; i < events.size(); ++i) {
      ints_.push_back(static_cast<uint64_t>(events.split[i]) +
                      (events.history[i] != 0 ? 0 : kCandidateOnly));
    }
    PutInts(ints_);
  }

  void PutSmall(const std::vector<uint32_t>& values) {
    ints_.assign(values.begin(), values.end());
    PutInts(ints_);
  }

  // Pages and sessions.
  void PutGroup(const std::vector<uint64_t>& keys) {
    if (keys.empty()) return;
    if (FindRanks(keys)) {
      out_.PutByte(kGroupRank);
      out_.PutInts(ints_);
    } else {
      out_.PutByte(kPlain);
      out_.PutInts(keys);
    }
    ints_.clear();
  }

  // ints_ = differences of ranks, when every key is a GroupKey.
  bool FindRanks(const std::vector<uint64_t>& keys) {
    for (size_t user = 0; user < block_.users(); ++user) {
      std::unordered_map<uint64_t, uint64_t> rank_of = {{0, 0}};
      int64_t previous = 0;
      for (uint32_t i = block_.user_offsets[user]; i < block_.user_offsets[user + 1]; ++i) {
        const auto [found, is_new] = rank_of.try_emplace(keys[i], rank_of.size());
        if (is_new && GroupKey(user_keys_[user], found->second) != keys[i]) return false;
        const int64_t rank = static_cast<int64_t>(found->second);
        ints_.push_back(ZigZag(rank - previous));
        previous = rank;
      }
    }
    return true;
  }

  bool IsUserKey(const std::vector<uint64_t>& values) const {
    for (size_t user = 0; user < block_.users(); ++user) {
      for (uint32_t i = block_.user_offsets[user]; i < block_.user_offsets[user + 1]; ++i) {
        if (values[i] != user_keys_[user]) return false;
      }
    }
    return true;
  }

  void PutValues(std::span<const uint64_t> values, DictionaryCodes* codes) {
    out_.PutInts(values, codes);
  }
  void PutValues(std::span<const float> values, DictionaryCodes* codes) {
    out_.PutFloats(values, codes);
  }

  template <class T>
  void PutColumn(size_t f, const std::vector<T>& values) {
    std::vector<T> few;
    if (FindPerUser(block_, values, few)) {
      out_.PutByte(kPerUser);
      PutValues(few, nullptr);
      return;
    }
    for (uint32_t parent = 0; parent < f; ++parent) {
      if (codes_[parent].codes.empty() || !FindDependent(codes_[parent], values, few)) continue;
      out_.PutByte(kDependent);
      out_.PutU32(parent);
      PutValues(few, nullptr);
      return;
    }
    out_.PutByte(kPlain);
    PutValues(values, &codes_[f]);
  }

  void PutField(size_t f) {
    const FieldColumn& column = block_.events.fields[f];
    if (block_.events.size() == 0) return;
    switch (schema_.fields[f].kind) {
      case FieldKind::kId:
        if (IsUserKey(column.ids)) {
          out_.PutByte(kUserKey);
        } else {
          PutColumn(f, column.ids);
        }
        break;
      case FieldKind::kNumber:
        PutColumn(f, column.numbers);
        break;
      case FieldKind::kDense:
        out_.PutFloats(column.numbers);
        break;
      case FieldKind::kIds:
        for (size_t i = 0; i + 1 < column.offsets.size(); ++i) {
          ints_.push_back(column.offsets[i + 1] - column.offsets[i]);
        }
        PutInts(ints_);
        out_.PutInts(column.ids);
        if (schema_.fields[f].weighted) out_.PutFloats(column.numbers);
        break;
    }
  }

  const Schema& schema_;
  const UserBlock& block_;
  StreamEncoder out_;
  std::vector<uint64_t> user_keys_;
  std::vector<DictionaryCodes> codes_;  // of every field
  std::vector<uint64_t> ints_;
};

class BlockDecoder {
 public:
  BlockDecoder(const Schema& schema, uint32_t users, uint32_t events,
               std::span<const uint8_t> bytes, std::optional<Split> only)
      : schema_(schema),
        users_(users),
        n_(events),
        only_(only),
        in_(bytes),
        codes_(schema.fields.size()) {}

  StatusOr<UserBlock> Decode() {
    GRAB_RETURN_IF_ERROR(Reserve(users_ + uint64_t{1}, kUserBytes));
    GRAB_RETURN_IF_ERROR(Reserve(n_ + uint64_t{1}, EventBytes(schema_)));
    EventColumns& events = block_.events;
    events = MakeColumns(schema_);
    GRAB_RETURN_IF_ERROR(TakeUsers());
    GRAB_RETURN_IF_ERROR(TakeDifferences(events.event_id));
    GRAB_RETURN_IF_ERROR(TakeTimes());
    GRAB_RETURN_IF_ERROR(TakeGroup(events.page_id));
    GRAB_RETURN_IF_ERROR(TakeGroup(events.session_id));
    GRAB_RETURN_IF_ERROR(TakeSplits());
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.actions));
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.actions_known));
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.labels));
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.labels_known));
    if (only_.has_value()) KeepOnly();
    for (size_t f = 0; f < schema_.fields.size(); ++f) {
      GRAB_RETURN_IF_ERROR(Annotate(TakeField(f), schema_.fields[f].name));
      if (only_.has_value()) KeepField(f);
    }
    if (only_.has_value()) KeepUsers();
    if (!in_.AtEnd()) return absl::DataLossError("bytes after the last column");
    const Status valid = Validate(schema_, block_);
    if (!valid.ok()) return absl::DataLossError(valid.message());
    return std::move(block_);
  }

  size_t position() const { return in_.position(); }

 private:
  Status Reserve(uint64_t n, uint64_t bytes_each) {
    if (n > memory_left_ / bytes_each) {
      return absl::DataLossError(absl::StrCat(n, " values of ", bytes_each,
                                              " bytes make a block of more than ", kBlockBytesMax));
    }
    memory_left_ -= n * bytes_each;
    return absl::OkStatus();
  }

  // Offsets from lengths; the last one is returned.
  StatusOr<uint32_t> TakeOffsets(uint32_t n, std::vector<uint32_t>& offsets) {
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n, lengths_));
    offsets.resize(n + size_t{1});
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; ++i) {
      offsets[i] = static_cast<uint32_t>(sum);
      sum += lengths_[i];
      if (sum > std::numeric_limits<uint32_t>::max()) {
        return absl::DataLossError("lengths that sum to more than 32 bits");
      }
    }
    offsets[n] = static_cast<uint32_t>(sum);
    return offsets[n];
  }

  Status TakeUsers() {
    GRAB_ASSIGN_OR_RETURN(const uint32_t events, TakeOffsets(users_, block_.user_offsets));
    if (events != n_) {
      return absl::DataLossError(absl::StrCat("users of ", events, " events, expected ", n_));
    }
    if (users_ == 0) return absl::OkStatus();
    block_.user_id.resize(users_);
    GRAB_ASSIGN_OR_RETURN(const uint8_t kind, in_.TakeByte());
    if (kind == kDecimal) {
      GRAB_RETURN_IF_ERROR(in_.TakeInts(users_, ints_));
      uint64_t value = 0;
      for (uint32_t user = 0; user < users_; ++user) {
        value += static_cast<uint64_t>(UnZigZag(ints_[user]));
        char text[24];
        const auto end = std::to_chars(text, text + sizeof text, static_cast<int64_t>(value)).ptr;
        block_.user_id[user].assign(text, end);
      }
    } else if (kind == kText) {
      std::vector<uint32_t> offsets;
      GRAB_ASSIGN_OR_RETURN(const uint32_t bytes, TakeOffsets(users_, offsets));
      GRAB_RETURN_IF_ERROR(Reserve(bytes, 1));
      std::vector<uint8_t> text;
      GRAB_RETURN_IF_ERROR(in_.TakeBytes(bytes, text));
      for (uint32_t user = 0; user < users_; ++user) {
        block_.user_id[user].assign(reinterpret_cast<const char*>(text.data()) + offsets[user],
                                    offsets[user + 1] - offsets[user]);
      }
    } else {
      return absl::DataLossError(absl::StrCat("unknown encoding of users ", kind));
    }
    for (const std::string& user : block_.user_id) user_keys_.push_back(HashId(user));
    return absl::OkStatus();
  }

  template <class T>
  Status TakeDifferences(std::vector<T>& out) {
    GRAB_RETURN_IF_ERROR(in_.TakeInts(n_, ints_));
    out.resize(n_);
    uint64_t value = 0;
    for (uint32_t i = 0; i < n_; ++i) {
      value += static_cast<uint64_t>(UnZigZag(ints_[i]));
      out[i] = static_cast<T>(value);
    }
    return absl::OkStatus();
  }

  Status TakeTimes() {
    EventColumns& events = block_.events;
    GRAB_RETURN_IF_ERROR(TakeDifferences(events.request_time_ms));
    GRAB_RETURN_IF_ERROR(in_.TakeInts(n_, ints_));
    events.known_time_ms.resize(n_);
    for (uint32_t i = 0; i < n_; ++i) {
      events.known_time_ms[i] =
          static_cast<int64_t>(static_cast<uint64_t>(events.request_time_ms[i]) + ints_[i]);
    }
    return absl::OkStatus();
  }

  Status TakeSplits() {
    GRAB_RETURN_IF_ERROR(in_.TakeInts(n_, ints_));
    block_.events.split.resize(n_);
    block_.events.history.resize(n_);
    for (uint32_t i = 0; i < n_; ++i) {
      if (ints_[i] >= 2 * kCandidateOnly) {
        return absl::DataLossError(absl::StrCat("unknown split ", ints_[i]));
      }
      block_.events.split[i] = static_cast<Split>(ints_[i] % kCandidateOnly);
      block_.events.history[i] = ints_[i] < kCandidateOnly ? 1 : 0;
    }
    return absl::OkStatus();
  }

  Status TakeGroup(std::vector<uint64_t>& keys) {
    if (n_ == 0) return absl::OkStatus();
    GRAB_ASSIGN_OR_RETURN(const uint8_t kind, in_.TakeByte());
    if (kind == kPlain) return in_.TakeInts(n_, keys);
    if (kind != kGroupRank) return absl::DataLossError("unknown encoding of pages or sessions");
    GRAB_RETURN_IF_ERROR(in_.TakeInts(n_, ints_));
    keys.resize(n_);
    for (uint32_t user = 0; user < users_; ++user) {
      uint64_t rank = 0;
      for (uint32_t i = block_.user_offsets[user]; i < block_.user_offsets[user + 1]; ++i) {
        rank += static_cast<uint64_t>(UnZigZag(ints_[i]));
        keys[i] = GroupKey(user_keys_[user], rank);
      }
    }
    return absl::OkStatus();
  }

  Status TakeValues(uint64_t n, std::vector<uint64_t>& out, DictionaryCodes* codes) {
    return in_.TakeInts(n, out, codes);
  }
  Status TakeValues(uint64_t n, std::vector<float>& out, DictionaryCodes* codes) {
    return in_.TakeFloats(n, out, codes);
  }

  template <class T>
  void Spread(const std::vector<T>& per_user, std::vector<T>& out) {
    out.resize(n_);
    for (uint32_t user = 0; user < users_; ++user) {
      std::fill(out.begin() + block_.user_offsets[user],
                out.begin() + block_.user_offsets[user + 1], per_user[user]);
    }
  }

  template <class T>
  Status TakeColumn(size_t f, uint8_t kind, std::vector<T>& out) {
    if (kind == kPlain) return TakeValues(n_, out, &codes_[f]);
    std::vector<T> few;
    if (kind == kPerUser) {
      GRAB_RETURN_IF_ERROR(TakeValues(users_, few, nullptr));
      Spread(few, out);
      return absl::OkStatus();
    }
    if (kind != kDependent) return absl::DataLossError(absl::StrCat("unknown encoding ", kind));
    GRAB_ASSIGN_OR_RETURN(const uint32_t parent, in_.TakeU32());
    if (parent >= f || codes_[parent].codes.size() != n_) {
      return absl::DataLossError(absl::StrCat("depends on field ", parent, " without dictionary"));
    }
    const DictionaryCodes& dictionary = codes_[parent];
    GRAB_RETURN_IF_ERROR(TakeValues(dictionary.entries, few, nullptr));
    out.resize(n_);
    for (uint32_t i = 0; i < n_; ++i) out[i] = few[dictionary.codes[i]];
    return absl::OkStatus();
  }

  Status TakeField(size_t f) {
    FieldColumn& column = block_.events.fields[f];
    const FieldSchema& field = schema_.fields[f];
    if (n_ == 0) return absl::OkStatus();
    if (field.kind == FieldKind::kDense) {
      return in_.TakeFloats(uint64_t{n_} * field.width, column.numbers);
    }
    if (field.kind == FieldKind::kIds) {
      GRAB_ASSIGN_OR_RETURN(const uint32_t ids, TakeOffsets(n_, column.offsets));
      GRAB_RETURN_IF_ERROR(Reserve(ids, IdBytes(field)));
      GRAB_RETURN_IF_ERROR(in_.TakeInts(ids, column.ids));
      return field.weighted ? in_.TakeFloats(ids, column.numbers) : absl::OkStatus();
    }
    GRAB_ASSIGN_OR_RETURN(const uint8_t kind, in_.TakeByte());
    if (field.kind == FieldKind::kNumber) return TakeColumn(f, kind, column.numbers);
    if (kind != kUserKey) return TakeColumn(f, kind, column.ids);
    Spread(user_keys_, column.ids);
    return absl::OkStatus();
  }

  // Of a column with `width` values per event those of the kept events.
  template <class T>
  void Keep(std::vector<T>& column, size_t width = 1) const {
    if (column.empty()) return;
    std::vector<T> kept;
    kept.reserve(kept_.size() * width);
    for (const uint32_t i : kept_) {
      const auto begin = column.begin() + static_cast<int64_t>(i * width);
      kept.insert(kept.end(), begin, begin + static_cast<int64_t>(width));
    }
    column = std::move(kept);
  }

  // Fields are cut one by one as they are decoded, so that the whole block is never in memory.
  void KeepOnly() {
    EventColumns& events = block_.events;
    for (uint32_t i = 0; i < n_; ++i) {
      if (events.split[i] == *only_) kept_.push_back(i);
    }
    Keep(events.event_id);
    Keep(events.request_time_ms);
    Keep(events.known_time_ms);
    Keep(events.page_id);
    Keep(events.session_id);
    Keep(events.split);
    Keep(events.history);
    Keep(events.actions);
    Keep(events.actions_known);
    Keep(events.labels);
    Keep(events.labels_known);
  }

  void KeepField(size_t f) {
    FieldColumn& column = block_.events.fields[f];
    const FieldSchema& field = schema_.fields[f];
    if (field.kind != FieldKind::kIds) {
      Keep(column.ids);
      Keep(column.numbers, field.kind == FieldKind::kDense ? field.width : 1);
      return;
    }
    FieldColumn kept;
    kept.offsets.push_back(0);
    for (const uint32_t i : kept_) {
      const int64_t begin = column.offsets[i], end = column.offsets[i + 1];
      kept.ids.insert(kept.ids.end(), column.ids.begin() + begin, column.ids.begin() + end);
      if (field.weighted) {
        kept.numbers.insert(kept.numbers.end(), column.numbers.begin() + begin,
                            column.numbers.begin() + end);
      }
      kept.offsets.push_back(static_cast<uint32_t>(kept.ids.size()));
    }
    column = std::move(kept);
  }

  void KeepUsers() {
    auto next = kept_.begin();
    for (uint32_t& offset : block_.user_offsets) {
      next = std::lower_bound(next, kept_.end(), offset);
      offset = static_cast<uint32_t>(next - kept_.begin());
    }
  }

  const Schema& schema_;
  const uint32_t users_;
  const uint32_t n_;
  const std::optional<Split> only_;
  std::vector<uint32_t> kept_;  // events, with only_
  StreamDecoder in_;
  uint64_t memory_left_ = kBlockBytesMax;
  UserBlock block_;
  std::vector<uint64_t> user_keys_;
  std::vector<DictionaryCodes> codes_;  // of every field
  std::vector<uint64_t> ints_;
  std::vector<uint32_t> lengths_;
};

}  // namespace

uint64_t DecodedBytes(const Schema& schema, const UserBlock& block) {
  uint64_t bytes = (block.users() + 1) * kUserBytes;
  for (const std::string& user : block.user_id) bytes += user.size();
  bytes += (block.events.size() + 1) * EventBytes(schema);
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    if (schema.fields[f].kind == FieldKind::kIds) {
      bytes += block.events.fields[f].ids.size() * IdBytes(schema.fields[f]);
    }
  }
  return bytes;
}

uint64_t GroupKey(uint64_t user_key, uint64_t rank) {
  return rank == 0 ? 0 : HashCombine(user_key, rank);
}

std::string EncodeBlock(const Schema& schema, const UserBlock& block, int zstd_level) {
  return BlockEncoder(schema, block, zstd_level).Encode();
}

StatusOr<UserBlock> DecodeBlock(const Schema& schema, uint32_t users, uint32_t events,
                                std::span<const uint8_t> bytes, uint64_t* error_offset,
                                std::optional<Split> only) {
  BlockDecoder decoder(schema, users, events, bytes, only);
  StatusOr<UserBlock> block = decoder.Decode();
  *error_offset = decoder.position();
  return block;
}

}  // namespace grab
