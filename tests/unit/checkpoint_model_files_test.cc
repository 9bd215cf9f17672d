// A model through the disk and back, bit for bit, and each way in which its files can be wrong.
// Files with errors are written tensor by tensor here, into checkpoints whose manifest is right, so
// that what is refused is the content and not the checksum.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/tables.h"
#include "support/base_temp_dir.h"
#include "support/random_model.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

struct Tensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::string bytes;

  // Element `index` as T.
  template <class T>
  void Set(size_t index, T value) {
    ASSERT_LE((index + 1) * sizeof(T), bytes.size());
    std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
  }
};
using Tensors = std::vector<Tensor>;

template <class T>
std::string BytesOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

Tensors WeightTensors(const Model& model) {
  Tensors tensors;
  for (const WeightSpec& weight : model.spec.Weights()) {
    tensors.push_back(
        {weight.name, Dtype::kF32, weight.shape, BytesOf(model.weights.at(weight.name))});
  }
  return tensors;
}

std::vector<float> Values(const EmbeddingTable& table, uint32_t row) {
  std::vector<float> values(table.dim());
  table.Read(row, values.data());
  return values;
}

Tensors TableTensors(const Model& model) {
  Tensors tensors;
  for (size_t t = 0; t < model.tables.size(); ++t) {
    const EmbeddingTable& table = model.tables[t];
    std::vector<uint64_t> keys;
    std::vector<float> values;
    table.ForEachRow([&](uint32_t row) {
      keys.push_back(table.key(row));
      const std::vector<float> of_row = Values(table, row);
      values.insert(values.end(), of_row.begin(), of_row.end());
    });
    const std::string prefix = "table." + model.spec.tokens.tables[t].name + ".";
    const auto rows = static_cast<int64_t>(table.rows());
    tensors.push_back({prefix + "keys", Dtype::kU64, {rows}, BytesOf(keys)});
    tensors.push_back({prefix + "values", Dtype::kF32, {rows, table.dim()}, BytesOf(values)});
  }
  return tensors;
}

Tensor& Find(Tensors& tensors, const std::string& name) {
  for (Tensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  ADD_FAILURE() << "no tensor " << name;
  return tensors[0];
}

void Remove(Tensors& tensors, const std::string& name) {
  std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
}

void WriteTensors(const Tensors& tensors, const std::string& path) {
  SafetensorsWriter writer;
  for (const Tensor& tensor : tensors) {
    ASSERT_TRUE(writer.Add(tensor.name, tensor.dtype, tensor.shape, tensor.bytes.data()).ok());
  }
  ASSERT_TRUE(writer.Write(path).ok());
}

// A checkpoint of these files; its path.
std::string WriteCheckpoint(const ModelSpec& spec, const Tensors& weights, const Tensors& tables,
                            const std::string& dir) {
  auto writer = CheckpointWriter::Begin(dir, 7);
  EXPECT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(WriteSpec(spec, (*writer)->Path(kSpecFile)).ok());
  WriteTensors(weights, (*writer)->Path(kWeightsFile));
  WriteTensors(tables, (*writer)->Path(kTablesFile));
  EXPECT_TRUE((*writer)->Commit("{}").ok());
  return (*writer)->dir();
}

bool SameBits(const float* a, const float* b, size_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

void ExpectSameTable(const EmbeddingTable& a, const EmbeddingTable& b) {
  ASSERT_EQ(a.rows(), b.rows());
  ASSERT_EQ(a.dim(), b.dim());
  ASSERT_EQ(a.layout().precision, b.layout().precision);
  const size_t bytes = size_t{a.dim()} * BytesOf(a.layout().precision);
  a.ForEachRow([&](uint32_t row) {
    EXPECT_EQ(a.key(row), b.key(row)) << "row " << row;
    EXPECT_EQ(std::memcmp(a.stored_values(row), b.stored_values(row), bytes), 0) << "row " << row;
    EXPECT_EQ(row == 0 ? 0u : b.Find(a.key(row)), row);
  });
}

void ExpectSameModel(const Model& a, const Model& b) {
  EXPECT_EQ(a.spec.ToJson(), b.spec.ToJson());
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (const auto& [name, values] : a.weights) {
    ASSERT_TRUE(b.weights.contains(name)) << name;
    const std::vector<float>& others = b.weights.at(name);
    ASSERT_EQ(values.size(), others.size()) << name;
    ASSERT_TRUE(SameBits(values.data(), others.data(), values.size())) << name;
  }
  ASSERT_EQ(a.tables.size(), b.tables.size());
  for (size_t t = 0; t < a.tables.size(); ++t) {
    SCOPED_TRACE(a.spec.tokens.tables[t].name);
    ExpectSameTable(a.tables[t], b.tables[t]);
  }
}

// Bitwise, logits included: the files hold the same floats, and the same forward runs on them.
TEST(ModelFilesTest, AnExportedModelIsTheModel) {
  const Config config = testing::MakeConfig();
  for (const ModelKind kind : {ModelKind::kGrab, ModelKind::kDlrm}) {
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      SCOPED_TRACE(::testing::Message() << ModelKindName(kind) << " seed " << seed);
      TempDir dir;
      Model model = testing::MakeModel(config, kind, seed);
      // Values whose bits a text format or an arithmetic step would lose.
      model.weights.begin()->second[0] = -0.0f;
      std::vector<float> values = Values(model.tables[0], model.tables[0].Find(1));
      values[0] = std::numeric_limits<float>::denorm_min();
      model.tables[0].Write(model.tables[0].Find(1), values.data());
      const auto path = ExportModel(ViewOf(model), 123, Precision::kF32, dir.path());
      ASSERT_TRUE(path.ok()) << path.status();
      EXPECT_EQ(*path, dir.File("step-000000000123"));
      for (const std::string& from : {*path, dir.path()}) {
        const auto loaded = LoadModel(from);
        ASSERT_TRUE(loaded.ok()) << loaded.status();
        EXPECT_EQ(loaded->step, 123u);
        EXPECT_EQ(loaded->dir, *path);
        ExpectSameModel(model, loaded->model);
        const UserBlock block = testing::MakeBlock(model.spec.tokens.schema, seed, 4, 20);
        const auto scores = testing::ScoreAll(model, block);
        ASSERT_FALSE(scores.empty());
        EXPECT_EQ(testing::ScoreAll(loaded->model, block), scores);
      }
    }
  }
}

TEST(ModelFilesTest, RefusesAModelThatOnlyTrainingRuns) {
  TempDir dir;
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kTwin, 1);
  const auto path = ExportModel(ViewOf(model), 1, Precision::kF32, dir.path());
  ASSERT_TRUE(path.ok()) << path.status();
  const auto loaded = LoadModel(*path);
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(loaded.status().message().find("'twin'"), absl::string_view::npos) << loaded.status();
}

// 5000 rows are more than the 4096 that are read at a time and that lie in one piece of memory.
TEST(TablesFileTest, TrainingTablesLoadWithAndWithoutTheirState) {
  const std::vector<TableSpec> specs = {{"ad", 3, true}, {"tags", 5, true}};
  for (const SparseOptimiser optimiser : {SparseOptimiser::kAdagrad, SparseOptimiser::kAdam}) {
    SCOPED_TRACE(static_cast<int>(optimiser));
    TempDir dir;
    const std::string path = dir.File("tables.safetensors");
    const auto empty = [&](SparseOptimiser with) {
      std::vector<EmbeddingTable> tables;
      for (const TableSpec& spec : specs) {
        tables.emplace_back(TableOptions{spec.dim, with, 0.5, 1});
      }
      return tables;
    };
    std::vector<EmbeddingTable> trained = empty(optimiser);
    Rng rng(9);
    for (size_t t = 0; t < trained.size(); ++t) {
      std::vector<float> gradient(specs[t].dim);
      for (int i = 0; i < 5000; ++i) {
        const uint32_t row = trained[t].FindOrInsert(rng.Next() | 1);
        for (float& g : gradient) g = static_cast<float>(rng.Normal());
        trained[t].Update(row, gradient.data(), 0.1f);
      }
      ASSERT_GT(trained[t].rows(), 4900u);
    }
    ASSERT_TRUE(WriteTables(specs, trained, path).ok());

    std::vector<EmbeddingTable> served = empty(SparseOptimiser::kNone);
    ASSERT_TRUE(ReadTables(path, specs, served).ok());
    std::vector<EmbeddingTable> resumed = empty(optimiser);
    ASSERT_TRUE(ReadTables(path, specs, resumed).ok());
    for (size_t t = 0; t < specs.size(); ++t) {
      EXPECT_EQ(served[t].state_width(), 0u);
      ExpectSameTable(trained[t], served[t]);
      ExpectSameTable(trained[t], resumed[t]);
      trained[t].ForEachRow([&](uint32_t row) {
        EXPECT_TRUE(
            SameBits(trained[t].state(row), resumed[t].state(row), trained[t].state_width()))
            << "row " << row;
      });
    }

    // What was written without state cannot be trained on, nor by another optimiser.
    const std::string stateless = dir.File("served.safetensors");
    ASSERT_TRUE(WriteTables(specs, served, stateless).ok());
    const auto other =
        optimiser == SparseOptimiser::kAdam ? SparseOptimiser::kAdagrad : SparseOptimiser::kAdam;
    for (const auto& [file, with] : {std::pair(stateless, optimiser), std::pair(path, other)}) {
      std::vector<EmbeddingTable> tables = empty(with);
      const Status status = ReadTables(file, specs, tables);
      EXPECT_FALSE(status.ok());
      EXPECT_THAT(std::string(status.message()), HasSubstr(file));
      EXPECT_THAT(std::string(status.message()), HasSubstr("'table.ad.state'"));
    }
  }
}

// A training checkpoint has moments beside the weights and state beside the rows.
TEST(ModelFilesTest, ATrainingCheckpointLoadsWithoutItsState) {
  TempDir dir;
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 4);
  Tensors weights = WeightTensors(model);
  weights.push_back({"adamw.first.head.0.bias", Dtype::kF32, {1}, std::string(4, '\1')});
  Tensors tables = TableTensors(model);
  const auto rows = static_cast<int64_t>(model.tables[0].rows());
  tables.push_back({"table." + model.spec.tokens.tables[0].name + ".state",
                    Dtype::kF32,
                    {rows, 1},
                    std::string(static_cast<size_t>(rows) * 4, '\1')});
  const auto loaded = LoadModel(WriteCheckpoint(model.spec, weights, tables, dir.path()));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->step, 7u);
  ExpectSameModel(model, loaded->model);
}

struct BadFile {
  const char* what;
  const char* file;
  std::string tensor;
  std::function<void(Tensors& weights, Tensors& tables)> edit;
};

TEST(ModelFilesTest, WrongTensorsAreRefusedByFileAndName) {
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 5);
  const std::string weight = "head.0.weight";
  const std::string table = "table." + model.spec.tokens.tables[0].name;
  const std::string keys = table + ".keys";
  const std::string values = table + ".values";
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<BadFile> cases = {
      {"missing weight", kWeightsFile, weight, [&](Tensors& w, Tensors&) { Remove(w, weight); }},
      {"transposed weight", kWeightsFile, weight,
       [&](Tensors& w, Tensors&) {
         std::vector<int64_t>& shape = Find(w, weight).shape;
         ASSERT_NE(shape[0], shape[1]);
         std::swap(shape[0], shape[1]);
       }},
      {"flattened weight", kWeightsFile, weight,
       [&](Tensors& w, Tensors&) {
         std::vector<int64_t>& shape = Find(w, weight).shape;
         shape = {shape[0] * shape[1]};
       }},
      {"weight of another type", kWeightsFile, weight,
       [&](Tensors& w, Tensors&) { Find(w, weight).dtype = Dtype::kI32; }},
      {"NaN in a weight", kWeightsFile, weight,
       [&](Tensors& w, Tensors&) { Find(w, weight).Set(3, nan); }},
      {"infinity in a weight", kWeightsFile, weight,
       [&](Tensors& w, Tensors&) { Find(w, weight).Set(0, infinity); }},
      {"missing keys", kTablesFile, keys, [&](Tensors&, Tensors& t) { Remove(t, keys); }},
      {"missing values", kTablesFile, values, [&](Tensors&, Tensors& t) { Remove(t, values); }},
      {"keys of another type", kTablesFile, keys,
       [&](Tensors&, Tensors& t) { Find(t, keys).dtype = Dtype::kI64; }},
      {"a key too few", kTablesFile, values,
       [&](Tensors&, Tensors& t) {
         Tensor& tensor = Find(t, keys);
         --tensor.shape[0];
         tensor.bytes.resize(tensor.bytes.size() - sizeof(uint64_t));
       }},
      {"narrower values", kTablesFile, values,
       [&](Tensors&, Tensors& t) {
         Tensor& tensor = Find(t, values);
         --tensor.shape[1];
         tensor.bytes.resize(static_cast<size_t>(tensor.shape[0] * tensor.shape[1]) *
                             sizeof(float));
       }},
      {"no row at all", kTablesFile, keys,
       [&](Tensors&, Tensors& t) {
         Find(t, keys).shape = {0};
         Find(t, keys).bytes.clear();
         Find(t, values).shape[0] = 0;
         Find(t, values).bytes.clear();
       }},
      {"doubled key", kTablesFile, keys,
       [&](Tensors&, Tensors& t) { Find(t, keys).Set(5, model.tables[0].key(64)); }},
      {"key 0 in row 4", kTablesFile, keys,
       [&](Tensors&, Tensors& t) { Find(t, keys).Set(4, uint64_t{0}); }},
      {"a key in row 0", kTablesFile, keys,
       [&](Tensors&, Tensors& t) { Find(t, keys).Set(0, uint64_t{99999}); }},
      {"NaN in a row", kTablesFile, values,
       [&](Tensors&, Tensors& t) { Find(t, values).Set(6, nan); }},
      {"infinity in the last row", kTablesFile, values,
       [&](Tensors&, Tensors& t) {
         Tensor& tensor = Find(t, values);
         tensor.Set(tensor.bytes.size() / sizeof(float) - 1, -infinity);
       }},
  };
  for (const BadFile& bad : cases) {
    SCOPED_TRACE(bad.what);
    TempDir dir;
    Tensors weights = WeightTensors(model);
    Tensors tables = TableTensors(model);
    ASSERT_TRUE(LoadModel(WriteCheckpoint(model.spec, weights, tables, dir.File("good"))).ok());
    bad.edit(weights, tables);
    const std::string path = WriteCheckpoint(model.spec, weights, tables, dir.File("bad"));
    const Status status = LoadModel(path).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(JoinPath(path, bad.file)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("'" + bad.tensor + "'"));
  }
}

TEST(ModelFilesTest, ThePrecisionIsKept) {
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  TempDir dir;
  uint64_t step = 0;
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    const auto path = ExportModel(ViewOf(model), ++step, precision, dir.path());
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_EQ(LoadModel(*path)->precision, precision);
  }
}

// A training checkpoint's state names no precision; what is named must be one.
TEST(ModelFilesTest, ThePrecisionIsChecked) {
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  const struct {
    const char* state;
    bool ok;
  } kStates[] = {{"{}", true},
                 {R"({"pass": 3})", true},
                 {R"({"precision": "bf16"})", true},
                 {R"({"precision": "fp8"})", false},
                 {R"({"precision": 8})", false}};
  for (const auto& [state, ok] : kStates) {
    TempDir dir;
    const auto path = ExportModel(ViewOf(model), 1, Precision::kF32, dir.File("from"));
    ASSERT_TRUE(path.ok()) << path.status();
    const auto writer = *CheckpointWriter::Begin(dir.File("to"), 1);
    for (const char* name : {kSpecFile, kWeightsFile, kTablesFile}) {
      std::filesystem::copy_file(JoinPath(*path, name), writer->Path(name));
    }
    ASSERT_TRUE(writer->Commit(state).ok());
    EXPECT_EQ(LoadModel(writer->dir()).ok(), ok) << state;
  }
}

class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto path = ExportModel(ViewOf(model_), 1, Precision::kF32, dir_.path());
    ASSERT_TRUE(path.ok()) << path.status();
    path_ = *path;
  }

  TempDir dir_;
  Model model_ = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 6);
  std::string path_;
};

// First, last and 20 more bytes of each file. The manifest's own bytes are the checkpoint tests'.
TEST_F(DamageTest, AFlippedByteIsNamedByItsFile) {
  for (const char* name : {kSpecFile, kWeightsFile, kTablesFile}) {
    const std::string file = JoinPath(path_, name);
    const std::string good = *ReadFile(file, 1 << 30);
    for (size_t i = 0; i <= 21; ++i) {
      const size_t place = i * (good.size() - 1) / 21;
      SCOPED_TRACE(::testing::Message() << name << " byte " << place);
      std::string bad = good;
      bad[place] = static_cast<char>(bad[place] ^ 0x10);
      std::ofstream(file, std::ios::binary) << bad;
      const Status status = LoadModel(path_).status();
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
      ASSERT_THAT(std::string(status.message()), HasSubstr(file + ": expected checksum "));
      // By the folder above there is no usable model, and the message says why.
      const Status above = LoadModel(dir_.path()).status();
      ASSERT_EQ(above.code(), absl::StatusCode::kNotFound) << above;
      ASSERT_THAT(std::string(above.message()), HasSubstr(std::string(status.message())));
    }
    std::ofstream(file, std::ios::binary) << good;
    ASSERT_TRUE(LoadModel(path_).ok());
  }
}

TEST_F(DamageTest, AMissingManifestOrFileIsNamed) {
  for (const char* name : {"manifest.json", kWeightsFile, kTablesFile}) {
    SCOPED_TRACE(name);
    const std::string file = JoinPath(path_, name);
    const std::string aside = dir_.File("aside");
    std::filesystem::rename(file, aside);
    const Status status = LoadModel(path_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file));
    std::filesystem::rename(aside, file);
    ASSERT_TRUE(LoadModel(path_).ok());
  }
}

TEST_F(DamageTest, AnOlderModelStandsInForADamagedOne) {
  const Model newer = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 7);
  const auto newer_path = ExportModel(ViewOf(newer), 2, Precision::kF32, dir_.path());
  ASSERT_TRUE(newer_path.ok()) << newer_path.status();
  EXPECT_EQ(LoadModel(dir_.path())->step, 2u);
  std::filesystem::remove(JoinPath(*newer_path, kTablesFile));
  const auto loaded = LoadModel(dir_.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->step, 1u);
  ExpectSameModel(model_, loaded->model);
}

TEST_F(DamageTest, TheSameStepTwiceLeavesTheFirst) {
  const Model other = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 8);
  const Status status = ExportModel(ViewOf(other), 1, Precision::kF32, dir_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  const auto loaded = LoadModel(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ExpectSameModel(model_, loaded->model);
}

TEST_F(DamageTest, AFolderWithoutModelIsNotFound) {
  TempDir empty;
  for (const std::string& path : {empty.path(), empty.File("none")}) {
    const Status status = LoadModel(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
}

}  // namespace
}  // namespace grab
