#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "base/check.h"

namespace grab {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

bool IsUtf8(const std::string& text) {
  using Handler = nlohmann::json::error_handler_t;
  const nlohmann::json json(text);
  return json.dump(-1, ' ', false, Handler::ignore) == json.dump(-1, ' ', false, Handler::replace);
}

std::string Describe(Dtype dtype, const std::vector<int64_t>& shape) {
  return absl::StrCat(DtypeName(dtype), " [", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

Status SafetensorsWriter::Add(const std::string& name, Dtype dtype,
                              const std::vector<int64_t>& shape, const void* data) {
  const auto bytes = TensorBytes(dtype, shape);
  return AddStreamed(name, dtype, shape, [data, bytes](const Sink& sink) {
    return *bytes == 0 ? absl::OkStatus() : sink(data, *bytes);
  });
}

Status SafetensorsWriter::AddStreamed(const std::string& name, Dtype dtype,
                                      const std::vector<int64_t>& shape, Source source) {
  if (name.empty() || name == kSafetensorsMetadataKey || !IsUtf8(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a non-empty UTF-8 tensor name other than ", kSafetensorsMetadataKey,
                     ", got '", absl::CHexEscape(name), "'"));
  }
  if (!names_.insert(name).second) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' was added before"));
  }
  const auto bytes = TensorBytes(dtype, shape);
  if (!bytes.ok()) return Annotate(bytes.status(), absl::StrCat("tensor '", name, "'"));
  tensors_.push_back({{name, dtype, shape, 0, *bytes}, std::move(source)});
  return absl::OkStatus();
}

Status SafetensorsWriter::AddMetadata(const std::string& key, const std::string& value) {
  if (!IsUtf8(key) || !IsUtf8(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata '", absl::CHexEscape(key), "' is no UTF-8"));
  }
  if (!metadata_.emplace(key, value).second) {
    return absl::InvalidArgumentError(absl::StrCat("metadata '", key, "' was added before"));
  }
  return absl::OkStatus();
}

Status SafetensorsWriter::Write(const std::string& path) const {
  // Wide elements first, so that every tensor is aligned to its element.
  std::vector<const Pending*> order;
  for (const Pending& tensor : tensors_) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const Pending* a, const Pending* b) {
    return DtypeBytes(a->info.dtype) > DtypeBytes(b->info.dtype);
  });
  SafetensorsHeader header;
  header.metadata = metadata_;
  uint64_t offset = 0;
  for (const Pending* tensor : order) {
    header.tensors.push_back(tensor->info);
    header.tensors.back().begin = offset;
    offset += tensor->info.end;
    header.tensors.back().end = offset;
  }
  const std::string text = SafetensorsHeaderText(header);
  if (text.size() > kSafetensorsHeaderBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a header of at most ",
                                                   kSafetensorsHeaderBytesMax, " bytes, got ",
                                                   text.size()));
  }
  GRAB_ASSIGN_OR_RETURN(auto file, SequentialFile::Create(path));
  const uint64_t header_bytes = text.size();
  GRAB_RETURN_IF_ERROR(file->Append(&header_bytes, sizeof(header_bytes)));
  GRAB_RETURN_IF_ERROR(file->Append(text));
  for (const Pending* tensor : order) {
    const uint64_t begin = file->size_bytes();
    GRAB_RETURN_IF_ERROR(tensor->source(
        [&file](const void* data, uint64_t bytes) { return file->Append(data, bytes); }));
    GRAB_CHECK_MSG(file->size_bytes() - begin == tensor->info.end, tensor->info.name);
  }
  return file->Close();
}

SafetensorsReader::SafetensorsReader(std::unique_ptr<RandomAccessFile> file, uint64_t data_offset,
                                     SafetensorsHeader header)
    : file_(std::move(file)), data_offset_(data_offset), header_(std::move(header)) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
}

StatusOr<std::unique_ptr<SafetensorsReader>> SafetensorsReader::Open(const std::string& path) {
  GRAB_ASSIGN_OR_RETURN(auto file, RandomAccessFile::Open(path));
  uint64_t header_bytes = 0;
  GRAB_RETURN_IF_ERROR(file->Read(0, sizeof(header_bytes), &header_bytes));
  const uint64_t after_length = file->size_bytes() - sizeof(header_bytes);
  if (header_bytes > std::min(kSafetensorsHeaderBytesMax, after_length)) {
    return CorruptFile(path, 0,
                       absl::StrCat("expected a header of at most ",
                                    std::min(kSafetensorsHeaderBytesMax, after_length),
                                    " bytes, got ", header_bytes));
  }
  std::string text(header_bytes, '\0');
  GRAB_RETURN_IF_ERROR(file->Read(sizeof(header_bytes), header_bytes, text.data()));
  auto header = ParseSafetensorsHeader(text, after_length - header_bytes);
  if (!header.ok()) return Annotate(header.status(), path);
  return std::unique_ptr<SafetensorsReader>(new SafetensorsReader(
      std::move(file), sizeof(header_bytes) + header_bytes, std::move(header).value()));
}

const TensorInfo* SafetensorsReader::Find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

Status SafetensorsReader::ReadBytes(const std::string& name, Dtype dtype,
                                    const std::vector<int64_t>& shape, size_t element_bytes,
                                    void* out, uint64_t elements) const {
  const TensorInfo* tensor = Find(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(
        absl::StrCat(path(), ": no tensor '", name, "', expected ", Describe(dtype, shape)));
  }
  if (tensor->dtype != dtype || tensor->shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat(path(), ": tensor '", name, "': expected ",
                                                   Describe(dtype, shape), ", got ",
                                                   Describe(tensor->dtype, tensor->shape)));
  }
  GRAB_CHECK_MSG(elements * element_bytes == tensor->end - tensor->begin, name);
  return ReadPartBytes(*tensor, 0, element_bytes, out, elements);
}

Status SafetensorsReader::ReadPartBytes(const TensorInfo& tensor, uint64_t first,
                                        size_t element_bytes, void* out, uint64_t elements) const {
  GRAB_CHECK_MSG(element_bytes == DtypeBytes(tensor.dtype), tensor.name);
  const uint64_t size = (tensor.end - tensor.begin) / element_bytes;
  GRAB_CHECK_MSG(first <= size && elements <= size - first, tensor.name);
  return file_->Read(data_offset_ + tensor.begin + first * element_bytes, elements * element_bytes,
                     out);
}

}  // namespace grab
