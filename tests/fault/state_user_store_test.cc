// What goes wrong with a store: bad input, two owners, another schema, files with changed bytes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/state_events.h"

namespace grab {
namespace {

TEST(UserStoreFaultTest, RefusesBadEvents) {
  TempDir dir;
  Rng rng(1);
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state")});
  EventColumns columns = EventsAt(store->schema(), {1, 2}, 1, rng);
  const std::string long_id(kUserIdBytesMax + 1, 'u'), long_item(kItemIdBytesMax + 1, 'i');
  const auto append = [&](const NewEvent& bad) {
    // Beside a good event, which must not be written either.
    const std::vector<NewEvent> events = {{"good", "", &columns, 0}, bad};
    std::vector<AppendOutcome> outcomes(2);
    return store->AppendAll(events, absl::MakeSpan(outcomes));
  };
  EXPECT_TRUE(absl::IsInvalidArgument(append({"", "", &columns, 1})));
  EXPECT_TRUE(absl::IsInvalidArgument(append({long_id, "", &columns, 1})));
  EXPECT_TRUE(absl::IsInvalidArgument(append({"u", long_item, &columns, 1})));
  columns.event_id[1] = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(append({"u", "", &columns, 1})));
  EXPECT_FALSE(store->Find(HashId("good"))->has_value());
}

TEST(UserStoreFaultTest, HasOneOwner) {
  TempDir dir;
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state")});
  const Status status = UserStore::Open({.dir = dir.File("state")}, AllKindsSchema()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(UserStoreFaultTest, RefusesAnotherSchema) {
  TempDir dir;
  OpenStore({.dir = dir.File("state")});
  Schema other = AllKindsSchema();
  other.fields.pop_back();
  const Status status = UserStore::Open({.dir = dir.File("state")}, other).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

// A byte is changed in every file in turn. The store is refused, or it opens and what it gives is
// what was written: never another event.
TEST(UserStoreFaultTest, ChangedBytesAreNeverServed) {
  TempDir dir;
  Rng rng(3);
  const std::string clean = dir.File("clean");
  std::vector<int64_t> times(300);
  for (size_t i = 0; i < times.size(); ++i) times[i] = static_cast<int64_t>(i);
  EventColumns columns;
  {
    const std::unique_ptr<UserStore> store =
        OpenStore({.dir = clean, .write_buffer_bytes = 1 << 16});
    columns = EventsAt(store->schema(), times, 1, rng);
    AppendRows(*store, "u", columns);
  }
  { OpenStore({.dir = clean}); }  // a second generation of files
  int refused = 0, served = 0;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const std::string copy = dir.File("copy" + std::to_string(attempt));
    std::filesystem::copy(clean, copy);
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(copy)) {
      if (entry.file_size() > 0 && !entry.path().filename().string().starts_with("LOG")) {
        files.push_back(entry.path());
      }
    }
    const std::filesystem::path& file = files[static_cast<size_t>(attempt) % files.size()];
    SCOPED_TRACE(file.filename().string());
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(rng.Below(std::filesystem::file_size(file)));
    stream.seekg(at);
    const char byte = static_cast<char>(stream.get() ^ 0x40);
    stream.seekp(at);
    stream.put(byte);
    stream.close();
    StatusOr<std::unique_ptr<UserStore>> store = UserStore::Open({.dir = copy}, AllKindsSchema());
    UserEvents events;
    events.columns = MakeColumns(AllKindsSchema());
    if (!store.ok() || !(*store)->Read(HashId("u"), std::nullopt, 1 << 20, events).ok()) {
      ++refused;
      continue;
    }
    ++served;
    ASSERT_LE(events.size(), columns.size());
    for (size_t i = 0; i < events.size(); ++i) {
      ASSERT_EQ(events.columns.event_id[i], columns.event_id[i]);
      ASSERT_EQ(events.columns.actions[i], columns.actions[i]);
    }
    if (store.ok()) store->reset();
    std::filesystem::remove_all(copy);
  }
  EXPECT_GT(refused, 5);
}

}  // namespace
}  // namespace grab
