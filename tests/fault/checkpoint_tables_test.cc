// The tables' file of a training run is untrusted bytes: tensors of other types, shapes or content
// are refused by name, and damage anywhere is refused or gives tables that can be used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>

#include "base/rng.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tables.h"
#include "embedding/maintain.h"
#include "support/base_temp_dir.h"
#include "support/checkpoint_files.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

const std::vector<TableSpec> kSpecs = {{"ad", 3, true}};

std::vector<EmbeddingTable> Empty(RowPrecision precision = RowPrecision::kBf16) {
  TableOptions options;
  options.dim = kSpecs[0].dim;
  options.optimiser = SparseOptimiser::kAdam;
  options.precision = precision;
  options.init_std = 0.5;
  options.admission_count = 2;
  options.sketch_bytes = 4096;
  options.ttl_s = 10;
  std::vector<EmbeddingTable> tables;
  tables.emplace_back(options);
  return tables;
}

// Rows, keys without one, and keys that lost theirs.
std::vector<EmbeddingTable> Trained() {
  std::vector<EmbeddingTable> tables = Empty();
  for (const auto& [first, last, now_s] :
       {std::tuple(1, 30, 100u), std::tuple(20, 60, 105u), std::tuple(50, 60, 112u)}) {
    for (auto key = static_cast<uint64_t>(first); key <= static_cast<uint64_t>(last); ++key) {
      const uint32_t once = 1;
      uint32_t row = 0;
      std::vector<EmbeddingTable::Candidate> candidates;
      tables[0].SeeRows({&key, 1}, &once, now_s, &row);
      if (row == EmbeddingTable::kUnknownRow) tables[0].CountKeys({&key, 1}, &once, candidates);
      tables[0].Admit({&key, 1}, candidates, candidates.size(), now_s, &row);
      const float gradient[3] = {0.5f, -1.0f, static_cast<float>(key)};
      tables[0].Update(row, gradient, 0.1f);
    }
    MaintainTables(now_s, 0, tables, nullptr);
  }
  for (uint64_t key = 100; key < 110; ++key) tables[0].FindOrInsert(key);
  MaintainTables(112, 0, tables, nullptr);
  for (uint64_t key = 110; key < 120; ++key) tables[0].FindOrInsert(key);
  MaintainTables(130, 0, tables, nullptr);
  EXPECT_GT(tables[0].rows(), 5u);
  EXPECT_FALSE(tables[0].CollectTombstones().keys.empty());
  return tables;
}

struct Tensor {
  Dtype dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor>;

// The file's tensors, read as bytes by this test itself.
Tensors TensorsOf(const std::string& path) {
  const auto reader = SafetensorsReader::Open(path);
  EXPECT_TRUE(reader.ok());
  const std::string file = ReadFile(path, 1 << 30).value();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  Tensors tensors;
  for (const TensorInfo& tensor : (*reader)->tensors()) {
    tensors[tensor.name] = {
        tensor.dtype, tensor.shape,
        file.substr(sizeof(header_bytes) + header_bytes + tensor.begin, tensor.end - tensor.begin)};
  }
  return tensors;
}

Status Read(const Tensors& tensors, const TempDir& dir, RowPrecision precision) {
  SafetensorsWriter writer;
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(writer.Add(name, tensor.dtype, tensor.shape, tensor.bytes.data()).ok());
  }
  EXPECT_TRUE(writer.Write(dir.File("edited")).ok());
  std::vector<EmbeddingTable> tables = Empty(precision);
  return ReadTables(dir.File("edited"), kSpecs, tables);
}

template <class T>
void Set(Tensor& tensor, size_t index, T value) {
  ASSERT_LE((index + 1) * sizeof(T), tensor.bytes.size());
  std::memcpy(tensor.bytes.data() + index * sizeof(T), &value, sizeof(T));
}

TEST(TablesFault, EveryTensorIsNeededInItsTypeAndShape) {
  const TempDir dir;
  ASSERT_TRUE(WriteTables(kSpecs, Trained(), dir.File("tables")).ok());
  const Tensors good = TensorsOf(dir.File("tables"));
  EXPECT_EQ(good.size(), 10u);
  ASSERT_TRUE(Read(good, dir, RowPrecision::kBf16).ok());
  for (const auto& [name, tensor] : good) {
    SCOPED_TRACE(name);
    Tensors missing = good;
    missing.erase(name);
    EXPECT_THAT(std::string(Read(missing, dir, RowPrecision::kBf16).message()),
                HasSubstr("'" + name + "' is missing"));
    Tensors retyped = good;
    retyped[name].dtype = DtypeBytes(tensor.dtype) == 8   ? Dtype::kF64
                          : DtypeBytes(tensor.dtype) == 4 ? Dtype::kI32
                          : DtypeBytes(tensor.dtype) == 2 ? Dtype::kF16
                                                          : Dtype::kU8;
    if (retyped[name].dtype != tensor.dtype) {
      EXPECT_THAT(std::string(Read(retyped, dir, RowPrecision::kBf16).message()),
                  HasSubstr("'" + name + "'"));
    }
    Tensors deeper = good;
    deeper[name].shape.push_back(1);
    EXPECT_THAT(std::string(Read(deeper, dir, RowPrecision::kBf16).message()),
                HasSubstr("'" + name + "'"));
  }
  EXPECT_THAT(std::string(Read(good, dir, RowPrecision::kF32).message()),
              HasSubstr("is BF16 [" + std::to_string(good.at("table.ad.keys").shape[0])));
}

TEST(TablesFault, NumbersOutOfRangeAreRefusedByTensor) {
  const TempDir dir;
  ASSERT_TRUE(WriteTables(kSpecs, Trained(), dir.File("tables")).ok());
  const Tensors good = TensorsOf(dir.File("tables"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::pair<std::string, std::function<void(Tensor&)>>> edits = {
      {"values", [](Tensor& t) { Set(t, 4, uint16_t{0x7f80}); }},
      {"state", [&](Tensor& t) { Set(t, 9, nan); }},
      {"score", [&](Tensor& t) { Set(t, 2, nan); }},
      {"score", [](Tensor& t) { Set(t, 2, -1.0f); }},
      {"score", [](Tensor& t) { Set(t, 2, -0.0f); }},  // would rank above all others
      {"changed", [](Tensor& t) { Set(t, 1, uint8_t{2}); }},
      {"tombstones", [](Tensor& t) { Set(t, 0, uint64_t{0}); }},
      {"life", [](Tensor& t) { Set(t, 0, int64_t{-1}); }},
      {"life", [](Tensor& t) { Set(t, 5, int64_t{64}); }},
      {"life", [](Tensor& t) { Set(t, 6 + 64 + 3, int64_t{2}); }},
  };
  for (const auto& [name, edit] : edits) {
    SCOPED_TRACE(name);
    Tensors bad = good;
    edit(bad["table.ad." + name]);
    const Status status = Read(bad, dir, RowPrecision::kBf16);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("'table.ad." + name + "'"));
  }
}

// Checksums are the manifest's; without them, 3000 random bytes of the file, header and data, are
// changed, one to three at a time. What is read all the same takes a step and an eviction.
TEST(TablesFault, RandomDamageNeverCrashes) {
  const TempDir dir;
  ASSERT_TRUE(WriteTables(kSpecs, Trained(), dir.File("tables")).ok());
  const std::string good = ReadFile(dir.File("tables"), 1 << 30).value();
  MemoryFile file;
  Rng rng(1);
  int read = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    std::string bad = good;
    for (uint64_t i = 0, n = 1 + rng.Below(3); i < n; ++i) {
      bad[rng.Below(bad.size())] = static_cast<char>(rng.Below(256));
    }
    file.Set(bad);
    std::vector<EmbeddingTable> tables = Empty();
    if (!ReadTables(file.path(), kSpecs, tables).ok()) continue;
    ++read;
    const float gradient[3] = {1.0f, 2.0f, 3.0f};
    tables[0].Update(tables[0].FindOrInsert(7777), gradient, 0.1f);
    MaintainTables(1000, tables[0].bytes() / 2, tables, nullptr);
    EXPECT_TRUE(WriteTables(kSpecs, tables, dir.File("again")).ok());
  }
  EXPECT_GT(read, 100);  // most of the data may hold anything
}

}  // namespace
}  // namespace grab
