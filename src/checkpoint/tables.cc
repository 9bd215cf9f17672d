#include "checkpoint/tables.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "checkpoint/safetensors.h"

namespace grab {
namespace {

constexpr uint32_t kRowsPerPart = 4096;

using RowPart = const float* (*)(const EmbeddingTable&, uint32_t row);

// Streams `width` floats of every row, a part at a time.
Status StreamRows(const EmbeddingTable& table, uint32_t width, RowPart part,
                  const SafetensorsWriter::Sink& sink) {
  std::vector<float> buffer;
  for (uint32_t begin = 0; begin < table.rows(); begin += kRowsPerPart) {
    buffer.clear();
    for (uint32_t row = begin; row < std::min(table.rows(), begin + kRowsPerPart); ++row) {
      const float* from = part(table, row);
      buffer.insert(buffer.end(), from, from + width);
    }
    GRAB_RETURN_IF_ERROR(sink(buffer.data(), buffer.size() * sizeof(float)));
  }
  return absl::OkStatus();
}

const float* ValuesOf(const EmbeddingTable& table, uint32_t row) { return table.values(row); }
const float* StateOf(const EmbeddingTable& table, uint32_t row) { return table.state(row); }

Status AddTable(const std::string& prefix, const EmbeddingTable& table, SafetensorsWriter& writer) {
  const int64_t rows = table.rows();
  GRAB_RETURN_IF_ERROR(writer.AddStreamed(
      prefix + "keys", Dtype::kU64, {rows}, [&table](const SafetensorsWriter::Sink& sink) {
        std::vector<uint64_t> keys;
        for (uint32_t row = 0; row < table.rows(); ++row) keys.push_back(table.key(row));
        return sink(keys.data(), keys.size() * sizeof(uint64_t));
      }));
  GRAB_RETURN_IF_ERROR(writer.AddStreamed(prefix + "values", Dtype::kF32, {rows, table.dim()},
                                          [&table](const SafetensorsWriter::Sink& sink) {
                                            return StreamRows(table, table.dim(), ValuesOf, sink);
                                          }));
  if (table.state_width() == 0) return absl::OkStatus();
  return writer.AddStreamed(prefix + "state", Dtype::kF32, {rows, table.state_width()},
                            [&table](const SafetensorsWriter::Sink& sink) {
                              return StreamRows(table, table.state_width(), StateOf, sink);
                            });
}

// The tensor, if it is of `dtype` and `shape`; a negative size in `shape` stands for any.
StatusOr<const TensorInfo*> FindTensor(const SafetensorsReader& reader, const std::string& name,
                                       Dtype dtype, const std::vector<int64_t>& shape) {
  const TensorInfo* info = reader.Find(name);
  if (info == nullptr) {
    return absl::NotFoundError(absl::StrCat(reader.path(), ": tensor '", name, "' is missing"));
  }
  bool fits = info->dtype == dtype && info->shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] < 0 || shape[i] == info->shape[i];
  }
  if (fits) return info;
  return absl::InvalidArgumentError(
      absl::StrCat(reader.path(), ": tensor '", name, "' is ", DtypeName(info->dtype), " [",
                   absl::StrJoin(info->shape, ", "), "], its table needs ", DtypeName(dtype), " [",
                   absl::StrJoin(shape, ", "), "] (-1: any)"));
}

Status ReadRows(const SafetensorsReader& reader, const TensorInfo& info, uint32_t width,
                float* (*row_of)(EmbeddingTable&, uint32_t), EmbeddingTable& table) {
  std::vector<float> buffer;
  for (uint32_t begin = 0; begin < table.rows(); begin += kRowsPerPart) {
    const uint32_t end = std::min(table.rows(), begin + kRowsPerPart);
    buffer.resize(static_cast<size_t>(end - begin) * width);
    GRAB_RETURN_IF_ERROR(
        reader.ReadPart(info, static_cast<uint64_t>(begin) * width, absl::MakeSpan(buffer)));
    for (uint32_t row = begin; row < end; ++row) {
      const auto from = buffer.begin() + static_cast<ptrdiff_t>(row - begin) * width;
      if (!std::all_of(from, from + width, [](float value) { return std::isfinite(value); })) {
        return absl::DataLossError(absl::StrCat(reader.path(), ": tensor '", info.name, "', row ",
                                                row, ": a value is not finite"));
      }
      std::copy(from, from + width, row_of(table, row));
    }
  }
  return absl::OkStatus();
}

Status ReadKeys(const SafetensorsReader& reader, const TensorInfo& info, EmbeddingTable& table) {
  const auto rows = static_cast<uint64_t>(info.shape[0]);
  if (rows == 0 || rows > EmbeddingTable::kRowsMax) {
    return absl::InvalidArgumentError(absl::StrCat(reader.path(), ": tensor '", info.name, "' has ",
                                                   rows, " rows, expected 1 to ",
                                                   EmbeddingTable::kRowsMax));
  }
  std::vector<uint64_t> keys(rows);
  GRAB_RETURN_IF_ERROR(reader.ReadPart(info, 0, absl::MakeSpan(keys)));
  for (uint64_t row = 0; row < rows; ++row) {
    const bool valid =
        row == 0 ? keys[row] == 0 : keys[row] != 0 && table.FindOrInsert(keys[row]) == row;
    if (!valid) {
      return absl::DataLossError(
          absl::StrCat(reader.path(), ": tensor '", info.name, "', row ", row,
                       ": key is doubled, or 0 where it may not be, or not 0 in row 0"));
    }
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

Status ReadTables(const std::string& path, const std::vector<TableSpec>& specs,
                  std::vector<EmbeddingTable>& tables, bool with_state) {
  GRAB_CHECK(specs.size() == tables.size());
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  for (size_t t = 0; t < specs.size(); ++t) {
    EmbeddingTable& table = tables[t];
    GRAB_CHECK(table.rows() == 1);
    const std::string prefix = absl::StrCat("table.", specs[t].name, ".");
    GRAB_ASSIGN_OR_RETURN(const TensorInfo* keys,
                          FindTensor(*reader, prefix + "keys", Dtype::kU64, {-1}));
    const int64_t rows = keys->shape[0];
    // Both tensors are checked before the rows take memory.
    GRAB_ASSIGN_OR_RETURN(const TensorInfo* values,
                          FindTensor(*reader, prefix + "values", Dtype::kF32, {rows, table.dim()}));
    GRAB_RETURN_IF_ERROR(ReadKeys(*reader, *keys, table));
    GRAB_RETURN_IF_ERROR(ReadRows(
        *reader, *values, table.dim(),
        [](EmbeddingTable& to, uint32_t row) { return to.values(row); }, table));
    if (table.state_width() == 0 || !with_state) continue;
    GRAB_ASSIGN_OR_RETURN(
        const TensorInfo* state,
        FindTensor(*reader, prefix + "state", Dtype::kF32, {rows, table.state_width()}));
    GRAB_RETURN_IF_ERROR(ReadRows(
        *reader, *state, table.state_width(),
        [](EmbeddingTable& to, uint32_t row) { return to.state(row); }, table));
  }
  return absl::OkStatus();
}

StatusOr<bool> HasTableState(const std::string& path, const TableSpec& spec,
                             const EmbeddingTable& table) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> reader,
                        SafetensorsReader::Open(path));
  const TensorInfo* state = reader->Find(absl::StrCat("table.", spec.name, ".state"));
  return state != nullptr && state->shape.size() == 2 && state->shape[1] == table.state_width();
}

}  // namespace grab
