#include "checkpoint/tables.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/table_tensors.h"

namespace grab {
namespace {

constexpr uint32_t kPartitions = EmbeddingTable::kPartitions;

// The unknown row and, of the others, all or those that changed.
template <class F>
void ForEachChosen(const EmbeddingTable& table, TableRows rows, const F& visit) {
  table.ForEachRow([&](uint32_t row) {
    const bool chosen = rows == TableRows::kAll || row == EmbeddingTable::kUnknownRow;
    if (chosen || table.changed(row)) visit(row);
  });
}

int64_t CountChosen(const EmbeddingTable& table, TableRows rows) {
  int64_t count = 0;
  ForEachChosen(table, rows, [&](uint32_t) { ++count; });
  return count;
}

// A tensor of `bytes` per row, a part at a time. `copy(row, to)` writes a row's bytes.
template <class Copy>
SafetensorsWriter::Source RowSource(const EmbeddingTable& table, TableRows rows, size_t bytes,
                                    Copy copy) {
  return [&table, rows, bytes, copy](const SafetensorsWriter::Sink& sink) -> Status {
    std::vector<std::byte> buffer(bytes * kTableRowsPerPart);
    size_t filled = 0;
    Status status;
    ForEachChosen(table, rows, [&](uint32_t row) {
      copy(row, buffer.data() + filled);
      filled += bytes;
      if (filled < buffer.size()) return;
      status.Update(sink(buffer.data(), filled));
      filled = 0;
    });
    GRAB_RETURN_IF_ERROR(status);
    return filled == 0 ? absl::OkStatus() : sink(buffer.data(), filled);
  };
}

// As RowSource, of one number per row.
template <class Number>
SafetensorsWriter::Source NumberSource(const EmbeddingTable& table, TableRows rows, Number number) {
  using T = decltype(number(uint32_t{0}));
  return RowSource(table, rows, sizeof(T), [number](uint32_t row, std::byte* to) {
    const T value = number(row);
    std::memcpy(to, &value, sizeof(T));
  });
}

template <class T>
Status SinkAll(const std::vector<T>& numbers, const SafetensorsWriter::Sink& sink) {
  return numbers.empty() ? absl::OkStatus() : sink(numbers.data(), numbers.size() * sizeof(T));
}

// Tensors of one number per row.
Status AddLives(const std::string& prefix, const EmbeddingTable& table, SafetensorsWriter& writer) {
  const auto rows = static_cast<int64_t>(table.rows());
  const auto add = [&](const char* name, Dtype dtype, auto number) {
    return writer.AddStreamed(prefix + name, dtype, {rows},
                              NumberSource(table, TableRows::kAll, number));
  };
  GRAB_RETURN_IF_ERROR(add(kTableLastSeen, Dtype::kU32,
                           [&table](uint32_t row) { return table.life(row).last_seen_s; }));
  GRAB_RETURN_IF_ERROR(
      add(kTableScore, Dtype::kF32, [&table](uint32_t row) { return table.life(row).score; }));
  GRAB_RETURN_IF_ERROR(
      add(kTableUpdates, Dtype::kU32, [&table](uint32_t row) { return table.life(row).updates; }));
  return add(kTableChanged, Dtype::kU8,
             [&table](uint32_t row) { return static_cast<uint8_t>(table.changed(row)); });
}

// What no row has.
Status AddTableLife(const std::string& prefix, const EmbeddingTable& table,
                    SafetensorsWriter& writer) {
  using Sink = SafetensorsWriter::Sink;
  size_t tombstones = 0;
  for (uint32_t p = 0; p < kPartitions; ++p)
    tombstones += table.partition_life(p).tombstones.size();
  const auto write_life = [&table](const Sink& sink) {
    return SinkAll(TableLife::Of(table), sink);
  };
  const auto write_tombstones = [&table](const Sink& sink) -> Status {
    for (uint32_t p = 0; p < kPartitions; ++p) {
      GRAB_RETURN_IF_ERROR(SinkAll(table.partition_life(p).tombstones, sink));
    }
    return absl::OkStatus();
  };
  const auto write_sketch = [&table](const Sink& sink) -> Status {
    for (uint32_t p = 0; p < kPartitions; ++p) {
      GRAB_RETURN_IF_ERROR(SinkAll(table.partition_life(p).sketch.counters(), sink));
    }
    return absl::OkStatus();
  };
  GRAB_RETURN_IF_ERROR(writer.AddStreamed(prefix + kTableLife, Dtype::kI64,
                                          {int64_t{TableLife::kSize}}, write_life));
  GRAB_RETURN_IF_ERROR(writer.AddStreamed(prefix + kTableTombstones, Dtype::kU64,
                                          {static_cast<int64_t>(tombstones)}, write_tombstones));
  const auto counters = static_cast<int64_t>(table.partition_life(0).sketch.counters().size());
  if (counters == 0) return absl::OkStatus();
  return writer.AddStreamed(prefix + kTableSketch, Dtype::kU8, {int64_t{kPartitions}, counters},
                            write_sketch);
}

// What serving reads: keys and values.
Status AddRows(const std::string& prefix, const EmbeddingTable& table, TableRows rows,
               SafetensorsWriter& writer) {
  const RowLayout& layout = table.layout();
  const int64_t count = CountChosen(table, rows);
  GRAB_RETURN_IF_ERROR(writer.AddStreamed(
      prefix + kTableKeys, Dtype::kU64, {count},
      NumberSource(table, rows, [&table](uint32_t row) { return table.key(row); })));
  const size_t value_bytes = size_t{layout.dim} * BytesOf(layout.precision);
  return writer.AddStreamed(
      prefix + kTableValues, ValuesDtype(layout.precision), {count, layout.dim},
      RowSource(table, rows, value_bytes, [&table, value_bytes](uint32_t row, std::byte* to) {
        std::memcpy(to, table.stored_values(row), value_bytes);
      }));
}

Status AddTable(const std::string& prefix, const EmbeddingTable& table, SafetensorsWriter& writer) {
  GRAB_RETURN_IF_ERROR(AddRows(prefix, table, TableRows::kAll, writer));
  const RowLayout& layout = table.layout();
  if (!layout.lives) return absl::OkStatus();
  const size_t state_bytes = sizeof(float) * layout.state_width;
  GRAB_RETURN_IF_ERROR(writer.AddStreamed(
      prefix + kTableState, Dtype::kF32, {static_cast<int64_t>(table.rows()), layout.state_width},
      RowSource(table, TableRows::kAll, state_bytes,
                [&table, state_bytes](uint32_t row, std::byte* to) {
                  std::memcpy(to, table.state(row), state_bytes);
                })));
  GRAB_RETURN_IF_ERROR(AddLives(prefix, table, writer));
  return AddTableLife(prefix, table, writer);
}

// Fills one table from its tensors. All of their types and shapes are checked before rows take
// memory; rows are read a part at a time.
class TableReader {
 public:
  TableReader(const SafetensorsReader& reader, const std::string& name, EmbeddingTable& table)
      : reader_(reader), prefix_(absl::StrCat("table.", name, ".")), table_(table) {}

  Status Read() {
    GRAB_RETURN_IF_ERROR(FindTensors());
    for (uint64_t begin = 0; begin < rows_; begin += kTableRowsPerPart) {
      GRAB_RETURN_IF_ERROR(ReadRows(begin, std::min<uint64_t>(kTableRowsPerPart, rows_ - begin)));
    }
    return lives() ? ReadLife() : absl::OkStatus();
  }

 private:
  bool lives() const { return table_.layout().lives; }
  StatusOr<const TensorInfo*> Find(const char* name, Dtype dtype,
                                   const std::vector<int64_t>& shape) const;
  Status FindTensors();
  Status FindLife();
  Status TakePrecision();
  Status ReadRows(uint64_t begin, uint64_t count);
  Status ReadRowLives(uint64_t begin, const std::vector<uint32_t>& rows);
  Status InsertKeys(uint64_t begin, const std::vector<uint64_t>& keys, std::vector<uint32_t>& rows);
  Status ReadLife();
  Status ReadTombstones();
  Status ReadSketch();
  Status Wrong(const TensorInfo& tensor, uint64_t row, absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat(reader_.path(), ": tensor '", tensor.name, "', row ", row, ": ", what));
  }
  template <class T>
  StatusOr<std::vector<T>> Part(const TensorInfo& tensor, uint64_t first, uint64_t count) const {
    std::vector<T> part(count);
    GRAB_RETURN_IF_ERROR(reader_.ReadPart(tensor, first, absl::MakeSpan(part)));
    return part;
  }

  const SafetensorsReader& reader_;
  const std::string prefix_;
  EmbeddingTable& table_;
  uint64_t rows_ = 0;
  const TensorInfo* keys_ = nullptr;
  const TensorInfo* values_ = nullptr;
  const TensorInfo* state_ = nullptr;
  const TensorInfo* last_seen_ = nullptr;
  const TensorInfo* score_ = nullptr;
  const TensorInfo* updates_ = nullptr;
  const TensorInfo* changed_ = nullptr;
  const TensorInfo* life_ = nullptr;
  const TensorInfo* tombstones_ = nullptr;
  const TensorInfo* sketch_ = nullptr;
};

// The tensor, if it is of `dtype` and `shape`; a negative size in `shape` stands for any.
StatusOr<const TensorInfo*> TableReader::Find(const char* name, Dtype dtype,
                                              const std::vector<int64_t>& shape) const {
  const TensorInfo* info = reader_.Find(prefix_ + name);
  if (info == nullptr) {
    return absl::NotFoundError(
        absl::StrCat(reader_.path(), ": tensor '", prefix_, name, "' is missing"));
  }
  bool fits = info->dtype == dtype && info->shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] < 0 || shape[i] == info->shape[i];
  }
  if (fits) return info;
  return absl::InvalidArgumentError(
      absl::StrCat(reader_.path(), ": tensor '", info->name, "' is ", DtypeName(info->dtype), " [",
                   absl::StrJoin(info->shape, ", "), "], its table needs ", DtypeName(dtype), " [",
                   absl::StrJoin(shape, ", "), "] (-1: any)"));
}

Status TableReader::FindTensors() {
  GRAB_ASSIGN_OR_RETURN(keys_, Find(kTableKeys, Dtype::kU64, {-1}));
  const int64_t rows = keys_->shape[0];
  rows_ = static_cast<uint64_t>(rows);
  if (rows_ == 0 || rows_ > EmbeddingTable::kRowsMax) {
    return absl::InvalidArgumentError(absl::StrCat(reader_.path(), ": tensor '", keys_->name,
                                                   "' has ", rows_, " rows, expected 1 to ",
                                                   EmbeddingTable::kRowsMax));
  }
  if (!lives()) GRAB_RETURN_IF_ERROR(TakePrecision());
  const RowLayout& layout = table_.layout();
  GRAB_ASSIGN_OR_RETURN(values_,
                        Find(kTableValues, ValuesDtype(layout.precision), {rows, layout.dim}));
  return lives() ? FindLife() : absl::OkStatus();
}

Status TableReader::FindLife() {
  const auto rows = static_cast<int64_t>(rows_);
  GRAB_ASSIGN_OR_RETURN(state_, Find(kTableState, Dtype::kF32, {rows, table_.state_width()}));
  GRAB_ASSIGN_OR_RETURN(last_seen_, Find(kTableLastSeen, Dtype::kU32, {rows}));
  GRAB_ASSIGN_OR_RETURN(score_, Find(kTableScore, Dtype::kF32, {rows}));
  GRAB_ASSIGN_OR_RETURN(updates_, Find(kTableUpdates, Dtype::kU32, {rows}));
  GRAB_ASSIGN_OR_RETURN(changed_, Find(kTableChanged, Dtype::kU8, {rows}));
  GRAB_ASSIGN_OR_RETURN(life_, Find(kTableLife, Dtype::kI64, {int64_t{TableLife::kSize}}));
  GRAB_ASSIGN_OR_RETURN(tombstones_, Find(kTableTombstones, Dtype::kU64, {-1}));
  const auto counters = static_cast<int64_t>(table_.partition_life(0).sketch.counters().size());
  if (counters == 0) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(sketch_, Find(kTableSketch, Dtype::kU8, {int64_t{kPartitions}, counters}));
  return absl::OkStatus();
}

Status TableReader::TakePrecision() {
  const TensorInfo* values = reader_.Find(prefix_ + kTableValues);
  if (values == nullptr) return absl::OkStatus();  // FindTensors says so
  TableOptions options = table_.options();
  for (const RowPrecision precision : {RowPrecision::kBf16, RowPrecision::kF16}) {
    if (values->dtype == ValuesDtype(precision)) options.precision = precision;
  }
  if (options.precision != table_.options().precision) table_ = EmbeddingTable(options);
  return absl::OkStatus();
}

Status TableReader::ReadRows(uint64_t begin, uint64_t count) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<uint64_t> keys, Part<uint64_t>(*keys_, begin, count));
  std::vector<uint32_t> rows;
  GRAB_RETURN_IF_ERROR(InsertKeys(begin, keys, rows));
  const RowLayout& layout = table_.layout();
  const auto copy = [&](const auto& part) {
    const size_t bytes = layout.dim * sizeof(part[0]);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(table_.stored_values(rows[i]), part.data() + i * layout.dim, bytes);
    }
  };
  if (layout.precision == RowPrecision::kF32) {
    GRAB_ASSIGN_OR_RETURN(const std::vector<float> part,
                          Part<float>(*values_, begin * layout.dim, count * layout.dim));
    copy(part);
  } else {
    GRAB_ASSIGN_OR_RETURN(const std::vector<uint16_t> part,
                          Part<uint16_t>(*values_, begin * layout.dim, count * layout.dim));
    copy(part);
  }
  std::vector<float> values(layout.dim);
  for (size_t i = 0; i < rows.size(); ++i) {
    table_.Read(rows[i], values.data());
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
      return Wrong(*values_, begin + i, "a value is not finite");
    }
  }
  return lives() ? ReadRowLives(begin, rows) : absl::OkStatus();
}

// Rows of the keys, which are new to the table.
Status TableReader::InsertKeys(uint64_t begin, const std::vector<uint64_t>& keys,
                               std::vector<uint32_t>& rows) {
  for (size_t i = 0; i < keys.size(); ++i) {
    const uint64_t key = keys[i];
    const bool unknown = begin + i == 0;
    if (unknown != (key == 0) || (!unknown && table_.Find(key) != EmbeddingTable::kUnknownRow)) {
      return Wrong(*keys_, begin + i,
                   "key is doubled, or 0 where it may not be, or not 0 in row 0");
    }
    if (table_.partition_rows(EmbeddingTable::PartitionOf(key)) >= RowStore::kRowsMax) {
      return Wrong(*keys_, begin + i, "too many keys hash to one partition");
    }
    rows.push_back(unknown ? EmbeddingTable::kUnknownRow : table_.FindOrInsert(key));
  }
  return absl::OkStatus();
}

Status TableReader::ReadRowLives(uint64_t begin, const std::vector<uint32_t>& rows) {
  const size_t width = table_.state_width();
  GRAB_ASSIGN_OR_RETURN(const auto state, Part<float>(*state_, begin * width, rows.size() * width));
  GRAB_ASSIGN_OR_RETURN(const auto last_seen, Part<uint32_t>(*last_seen_, begin, rows.size()));
  GRAB_ASSIGN_OR_RETURN(const auto score, Part<float>(*score_, begin, rows.size()));
  GRAB_ASSIGN_OR_RETURN(const auto updates, Part<uint32_t>(*updates_, begin, rows.size()));
  GRAB_ASSIGN_OR_RETURN(const auto changed, Part<uint8_t>(*changed_, begin, rows.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto from = state.begin() + static_cast<ptrdiff_t>(i * width);
    const auto to = from + static_cast<ptrdiff_t>(width);
    if (!std::all_of(from, to, [](float v) { return std::isfinite(v); })) {
      return Wrong(*state_, begin + i, "a value is not finite");
    }
    if (!std::isfinite(score[i]) || std::signbit(score[i])) {
      return Wrong(*score_, begin + i, absl::StrCat("expected at least 0, got ", score[i]));
    }
    if (changed[i] > 1) return Wrong(*changed_, begin + i, "expected 0 or 1");
    std::copy(from, to, table_.state(rows[i]));
    table_.life(rows[i]) = {last_seen[i], score[i], updates[i], 0};
    if (changed[i] == 1) table_.MarkChanged(rows[i]);
  }
  return absl::OkStatus();
}

Status TableReader::ReadLife() {
  if (sketch_ != nullptr) GRAB_RETURN_IF_ERROR(ReadSketch());
  GRAB_RETURN_IF_ERROR(ReadTombstones());
  GRAB_ASSIGN_OR_RETURN(const auto numbers, Part<int64_t>(*life_, 0, TableLife::kSize));
  if (TableLife::Restore(numbers, table_)) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(reader_.path(), ": tensor '", life_->name, "': a number is out of range"));
}

Status TableReader::ReadTombstones() {
  const auto count = static_cast<uint64_t>(tombstones_->shape[0]);
  for (uint64_t begin = 0; begin < count; begin += kTableRowsPerPart) {
    const uint64_t part = std::min<uint64_t>(kTableRowsPerPart, count - begin);
    GRAB_ASSIGN_OR_RETURN(const auto keys, Part<uint64_t>(*tombstones_, begin, part));
    for (uint64_t i = 0; i < part; ++i) {
      std::vector<uint64_t>& tombstones =
          table_.partition_life(EmbeddingTable::PartitionOf(keys[i])).tombstones;
      if (keys[i] == 0 || tombstones.size() >= EmbeddingTable::kTombstonesMax) {
        return Wrong(*tombstones_, begin + i, "key is 0, or one too many of its partition");
      }
      tombstones.push_back(keys[i]);
    }
  }
  return absl::OkStatus();
}

Status TableReader::ReadSketch() {
  const auto counters = static_cast<uint64_t>(sketch_->shape[1]);
  for (uint32_t p = 0; p < kPartitions; ++p) {
    GRAB_ASSIGN_OR_RETURN(auto part, Part<uint8_t>(*sketch_, p * counters, counters));
    table_.partition_life(p).sketch.Restore(std::move(part), 0);
  }
  return absl::OkStatus();
}

}  // namespace

Status WriteTables(const std::vector<TableSpec>& specs, const std::vector<EmbeddingTable>& tables,
                   const std::string& path) {
  GRAB_CHECK(specs.size() == tables.size());
  SafetensorsWriter writer;
  for (size_t t = 0; t < specs.size(); ++t) {
    GRAB_RETURN_IF_ERROR(AddTable(absl::StrCat("table.", specs[t].name, "."), tables[t], writer));
  }
  return writer.Write(path);
}

Status WriteServedTables(const std::vector<TableSpec>& specs,
                         const std::vector<EmbeddingTable>& tables, TableRows rows,
                         const std::string& path) {
  GRAB_CHECK(specs.size() == tables.size());
  SafetensorsWriter writer;
  // The writer reads them when it writes.
  std::vector<std::vector<uint64_t>> tombstones;
  tombstones.reserve(tables.size());
  for (size_t t = 0; t < specs.size(); ++t) {
    const std::string prefix = absl::StrCat("table.", specs[t].name, ".");
    GRAB_RETURN_IF_ERROR(AddRows(prefix, tables[t], rows, writer));
    if (rows == TableRows::kAll) continue;
    EmbeddingTable::Tombstones gone = tables[t].CollectTombstones();
    GRAB_CHECK(gone.complete);
    tombstones.push_back(std::move(gone.keys));
    GRAB_RETURN_IF_ERROR(writer.Add(prefix + kTableTombstones, Dtype::kU64,
                                    {static_cast<int64_t>(tombstones.back().size())},
                                    tombstones.back().data()));
  }
  return writer.Write(path);
}

Status ApplyTables(const std::string& path, const std::vector<TableSpec>& specs,
                   std::vector<EmbeddingTable>& tables) {
  GRAB_CHECK(specs.size() == tables.size());
  std::vector<EmbeddingTable> changed;
  for (const EmbeddingTable& table : tables) changed.emplace_back(table.options());
  GRAB_RETURN_IF_ERROR(ReadTables(path, specs, changed));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  std::vector<std::vector<uint64_t>> gone(tables.size());
  for (size_t t = 0; t < tables.size(); ++t) {
    const std::string name = absl::StrCat("table.", specs[t].name, ".", kTableTombstones);
    const TensorInfo* tombstones = reader->Find(name);
    if (tombstones == nullptr || tombstones->shape.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": is no delta: tensor '", name, "' is missing or no list"));
    }
    gone[t].resize(static_cast<size_t>(tombstones->shape[0]));
    GRAB_RETURN_IF_ERROR(
        reader->Read(name, Dtype::kU64, tombstones->shape, absl::MakeSpan(gone[t])));
  }
  for (size_t t = 0; t < tables.size(); ++t) {
    for (const uint64_t key : gone[t]) tables[t].Erase(key);
    const size_t bytes = size_t{tables[t].dim()} * BytesOf(tables[t].layout().precision);
    changed[t].ForEachRow([&](uint32_t row) {
      const uint64_t key = changed[t].key(row);
      const uint32_t to = key == 0 ? EmbeddingTable::kUnknownRow : tables[t].FindOrInsert(key);
      std::memcpy(tables[t].stored_values(to), changed[t].stored_values(row), bytes);
    });
  }
  return absl::OkStatus();
}

Status ReadTables(const std::string& path, const std::vector<TableSpec>& specs,
                  std::vector<EmbeddingTable>& tables) {
  GRAB_CHECK(specs.size() == tables.size());
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  for (size_t t = 0; t < specs.size(); ++t) {
    GRAB_CHECK(tables[t].rows() == 1);
    GRAB_RETURN_IF_ERROR(TableReader(*reader, specs[t].name, tables[t]).Read());
  }
  return absl::OkStatus();
}

StatusOr<bool> HasTableState(const std::string& path, const TableSpec& spec,
                             const EmbeddingTable& table) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  const auto fits = [&](const char* name, Dtype dtype, int64_t last) {
    const TensorInfo* tensor = reader->Find(absl::StrCat("table.", spec.name, ".", name));
    return tensor != nullptr && tensor->dtype == dtype && tensor->shape.back() == last;
  };
  const RowLayout& layout = table.layout();
  const auto counters = static_cast<int64_t>(table.partition_life(0).sketch.counters().size());
  return layout.lives && fits(kTableValues, ValuesDtype(layout.precision), layout.dim) &&
         fits(kTableState, Dtype::kF32, table.state_width()) &&
         (counters == 0 || fits(kTableSketch, Dtype::kU8, counters));
}

}  // namespace grab
