#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"

namespace grab {
namespace {

struct DtypeEntry {
  Dtype dtype;
  const char* name;
  uint64_t bytes;
};
constexpr DtypeEntry kDtypes[] = {
    {Dtype::kF64, "F64", 8}, {Dtype::kF32, "F32", 4},   {Dtype::kI64, "I64", 8},
    {Dtype::kU64, "U64", 8}, {Dtype::kI32, "I32", 4},   {Dtype::kU32, "U32", 4},
    {Dtype::kU8, "U8", 1},   {Dtype::kBF16, "BF16", 2}, {Dtype::kF16, "F16", 2}};
constexpr uint64_t kAlignmentBytes = 64;

const DtypeEntry& Entry(Dtype dtype) { return kDtypes[static_cast<size_t>(dtype)]; }

std::string Quoted(absl::string_view name) {
  return absl::StrCat("'", absl::CHexEscape(name.substr(0, 100)), "'");
}

// Events of the JSON parser, checked against the grammar as they come: a tree would drop repeated
// keys and could grow to many times the text.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderHandler(SafetensorsHeader& header, std::string& error) : header_(header), error_(error) {}

  bool start_object(std::size_t) override {
    switch (state_) {
      case State::kStart:
        return Go(State::kTop);
      case State::kTopValue:
        if (key_ == kSafetensorsMetadataKey) return Go(State::kMetadata);
        header_.tensors.emplace_back();
        header_.tensors.back().name = key_;
        seen_ = 0;
        return Go(State::kTensor);
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& text) override {
    key_ = text;
    switch (state_) {
      case State::kTop:
        if (!names_.insert(text).second) return Fail(absl::StrCat(Quoted(text), " occurs twice"));
        return Go(State::kTopValue);
      case State::kMetadata:
        if (header_.metadata.count(text) != 0) {
          return Fail(absl::StrCat("metadata ", Quoted(text), " occurs twice"));
        }
        return Go(State::kMetadataValue);
      default:
        return TensorKey(text);
    }
  }

  bool string(string_t& text) override {
    if (state_ == State::kMetadataValue) {
      header_.metadata.emplace(key_, text);
      return Go(State::kMetadata);
    }
    if (state_ != State::kDtype) return Unexpected("a string");
    for (const DtypeEntry& entry : kDtypes) {
      if (text != entry.name) continue;
      header_.tensors.back().dtype = entry.dtype;
      return Go(State::kTensor);
    }
    return Fail(absl::StrCat(Tensor(), "unknown dtype ", Quoted(text)));
  }

  bool start_array(std::size_t) override {
    if (state_ == State::kShape) return Go(State::kShapeItems);
    if (state_ == State::kOffsets) return Go(State::kOffsetsItems);
    return Unexpected("an array");
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShapeItems) {
      std::vector<int64_t>& shape = header_.tensors.back().shape;
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Fail(absl::StrCat(Tensor(), "dimension ", value, " is too large"));
      }
      if (shape.size() == kTensorRankMax) {
        return Fail(absl::StrCat(Tensor(), "expected at most ", kTensorRankMax, " dimensions"));
      }
      shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ != State::kOffsetsItems) return Unexpected("a number");
    if (offsets_ == 2) return Fail(absl::StrCat(Tensor(), "expected two data_offsets, got more"));
    (offsets_ == 0 ? header_.tensors.back().begin : header_.tensors.back().end) = value;
    ++offsets_;
    return true;
  }

  bool end_array() override {
    if (state_ == State::kOffsetsItems && offsets_ != 2) {
      return Fail(absl::StrCat(Tensor(), "expected two data_offsets, got ", offsets_));
    }
    return Go(State::kTensor);
  }

  bool end_object() override {
    switch (state_) {
      case State::kTensor:
        if (seen_ != 7)
          return Fail(absl::StrCat(Tensor(), "expected dtype, shape and data_offsets"));
        return Go(State::kTop);
      case State::kMetadata:
        return Go(State::kTop);
      default:
        return Go(State::kEnd);
    }
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Unexpected("a fraction"); }
  bool binary(binary_t&) override { return Unexpected("binary"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("no well-formed JSON at byte ", position, " of the header"));
  }

 private:
  enum class State {
    kStart,
    kTop,
    kTopValue,
    kMetadata,
    kMetadataValue,
    kTensor,
    kDtype,
    kShape,
    kShapeItems,
    kOffsets,
    kOffsetsItems,
    kEnd
  };

  bool TensorKey(const std::string& text) {
    const auto once = [&](int bit, State next) {
      if ((seen_ & bit) != 0) return Fail(absl::StrCat(Tensor(), Quoted(text), " occurs twice"));
      seen_ |= bit;
      return Go(next);
    };
    offsets_ = 0;
    if (text == "dtype") return once(1, State::kDtype);
    if (text == "shape") return once(2, State::kShape);
    if (text == "data_offsets") return once(4, State::kOffsets);
    return Fail(
        absl::StrCat(Tensor(), "expected dtype, shape and data_offsets, got ", Quoted(text)));
  }

  std::string Tensor() const {
    return absl::StrCat("tensor ", Quoted(header_.tensors.back().name), ": ");
  }
  bool Go(State state) {
    state_ = state;
    return true;
  }
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  bool Unexpected(absl::string_view what) {
    return Fail(
        absl::StrCat("expected an object of tensors, each with dtype, shape and "
                     "data_offsets; got ",
                     what, key_.empty() ? "" : absl::StrCat(" after ", Quoted(key_))));
  }

  SafetensorsHeader& header_;
  std::string& error_;
  State state_ = State::kStart;
  std::string key_;
  std::set<std::string> names_;
  int seen_ = 0;     // bits of the tensor's keys so far
  int offsets_ = 0;  // data_offsets so far
};

// Sorts the tensors by place and checks that each has the size of its shape and that together they
// are the data.
Status CheckRanges(std::vector<TensorInfo>& tensors, uint64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  for (const TensorInfo& tensor : tensors) {
    const std::string where = absl::StrCat("tensor ", Quoted(tensor.name), ": ");
    const auto bytes = TensorBytes(tensor.dtype, tensor.shape);
    if (!bytes.ok()) return absl::DataLossError(where + std::string(bytes.status().message()));
    if (tensor.begin != covered) {
      return absl::DataLossError(absl::StrCat(where, "expected to begin at data byte ", covered,
                                              " where the one before ends, got ", tensor.begin));
    }
    if (tensor.end < tensor.begin || tensor.end - tensor.begin != *bytes) {
      return absl::DataLossError(absl::StrCat(
          where, "expected ", *bytes, " bytes for ", DtypeName(tensor.dtype), " [",
          absl::StrJoin(tensor.shape, ", "), "], got [", tensor.begin, ", ", tensor.end, ")"));
    }
    if (tensor.end > data_bytes) {
      return absl::DataLossError(
          absl::StrCat(where, "ends at data byte ", tensor.end, ", the file has ", data_bytes));
    }
    covered = tensor.end;
  }
  if (covered == data_bytes) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the tensors end at data byte ", covered, ", the file has ", data_bytes));
}

}  // namespace

absl::string_view DtypeName(Dtype dtype) { return Entry(dtype).name; }
uint64_t DtypeBytes(Dtype dtype) { return Entry(dtype).bytes; }

StatusOr<uint64_t> TensorBytes(Dtype dtype, const std::vector<int64_t>& shape) {
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const std::string text = absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
  if (shape.size() > kTensorRankMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", kTensorRankMax, " dimensions, got ", text));
  }
  uint64_t bytes = DtypeBytes(dtype);
  for (const int64_t dimension : shape) {
    if (dimension < 0)
      return absl::InvalidArgumentError(absl::StrCat("negative dimension in ", text));
    const auto size = static_cast<uint64_t>(dimension);
    if (size != 0 && bytes > kMax / size) {
      return absl::InvalidArgumentError(absl::StrCat("too many elements in ", text));
    }
    bytes *= size;
  }
  return bytes;
}

StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json, uint64_t data_bytes) {
  SafetensorsHeader header;
  std::string error;
  HeaderHandler handler(header, error);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) {
    return absl::DataLossError(error);
  }
  GRAB_RETURN_IF_ERROR(CheckRanges(header.tensors, data_bytes));
  return header;
}

std::string SafetensorsHeaderText(const SafetensorsHeader& header) {
  // Written by hand to keep the tensors in the order of their data.
  const auto quote = [](const std::string& text) { return nlohmann::json(text).dump(); };
  std::vector<std::string> entries;
  if (!header.metadata.empty()) {
    entries.push_back(absl::StrCat(quote(std::string(kSafetensorsMetadataKey)), ":",
                                   nlohmann::json(header.metadata).dump()));
  }
  for (const TensorInfo& tensor : header.tensors) {
    entries.push_back(absl::StrCat(quote(tensor.name), ":{\"dtype\":\"", DtypeName(tensor.dtype),
                                   "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                                   "],\"data_offsets\":[", tensor.begin, ",", tensor.end, "]}"));
  }
  std::string text = absl::StrCat("{", absl::StrJoin(entries, ","), "}");
  const uint64_t used = (sizeof(uint64_t) + text.size()) % kAlignmentBytes;
  if (used != 0) text.append(kAlignmentBytes - used, ' ');
  return text;
}

}  // namespace grab
