// The DuckDB wrapper: values and NULLs of each type that ingest reads, lists, errors with their
// SQL, the appender.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/duckdb.h"

namespace grab {
namespace {

using testing::HasSubstr;

std::unique_ptr<DuckDb> OpenDb() {
  auto db = DuckDb::Open({128, 1, ""});
  EXPECT_TRUE(db.ok()) << db.status();
  return *std::move(db);
}

TEST(DuckDb, StreamsTypedColumns) {
  const auto db = OpenDb();
  auto query = db->Query(
      "SELECT * FROM (VALUES (1, CAST(-5 AS BIGINT), 'text', CAST(0.5 AS FLOAT), [7, 8]), "
      "(2, NULL, NULL, NULL, NULL), (3, CAST(9 AS BIGINT), 'a text longer than twelve bytes', "
      "CAST(2 AS FLOAT), [])) t(k, i, s, f, l) ORDER BY k");
  ASSERT_TRUE(query.ok()) << query.status();
  EXPECT_EQ((*query)->columns(), 5u);
  EXPECT_EQ((*query)->name(2), "s");
  EXPECT_EQ((*query)->type(1), DUCKDB_TYPE_BIGINT);
  auto more = (*query)->Next();
  ASSERT_TRUE(more.ok() && *more);
  ASSERT_EQ((*query)->rows(), 3u);
  const DuckColumn ints = (*query)->column(1);
  const DuckColumn texts = (*query)->column(2);
  const DuckColumn lists = (*query)->column(4);
  EXPECT_EQ(ints.Get<int64_t>(0), -5);
  for (size_t c = 1; c < 5; ++c) EXPECT_FALSE((*query)->column(c).valid(1)) << c;
  EXPECT_EQ(texts.GetString(0), "text");
  EXPECT_EQ(texts.GetString(2), "a text longer than twelve bytes");
  EXPECT_EQ((*query)->column(3).Get<float>(0), 0.5f);
  EXPECT_EQ(lists.GetList(0).length, 2u);
  EXPECT_EQ(lists.Elements().Get<int32_t>(lists.GetList(0).offset + 1), 8);
  EXPECT_EQ(lists.GetList(2).length, 0u);
  more = (*query)->Next();
  EXPECT_TRUE(more.ok() && !*more);
}

// 100,000 rows are about fifty chunks, so that Next crosses chunks.
TEST(DuckDb, StreamsManyChunks) {
  const auto db = OpenDb();
  auto query = db->Query("SELECT range FROM range(100000) ORDER BY range");
  ASSERT_TRUE(query.ok()) << query.status();
  int64_t expected = 0;
  while (true) {
    const auto more = (*query)->Next();
    ASSERT_TRUE(more.ok()) << more.status();
    if (!*more) break;
    for (uint64_t row = 0; row < (*query)->rows(); ++row) {
      ASSERT_EQ((*query)->column(0).Get<int64_t>(row), expected++);
    }
  }
  EXPECT_EQ(expected, 100000);
}

TEST(DuckDb, ErrorsNameTheSql) {
  const auto db = OpenDb();
  const Status syntax = db->Execute("SELEKT 1");
  EXPECT_EQ(syntax.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(syntax.message()), HasSubstr("SELEKT 1"));
  EXPECT_EQ(db->Query("SELECT nothing").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(db->Query("SELECT * FROM read_csv('/nonexistent.csv')").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(db->QueryInt64("SELECT CAST(NULL AS BIGINT)").ok());
  EXPECT_FALSE(DuckDb::Open({128, 0, ""}).ok());
}

TEST(DuckDb, FailsInTheMiddleOfAQuery) {
  const auto db = OpenDb();
  auto query = db->Query(
      "SELECT CAST(CASE WHEN range = 50000 THEN 'x' ELSE '1' END AS BIGINT) FROM range(100000)");
  Status status = query.status();
  while (status.ok()) {
    const auto more = (*query)->Next();
    status = more.status();
    if (more.ok() && !*more) break;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

// With 64 MB and nowhere to spill, sorting 40 M numbers cannot work; the database stays usable.
TEST(DuckDb, ReportsExhaustedMemory) {
  auto db = DuckDb::Open({64, 1, ""});
  ASSERT_TRUE(db.ok()) << db.status();
  const Status status =
      (*db)->Query("SELECT range, hash(range) h FROM range(40000000) ORDER BY h").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE((*db)->QueryInt64("SELECT CAST(1 AS BIGINT)").ok());
}

TEST(DuckDb, DescribesColumns) {
  const auto db = OpenDb();
  const auto types = db->Describe("SELECT 1 AS a, 'x' AS b, [1.5] AS c");
  ASSERT_TRUE(types.ok()) << types.status();
  ASSERT_EQ(types->size(), 3u);
  EXPECT_EQ((*types)[0].type, DUCKDB_TYPE_INTEGER);
  EXPECT_EQ((*types)[1].type, DUCKDB_TYPE_VARCHAR);
  EXPECT_EQ((*types)[1].name, "b");
  EXPECT_EQ((*types)[2].type, DUCKDB_TYPE_LIST);
  EXPECT_EQ((*types)[2].element, DUCKDB_TYPE_DECIMAL);
  EXPECT_EQ((*types)[0].element, DUCKDB_TYPE_INVALID);
}

TEST(DuckDb, AppendsRows) {
  const auto db = OpenDb();
  ASSERT_TRUE(db->Execute("CREATE TABLE t(b BOOLEAN, i BIGINT, d DOUBLE, s VARCHAR)").ok());
  auto appender = db->Append("t");
  ASSERT_TRUE(appender.ok()) << appender.status();
  for (int64_t i = 0; i < 5000; ++i) {
    (*appender)->Append(i % 2 == 0);
    (*appender)->Append(i);
    (*appender)->Append(0.5);
    if (i == 0) {
      (*appender)->AppendNull();
    } else {
      (*appender)->Append("row");
    }
    ASSERT_TRUE((*appender)->EndRow().ok());
  }
  ASSERT_TRUE((*appender)->Close().ok());
  EXPECT_EQ(*db->QueryInt64("SELECT CAST(sum(i) AS BIGINT) FROM t WHERE b AND d = 0.5"), 6247500);
  EXPECT_EQ(*db->QueryInt64("SELECT count(*) FROM t WHERE s = 'row'"), 4999);
  EXPECT_FALSE(db->Append("absent").ok());
}

TEST(DuckDb, QuotesNamesAndText) {
  const auto db = OpenDb();
  const std::string name = "a \"b\"; --";
  const std::string text = "it's; --\n'";
  ASSERT_TRUE(db->Execute("CREATE TABLE " + SqlIdentifier(name) + " AS SELECT " + SqlString(text) +
                          " AS " + SqlIdentifier(name))
                  .ok());
  auto query = db->Query("SELECT " + SqlIdentifier(name) + " FROM " + SqlIdentifier(name));
  ASSERT_TRUE(query.ok()) << query.status();
  ASSERT_TRUE(*(*query)->Next());
  EXPECT_EQ((*query)->column(0).GetString(0), text);
}

}  // namespace
}  // namespace grab
