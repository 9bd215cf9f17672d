// Files with given bytes, for the tests of src/checkpoint.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/file.h"
#include "support/memory_file.h"

namespace grab {

inline std::string TestPath(const std::string& name) {
  return JoinPath(::testing::TempDir(), name);
}

// Neither synced nor atomic.
inline void WritePlainFile(const std::string& path, const std::string& content) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr) << path;
  EXPECT_EQ(std::fwrite(content.data(), 1, content.size(), file), content.size());
  EXPECT_EQ(std::fclose(file), 0);
}

// A safetensors file of this header and data, byte by byte.
inline std::string SafetensorsBytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

}  // namespace grab
