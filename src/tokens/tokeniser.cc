#include "tokens/tokeniser.h"

#include <cmath>

#include "base/hash.h"

namespace grab {
namespace {

// Keys of the actions slot: 1 + i where action i is set, kActionUnknown + i where it is not known,
// kActionNone where all are known and none is set.
constexpr uint64_t kActionUnknown = 64;
constexpr uint64_t kActionNone = 128;

// The value of an id or number field as a key; 0 = missing.
uint64_t KeyOf(const FieldColumn& column, const std::vector<double>& boundaries, FieldKind kind,
               size_t index) {
  return kind == FieldKind::kNumber ? BucketKey(boundaries, column.numbers[index])
                                    : column.ids[index];
}

void PushPair(uint64_t key, float weight, SlotColumn& column) {
  column.keys.push_back(key);
  column.weights.push_back(weight);
}

void AppendIds(const FieldColumn& field, bool mean, size_t index, SlotColumn& column) {
  const uint32_t begin = field.offsets[index];
  const uint32_t end = field.offsets[index + 1];
  const auto weight = [&](uint32_t i) { return field.numbers.empty() ? 1.0f : field.numbers[i]; };
  float scale = 1.0f;
  if (mean) {
    float sum = 0.0f;
    for (uint32_t i = begin; i < end; ++i) sum += weight(i);
    scale = sum == 0.0f ? 0.0f : 1.0f / sum;
  }
  for (uint32_t i = begin; i < end; ++i) PushPair(field.ids[i], weight(i) * scale, column);
}

void AppendActions(const EventColumns& events, size_t actions, size_t index, SlotColumn& column) {
  const size_t begin = column.keys.size();
  for (size_t i = 0; i < actions; ++i) {
    if ((events.actions_known[index] >> i & 1u) == 0) {
      PushPair(kActionUnknown + i, 1.0f, column);
    } else if ((events.actions[index] >> i & 1u) != 0) {
      PushPair(1 + i, 1.0f, column);
    }
  }
  if (column.keys.size() == begin) PushPair(kActionNone, 1.0f, column);
}

void AppendDense(const FieldColumn& field, uint32_t width, size_t index, SlotColumn& column) {
  const auto begin = field.numbers.begin() + static_cast<ptrdiff_t>(index * width);
  column.dense.insert(column.dense.end(), begin, begin + width);
  if (std::isnan(*begin)) std::fill(column.dense.end() - width, column.dense.end(), 0.0f);
}

}  // namespace

void Clear(TokenColumns& columns) {
  for (SlotColumn& column : columns.columns) {
    column.offsets.resize(1);
    column.keys.clear();
    column.weights.clear();
    column.dense.clear();
  }
  columns.rows = 0;
}

Tokeniser::Tokeniser(const TokenSpec& spec, TokenView view) : spec_(spec) {
  for (size_t i = 0; i < spec.slots.size(); ++i) {
    const TokenSlot& slot = spec.slots[i];
    if (view == TokenView::kPartial ? slot.partial : slot.full)
      slots_.push_back(static_cast<int>(i));
  }
}

TokenColumns Tokeniser::Empty() const {
  TokenColumns columns;
  columns.slots = slots_;
  columns.columns.resize(slots_.size());
  for (SlotColumn& column : columns.columns) column.offsets.push_back(0);
  return columns;
}

void Tokeniser::Append(const EventColumns& events, size_t index, TokenColumns& out) const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const TokenSlot& slot = spec_.slots[static_cast<size_t>(slots_[i])];
    SlotColumn& column = out.columns[i];
    if (slot.kind == SlotKind::kDense) {
      AppendDense(events.fields[static_cast<size_t>(slot.fields[0])], slot.width, index, column);
    } else {
      AppendPairs(slot, events, index, column);
      column.offsets.push_back(static_cast<uint32_t>(column.keys.size()));
    }
  }
  ++out.rows;
}

void Tokeniser::AppendPairs(const TokenSlot& slot, const EventColumns& events, size_t index,
                            SlotColumn& column) const {
  const auto key_of = [&](size_t part) {
    const auto field = static_cast<size_t>(slot.fields[part]);
    return KeyOf(events.fields[field], slot.boundaries[part], spec_.schema.fields[field].kind,
                 index);
  };
  switch (slot.kind) {
    case SlotKind::kId:
    case SlotKind::kNumber:
      if (const uint64_t key = key_of(0); key != 0) PushPair(key, 1.0f, column);
      return;
    case SlotKind::kIds:
      AppendIds(events.fields[static_cast<size_t>(slot.fields[0])], slot.mean, index, column);
      return;
    case SlotKind::kCross: {
      uint64_t key = key_of(0);
      for (size_t part = 1; part < slot.fields.size() && key != 0; ++part) {
        const uint64_t next = key_of(part);
        key = next == 0 ? 0 : HashCombine(key, next);
      }
      if (key != 0) PushPair(key, 1.0f, column);
      return;
    }
    case SlotKind::kActions:
      AppendActions(events, spec_.schema.actions.size(), index, column);
      return;
    case SlotKind::kDense:
      return;
  }
}

}  // namespace grab
