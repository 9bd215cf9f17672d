#include <cstring>
#include <span>
#include <unordered_map>

#include "absl/strings/numbers.h"
#include "base/hash.h"
#include "data/block_codec.h"
#include "data/block_layout.h"
#include "data/encoding.h"

namespace grab {
namespace {

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
    out_.PutByte(decimal ? kUsersDecimal : kUsersText);
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
      out_.PutByte(kColumnGroupRank);
      out_.PutInts(ints_);
    } else {
      out_.PutByte(kColumnPlain);
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
      out_.PutByte(kColumnPerUser);
      PutValues(few, nullptr);
      return;
    }
    for (uint32_t parent = 0; parent < f; ++parent) {
      if (codes_[parent].codes.empty() || !FindDependent(codes_[parent], values, few)) continue;
      out_.PutByte(kColumnDependent);
      out_.PutU32(parent);
      PutValues(few, nullptr);
      return;
    }
    out_.PutByte(kColumnPlain);
    PutValues(values, &codes_[f]);
  }

  void PutField(size_t f) {
    const FieldColumn& column = block_.events.fields[f];
    if (block_.events.size() == 0) return;
    switch (schema_.fields[f].kind) {
      case FieldKind::kId:
        if (IsUserKey(column.ids)) {
          out_.PutByte(kColumnUserKey);
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

}  // namespace

std::string EncodeBlock(const Schema& schema, const UserBlock& block, int zstd_level) {
  return BlockEncoder(schema, block, zstd_level).Encode();
}

}  // namespace grab
