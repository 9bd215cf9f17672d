// The page of the admin port in a real browser (Chromium, headless): it shows what the server is
// doing, inspects a user, adds a click and sees the scores move. A proxy in between adds a script
// that uses the page as a person would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_replace.h"
#include "support/cli_process.h"
#include "support/running_server.h"

namespace grab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunningServer;

constexpr char kProbe[] = R"html(<pre id="probe"></pre><script>
const wait = (done) => new Promise((resolve, reject) => {
  const begin = Date.now();
  const look = () => done() ? resolve() : Date.now() - begin > 15000 ? reject(new Error("waited for " + done)) : setTimeout(look, 20);
  look();
});
const cells = (id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].map((c) => c.textContent));
(async () => {
  const found = {};
  try {
    await wait(() => $("facts").children.length > 0);
    found.state = $("state").textContent;
    found.models = cells("models");
    await wait(() => rates.data.labels.length > 1);
    found.points = rates.data.datasets[0].data.length;
    $("user").value = "u1";
    $("candidates").value = '[{"item_id": "i7", "fields": {"ad": {"id": "7"}}}, {"item_id": "<b>i8</b>"}]';
    $("inspect").requestSubmit();
    await wait(() => cells("scores").length === 2);
    found.scores = cells("scores");
    found.attention = cells("attention");
    found.events = cells("events");
    $("action").value = "click";
    $("click").requestSubmit();
    await wait(() => cells("scores")[0].length === 4);
    found.moved = cells("scores");
    found.after = cells("events");
    $("user").value = "";
    $("candidates").value = "[nonsense";
    $("user").value = "u1";
    $("inspect").requestSubmit();
    await wait(() => $("error").textContent);
    found.error = $("error").textContent;
    found.wide = document.documentElement.scrollWidth <= innerWidth;
  } catch (error) {
    found.failed = String(error);
  }
  $("probe").textContent = JSON.stringify(found);
})();
</script></body>)html";

TEST(ServerPageTest, ShowsInspectsAndMoves) {
  if (RunCommand({"sh", "-c", "command -v chromium"}).exit_code != 0) {
    GTEST_SKIP() << "there is no chromium: run scripts/setup --dev";
  }
  RunningServer running;
  ASSERT_TRUE(running.Start().ok());
  const int admin = running.server().admin_http_port();
  for (int e = 0; e < 6; ++e) {
    const HttpReply reply = running.Post(
        admin, "/v1/observe",
        absl::StrCat(R"({"events": [{"user_id": "u1", "event_id": "e)", e,
                     R"(", "item_id": "<i>seen</i>", "known_time_ms": )", 1'700'000'000'000 + e,
                     R"(, "fields": {"ad": {"id": "3"}}, "actions": {"click": true}}]})"));
    ASSERT_EQ(reply.status, 200) << reply.body;
  }
  auto proxy = HttpServer::Start({}, [&](const HttpRequest& request, const HttpDone& done) {
    const auto type = request.headers.find("content-type");
    const HttpReply reply = HttpClient(admin).Call(
        request.method, request.path, request.body,
        type == request.headers.end() ? "" : absl::StrCat("Content-Type: ", type->second, "\r\n"));
    const bool page = request.path == "/";
    done({reply.status,
          page ? "text/html" : "application/json",
          page ? absl::StrReplaceAll(reply.body, {{"</body>", kProbe}}) : reply.body,
          {}});
  });
  ASSERT_TRUE(proxy.ok()) << proxy.status();
  const TempDir dir;
  const CommandResult opened =
      RunCommand({"timeout", "100", "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                  "--disable-dev-shm-usage", "--enable-logging=stderr",
                  "--user-data-dir=" + dir.File("profile"), "--window-size=1280,1400",
                  "--virtual-time-budget=20000", "--dump-dom",
                  absl::StrCat("http://127.0.0.1:", (*proxy)->port(), "/")});
  EXPECT_EQ(opened.exit_code, 0) << opened.err;
  EXPECT_THAT(opened.err, Not(HasSubstr("CONSOLE")));
  const std::string begin = "<pre id=\"probe\">";
  const size_t from = opened.out.find(begin);
  ASSERT_NE(from, std::string::npos) << opened.err;
  const size_t text = from + begin.size();
  const std::string json =
      absl::StrReplaceAll(opened.out.substr(text, opened.out.find("</pre>", text) - text),
                          {{"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}});
  const nlohmann::json found = nlohmann::json::parse(json, nullptr, false);
  ASSERT_TRUE(found.is_object()) << json << opened.err;
  ASSERT_FALSE(found.contains("failed")) << found;
  EXPECT_EQ(found["state"], "serving");
  EXPECT_EQ(found["models"][0][1], "1");
  EXPECT_GE(found["points"], 1);
  EXPECT_EQ(found["scores"][0][0], "i7");
  EXPECT_EQ(found["scores"][1][0], "<b>i8</b>");  // text, not markup
  EXPECT_EQ(found["events"].size(), 6u);
  EXPECT_EQ(found["events"][0][1], "<i>seen</i>");
  EXPECT_GE(found["attention"].size(), 4u);
  EXPECT_EQ(found["after"].size(), 7u);
  EXPECT_NE(found["moved"][0][1], found["scores"][0][1]);
  EXPECT_NE(found["error"], "");
  EXPECT_EQ(found["wide"], true);
}

}  // namespace
}  // namespace grab
