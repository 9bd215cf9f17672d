// The catalogue: put, replace, remove, its bound, and the same items after a restart.
#include <gtest/gtest.h>

#include "state/catalogue.h"
#include "state/event_record.h"
#include "support/state_events.h"

namespace grab {
namespace {

TEST(CatalogueTest, KeepsItemsOverARestart) {
  const Schema schema = AllKindsSchema();
  TempDir dir;
  Rng rng(1);
  const EventColumns rows = EventsAt(schema, {1, 2, 3}, 1, rng);
  UserStoreOptions options;
  options.dir = dir.File("state");
  std::unique_ptr<UserStore> store = OpenStore(options);
  {
    const auto catalogue = *Catalogue::Load(*store, 1 << 20);
    const std::vector<NewItem> items = {
        {"a", &rows.fields, 0}, {"b", &rows.fields, 0}, {"c", &rows.fields, 2}};
    ASSERT_TRUE(catalogue->Put(items).ok());
    const NewItem again{"b", &rows.fields, 1};
    ASSERT_TRUE(catalogue->Put({&again, 1}).ok());
    const std::vector<std::string> gone = {"c", "never there"};
    ASSERT_TRUE(catalogue->Remove(gone).ok());
    EXPECT_EQ(catalogue->items(), 2u);
  }
  store.reset();
  store = OpenStore(options);
  const auto catalogue = *Catalogue::Load(*store, 1 << 20);
  EXPECT_EQ(catalogue->items(), 2u);
  std::vector<FieldColumn> found = MakeColumns(schema).fields;
  EXPECT_TRUE(catalogue->Find("a", found));
  EXPECT_TRUE(catalogue->Find("b", found));
  EXPECT_FALSE(catalogue->Find("c", found));
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    if (schema.fields[f].kind != FieldKind::kId) continue;
    EXPECT_EQ(found[f].ids, (std::vector<uint64_t>{rows.fields[f].ids[0], rows.fields[f].ids[1]}));
  }
}

TEST(CatalogueTest, RefusesWhatIsTooMuch) {
  const Schema schema = AllKindsSchema();
  TempDir dir;
  Rng rng(2);
  const EventColumns rows = EventsAt(schema, {1}, 1, rng);
  const std::unique_ptr<UserStore> store = OpenStore({.dir = dir.File("state")});
  std::string record;
  EncodeFields(schema, rows.fields, 0, record);
  const size_t room_for_one = 2 * record.size() + 80;  // an entry takes 72 bytes more
  const auto catalogue = *Catalogue::Load(*store, room_for_one);
  const std::vector<NewItem> two = {{"a", &rows.fields, 0}, {"b", &rows.fields, 0}};
  EXPECT_TRUE(absl::IsResourceExhausted(catalogue->Put(two)));
  EXPECT_EQ(catalogue->items(), 0u);
  EXPECT_TRUE(catalogue->Put({two.data(), 1}).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Catalogue::Load(*store, 10).status()));
  const NewItem nameless{"", &rows.fields, 0};
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue->Put({&nameless, 1})));
}

}  // namespace
}  // namespace grab
