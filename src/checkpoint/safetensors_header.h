// The header of a safetensors file (docs/formats/checkpoint.md): which tensors the file holds and
// where. Text in, text out; the file around it is safetensors.h's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab {

enum class Dtype : uint8_t { kF64, kF32, kI64, kU64, kI32, kU32, kU8, kBF16, kF16 };

absl::string_view DtypeName(Dtype dtype);  // as in the header: "F32"
uint64_t DtypeBytes(Dtype dtype);

inline constexpr size_t kTensorRankMax = 8;
inline constexpr char kSafetensorsMetadataKey[] = "__metadata__";  // never a tensor

struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;  // row-major; empty for a scalar
  uint64_t begin = 0;          // bytes from the end of the header
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // by begin; they cover the data without gaps
  std::map<std::string, std::string> metadata;  // "__metadata__", free text
};

// Bytes of a tensor; an InvalidArgument when a dimension is negative, the rank is above
// kTensorRankMax or the product exceeds 2^63 - 1.
StatusOr<uint64_t> TensorBytes(Dtype dtype, const std::vector<int64_t>& shape);

// Parses and checks a header for `data_bytes` bytes of data: well-formed JSON of exactly the
// format's keys, no name or key twice, sizes that match the shapes, ranges that cover the data
// without gap or overlap. A failure is a DataLoss whose message says what and which tensor, without
// the file's name.
StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json, uint64_t data_bytes);

// The JSON text, padded with spaces so that it and the 8 bytes before it end on a multiple of 64.
std::string SafetensorsHeaderText(const SafetensorsHeader& header);

}  // namespace grab
