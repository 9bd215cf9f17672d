// Any bytes as a file of a model's folder: the folder is refused, or it is a model that can be
// packed. The first byte says which file; the others are those of a model that is right, with a
// manifest that fits, so that the bytes are reached.
#include <stdlib.h>

#include <filesystem>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "model/packed_model.h"
#include "support/random_model.h"

namespace grab {
namespace {

constexpr const char* kFiles[] = {kSpecFile, kWeightsFile, kTablesFile};

struct World {
  World() {
    char name[] = "/tmp/grab_fuzz_XXXXXX";
    dir = ::mkdtemp(name);
    const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
    const std::string path =
        *ExportModel(ViewOf(model), 1, Precision::kF32, JoinPath(dir, "right"));
    for (const char* file : kFiles) right.push_back(*ReadFile(JoinPath(path, file), 1 << 26));
    state_json = OpenCheckpoint(path)->state_json;
  }
  std::string dir, state_json;
  std::vector<std::string> right;
};

}  // namespace
}  // namespace grab

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace grab;
  static const World world;
  if (size == 0) return 0;
  const size_t which = data[0] % 3;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string dir = JoinPath(world.dir, "fuzzed");
  std::filesystem::remove_all(dir);
  {
    const auto writer = CheckpointWriter::Begin(dir, 1);
    if (!writer.ok()) __builtin_trap();
    for (size_t file = 0; file < 3; ++file) {
      const Status written = WriteFileDurably((*writer)->Path(kFiles[file]),
                                              file == which ? bytes : world.right[file]);
      if (!written.ok()) __builtin_trap();
    }
    if (!(*writer)->Commit(world.state_json).ok()) __builtin_trap();
  }
  const auto loaded = LoadModel(CheckpointPath(dir, 1));
  if (loaded.ok() && IsServed(loaded->model.spec.kind)) {
    (void)PackedModel::Create(loaded->model, loaded->precision);
  }
  return 0;
}
