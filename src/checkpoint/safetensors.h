// Tensors in a file, in the safetensors format (docs/formats/checkpoint.md), so that other tools
// read our checkpoints. Raw memory in and out: no framework's tensors here. Little-endian machines
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/types/span.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/safetensors_header.h"

namespace grab {

inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// Collects tensors, then writes them in one go. Nothing is copied before Write.
class SafetensorsWriter {
 public:
  // Passes the tensor's bytes on in as many pieces as it likes, in order; together exactly the
  // bytes of its shape.
  using Sink = std::function<Status(const void* data, uint64_t bytes)>;
  using Source = std::function<Status(const Sink& sink)>;

  // `data` holds the tensor row-major and must live until Write. A doubled, empty or reserved
  // ("__metadata__") name, one that is no UTF-8, or an impossible shape is an InvalidArgument.
  Status Add(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape,
             const void* data);
  // As Add, for tensors that do not lie in one piece; `source` is called once, by Write.
  Status AddStreamed(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape,
                     Source source);
  // Free text in the header. A key or value that is no UTF-8 is an InvalidArgument.
  Status AddMetadata(const std::string& key, const std::string& value);

  // Writes and syncs the file at `path`. Not atomic: write into a checkpoint (checkpoint.h) or a
  // folder committed later.
  Status Write(const std::string& path) const;

 private:
  struct Pending {
    TensorInfo info;
    Source source;
  };
  std::vector<Pending> tensors_;  // info.begin is 0 until Write places them
  std::set<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

class SafetensorsReader {
 public:
  // Reads and checks the whole header; sizes are checked against the file before memory is taken.
  static StatusOr<std::unique_ptr<SafetensorsReader>> Open(const std::string& path);

  const std::vector<TensorInfo>& tensors() const {
    return header_.tensors;
  }  // by place in the file
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::string& path() const { return file_->path(); }

  // The tensor of that name; nullptr if absent. Lives as long as the reader.
  const TensorInfo* Find(const std::string& name) const;

  // Reads a tensor whose dtype and shape must be these: otherwise an InvalidArgument (NotFound if
  // absent) naming file, tensor, expected and got. T has the dtype's size (uint16_t for BF16 and
  // F16); `out` has the shape's elements. Const and thread-safe.
  template <class T>
  Status Read(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape,
              absl::Span<T> out) const {
    static_assert(std::is_arithmetic_v<T>);
    return ReadBytes(name, dtype, shape, sizeof(T), out.data(), out.size());
  }

  // Reads elements [first, first + out.size()) of a tensor already Found; they must lie inside it.
  template <class T>
  Status ReadPart(const TensorInfo& tensor, uint64_t first, absl::Span<T> out) const {
    static_assert(std::is_arithmetic_v<T>);
    return ReadPartBytes(tensor, first, sizeof(T), out.data(), out.size());
  }

 private:
  SafetensorsReader(std::unique_ptr<RandomAccessFile> file, uint64_t data_offset,
                    SafetensorsHeader header);
  Status ReadBytes(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape,
                   size_t element_bytes, void* out, uint64_t elements) const;
  Status ReadPartBytes(const TensorInfo& tensor, uint64_t first, size_t element_bytes, void* out,
                       uint64_t elements) const;

  std::unique_ptr<RandomAccessFile> file_;
  uint64_t data_offset_;
  SafetensorsHeader header_;
  std::map<std::string, size_t> index_;
};

}  // namespace grab
