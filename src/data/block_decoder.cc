#include <algorithm>
#include <charconv>
#include <limits>

#include "base/hash.h"
#include "data/block_codec.h"
#include "data/block_layout.h"
#include "data/encoding.h"
#include "data/shard.h"

namespace grab {
namespace {

class BlockDecoder {
 public:
  BlockDecoder(const Schema& schema, uint32_t users, uint32_t events,
               std::span<const uint8_t> bytes, std::optional<Split> only)
      : schema_(schema),
        users_(users),
        n_(events),
        rows_(events),
        only_(only),
        in_(bytes),
        codes_(schema.fields.size()) {}

  StatusOr<UserBlock> Decode() {
    GRAB_RETURN_IF_ERROR(Reserve(users_ + uint64_t{1}, UserBytes()));
    GRAB_RETURN_IF_ERROR(Reserve(n_ + uint64_t{1}, EventBytes(schema_)));
    EventColumns& events = block_.events;
    events = MakeColumns(schema_);
    GRAB_RETURN_IF_ERROR(TakeUsers());
    GRAB_RETURN_IF_ERROR(TakeDifferences(events.event_id));
    GRAB_RETURN_IF_ERROR(TakeTimes());
    GRAB_RETURN_IF_ERROR(TakeGroup(events.page_id));
    GRAB_RETURN_IF_ERROR(TakeGroup(events.session_id));
    GRAB_RETURN_IF_ERROR(TakeSplits());
    if (only_.has_value()) KeepOnly();
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.actions, kept()));
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.actions_known, kept()));
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.labels, kept()));
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n_, events.labels_known, kept()));
    for (size_t f = 0; f < schema_.fields.size(); ++f) {
      GRAB_RETURN_IF_ERROR(Annotate(TakeField(f), schema_.fields[f].name));
    }
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

  // Offsets from n lengths of at most `each_max`; the last one is returned.
  StatusOr<uint32_t> TakeOffsets(uint32_t n, uint64_t each_max, std::vector<uint32_t>& offsets) {
    GRAB_RETURN_IF_ERROR(in_.TakeInts32(n, lengths_));
    offsets.resize(n + size_t{1});
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; ++i) {
      if (lengths_[i] > each_max) {
        return absl::DataLossError(
            absl::StrCat("a length of ", lengths_[i], ", at most ", each_max, " is allowed"));
      }
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
    GRAB_ASSIGN_OR_RETURN(const uint32_t events, TakeOffsets(users_, n_, block_.user_offsets));
    if (events != n_) {
      return absl::DataLossError(absl::StrCat("users of ", events, " events, expected ", n_));
    }
    if (users_ == 0) return absl::OkStatus();
    block_.user_id.resize(users_);
    GRAB_ASSIGN_OR_RETURN(const uint8_t kind, in_.TakeByte());
    if (kind == kUsersDecimal) {
      GRAB_RETURN_IF_ERROR(in_.TakeInts(users_, ints_));
      uint64_t value = 0;
      for (uint32_t user = 0; user < users_; ++user) {
        value += static_cast<uint64_t>(UnZigZag(ints_[user]));
        char text[24];
        const auto end = std::to_chars(text, text + sizeof text, static_cast<int64_t>(value)).ptr;
        block_.user_id[user].assign(text, end);
      }
    } else if (kind == kUsersText) {
      std::vector<uint32_t> offsets;
      GRAB_ASSIGN_OR_RETURN(const uint32_t bytes, TakeOffsets(users_, kUserIdBytesMax, offsets));
      GRAB_RETURN_IF_ERROR(Reserve(bytes, kUserTextBytes));
      GRAB_ASSIGN_OR_RETURN(const std::span<const uint8_t> text, in_.TakeBytes(bytes));
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
    if (kind == kColumnPlain) return in_.TakeInts(n_, keys);
    if (kind != kColumnGroupRank) {
      return absl::DataLossError("unknown encoding of pages or sessions");
    }
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

  Status TakeValues(uint64_t n, std::vector<uint64_t>& out, DictionaryCodes* codes,
                    const Positions* only) {
    return in_.TakeInts(n, out, codes, only);
  }
  Status TakeValues(uint64_t n, std::vector<float>& out, DictionaryCodes* codes,
                    const Positions* only) {
    return in_.TakeFloats(n, out, codes, only);
  }

  template <class T>
  void Spread(const std::vector<T>& per_user, std::vector<T>& out) {
    out.resize(rows_);
    for (uint32_t user = 0; user < users_; ++user) {
      std::fill(out.begin() + block_.user_offsets[user],
                out.begin() + block_.user_offsets[user + 1], per_user[user]);
    }
  }

  template <class T>
  Status TakeColumn(size_t f, uint8_t kind, std::vector<T>& out) {
    if (kind == kColumnPlain) return TakeValues(n_, out, &codes_[f], kept());
    std::vector<T> few;
    if (kind == kColumnPerUser) {
      GRAB_RETURN_IF_ERROR(TakeValues(users_, few, nullptr, nullptr));
      Spread(few, out);
      return absl::OkStatus();
    }
    if (kind != kColumnDependent) {
      return absl::DataLossError(absl::StrCat("unknown encoding ", kind));
    }
    GRAB_ASSIGN_OR_RETURN(const uint32_t parent, in_.TakeU32());
    if (parent >= f || codes_[parent].entries == 0) {
      return absl::DataLossError(absl::StrCat("depends on field ", parent, " without dictionary"));
    }
    const DictionaryCodes& dictionary = codes_[parent];
    GRAB_RETURN_IF_ERROR(TakeValues(dictionary.entries, few, nullptr, nullptr));
    out.resize(rows_);
    for (uint32_t i = 0; i < rows_; ++i) out[i] = few[dictionary.codes[i]];
    return absl::OkStatus();
  }

  Status TakeField(size_t f) {
    FieldColumn& column = block_.events.fields[f];
    const FieldSchema& field = schema_.fields[f];
    if (n_ == 0) return absl::OkStatus();
    if (field.kind == FieldKind::kDense) {
      GRAB_RETURN_IF_ERROR(in_.TakeFloats(uint64_t{n_} * field.width, column.numbers));
      if (only_.has_value()) Keep(column.numbers, field.width);
      return absl::OkStatus();
    }
    if (field.kind == FieldKind::kIds) {
      GRAB_RETURN_IF_ERROR(TakeIds(field, column));
      if (only_.has_value()) KeepIds(field, column);
      return absl::OkStatus();
    }
    GRAB_ASSIGN_OR_RETURN(const uint8_t kind, in_.TakeByte());
    if (field.kind == FieldKind::kNumber) return TakeColumn(f, kind, column.numbers);
    if (kind != kColumnUserKey) return TakeColumn(f, kind, column.ids);
    Spread(user_keys_, column.ids);
    return absl::OkStatus();
  }

  Status TakeIds(const FieldSchema& field, FieldColumn& column) {
    GRAB_ASSIGN_OR_RETURN(const uint32_t ids, TakeOffsets(n_, kFieldValuesMax, column.offsets));
    GRAB_RETURN_IF_ERROR(Reserve(ids, IdBytes(field)));
    GRAB_RETURN_IF_ERROR(in_.TakeInts(ids, column.ids));
    return field.weighted ? in_.TakeFloats(ids, column.numbers) : absl::OkStatus();
  }

  // Which values of a stream of all events to take.
  const Positions* kept() const { return only_.has_value() ? &kept_ : nullptr; }

  // From here on the block has only the events of *only_: what was decoded is cut, and of what
  // follows the rest is not even spread out.
  void KeepOnly() {
    EventColumns& events = block_.events;
    for (uint32_t i = 0; i < n_; ++i) {
      if (events.split[i] == *only_) kept_.push_back(i);
    }
    rows_ = static_cast<uint32_t>(kept_.size());
    auto next = kept_.begin();
    for (uint32_t& offset : block_.user_offsets) {
      next = std::lower_bound(next, kept_.end(), offset);
      offset = static_cast<uint32_t>(next - kept_.begin());
    }
    Keep(events.event_id);
    Keep(events.request_time_ms);
    Keep(events.known_time_ms);
    Keep(events.page_id);
    Keep(events.session_id);
    Keep(events.split);
    Keep(events.history);
  }

  // Of a column with `width` values per event those of the kept events.
  template <class T>
  void Keep(std::vector<T>& column, size_t width = 1) const {
    if (column.empty()) return;
    std::vector<T> cut;
    cut.reserve(kept_.size() * width);
    for (const uint32_t i : kept_) {
      const auto begin = column.begin() + static_cast<int64_t>(i * width);
      cut.insert(cut.end(), begin, begin + static_cast<int64_t>(width));
    }
    column = std::move(cut);
  }

  void KeepIds(const FieldSchema& field, FieldColumn& column) const {
    FieldColumn cut;
    cut.offsets.push_back(0);
    for (const uint32_t i : kept_) {
      const int64_t begin = column.offsets[i], end = column.offsets[i + 1];
      cut.ids.insert(cut.ids.end(), column.ids.begin() + begin, column.ids.begin() + end);
      if (field.weighted) {
        cut.numbers.insert(cut.numbers.end(), column.numbers.begin() + begin,
                           column.numbers.begin() + end);
      }
      cut.offsets.push_back(static_cast<uint32_t>(cut.ids.size()));
    }
    column = std::move(cut);
  }

  const Schema& schema_;
  const uint32_t users_;
  const uint32_t n_;
  uint32_t rows_;  // of the block that is made: n_, or what only_ leaves of them
  const std::optional<Split> only_;
  Positions kept_;  // events of *only_
  StreamDecoder in_;
  uint64_t memory_left_ = kBlockBytesMax;
  UserBlock block_;
  std::vector<uint64_t> user_keys_;
  std::vector<DictionaryCodes> codes_;  // of every field
  std::vector<uint64_t> ints_;
  std::vector<uint32_t> lengths_;
};

}  // namespace

StatusOr<UserBlock> DecodeBlock(const Schema& schema, uint32_t users, uint32_t events,
                                std::span<const uint8_t> bytes, uint64_t* error_offset,
                                std::optional<Split> only) {
  BlockDecoder decoder(schema, users, events, bytes, only);
  StatusOr<UserBlock> block = decoder.Decode();
  *error_offset = decoder.position();
  return block;
}

}  // namespace grab
