// `grab report` on a real comparison, opened in a real browser (Chromium, headless): light, dark,
// as wide as a phone, and as printed. A script added to the page counts what its charts hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/cli_process.h"

namespace grab {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// What `grab scale` would have left beside the comparison; GRAB has no run at one value.
constexpr char kScale[] = R"({"along": "history", "series": [
  {"model": "dlrm", "points": [{"value": 0, "auc_mean": 0.6, "auc_sd": null, "seeds": [1]},
                               {"value": 8, "auc_mean": 0.61, "auc_sd": null, "seeds": [1]}]},
  {"model": "grab", "points": [{"value": 8, "auc_mean": 0.65, "auc_sd": null, "seeds": [1]},
                               {"value": 64, "auc_mean": 0.7, "auc_sd": null, "seeds": [1]}]}]})";
constexpr char kHostile[] = "</script><img src=x onerror=\"f()\"><!--<script>";

// Of every canvas: how many pixels have a colour (axes and bars of rows are grey) and its width, on
// the screen and when a printer asks; left as JSON in <pre id="probe">.
constexpr char kProbe[] = R"html(<script>
const look = () => ({
  charts: [...document.querySelectorAll(".plot")].map((plot) => {
    const canvas = plot.querySelector("canvas");
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const context = copy.getContext("2d", {willReadFrequently: true});
    context.drawImage(canvas, 0, 0);
    const {data} = context.getImageData(0, 0, copy.width, copy.height);
    let coloured = 0;
    for (let i = 0; i < data.length; i += 4) {
      const rgb = [data[i], data[i + 1], data[i + 2]];
      coloured += data[i + 3] > 128 && Math.max(...rgb) - Math.min(...rgb) > 60 ? 1 : 0;
    }
    return {title: canvas.getAttribute("aria-label"), coloured, width: canvas.clientWidth};
  }),
  width: window.innerWidth, needed: document.documentElement.scrollWidth,
  background: getComputedStyle(document.body).backgroundColor,
});
const probe = {screen: look(), images: document.images.length};
probe.models = [...document.querySelectorAll("main > .scroll tbody tr")].map((row) => row.children[0].textContent);
probe.head = [...document.querySelectorAll("main > .scroll thead th")].map((cell) => cell.textContent);
probe.notes = [...document.querySelectorAll(".note")].map((note) => note.textContent);
window.dispatchEvent(new Event("beforeprint"));
probe.print = look();
window.dispatchEvent(new Event("afterprint"));
probe.after = look();
const pre = document.createElement("pre");
pre.id = "probe";
pre.textContent = JSON.stringify(probe);
document.body.append(pre);
</script></body>)html";

// Headless windows are 500 pixels wide at least; a frame may be as narrow as a phone.
constexpr char kPhoneBegin[] = R"html(<!doctype html><meta name="color-scheme" content="dark">
<iframe style="width: 380px; height: 800px; border: 0; color-scheme: dark" srcdoc=")html";
constexpr char kPhoneEnd[] = R"html("></iframe>
<script>
window.onload = () => {
  document.body.append(document.querySelector("iframe").contentDocument.getElementById("probe"));
  document.querySelector("iframe").remove();
};
</script>)html";

bool HasChromium() { return RunCommand({"sh", "-c", "command -v chromium"}).exit_code == 0; }

CommandResult Chromium(const TempDir& dir, std::vector<std::string> arguments) {
  std::vector<std::string> argv = {"timeout",
                                   "100",
                                   "chromium",
                                   "--headless",
                                   "--no-sandbox",
                                   "--disable-gpu",
                                   "--disable-dev-shm-usage",
                                   "--enable-logging=stderr",
                                   "--user-data-dir=" + dir.File("profile")};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return RunCommand(argv);
}

class ReportPageTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    compared_ = new TempDir;
    const CommandResult compared =
        RunCommand({GRAB_BINARY, "compare", "--config", GRAB_SOURCE_DIR "/configs/simulator.toml",
                    "--out", compared_->File("zoo"), "--models", "dlrm,trees,grab", "--seeds",
                    "1,2", "--set", "simulate.users=150", "--set", "eval.slices=[\"hour\"]",
                    "--set", "grab.train.streaming.slice_s=86400"});
    ASSERT_EQ(compared.exit_code, 0) << compared.err;
    ASSERT_TRUE(WriteFileDurably(compared_->File("zoo/scale.json"), kScale).ok());
  }
  static void TearDownTestSuite() { delete compared_; }

  void SetUp() override {
    std::filesystem::copy(compared_->File("zoo"), dir_.File("zoo"),
                          std::filesystem::copy_options::recursive);
  }

  std::string MakeReport() {
    const CommandResult made = RunCommand(
        {GRAB_BINARY, "report", "--compare", dir_.File("zoo"), "--out", dir_.File("report.html")});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return made.out;
  }

  // What the probe found; the browser may have nothing to say on its console.
  json Open(bool phone, const std::vector<std::string>& arguments) {
    std::string page = ReadFile(dir_.File("report.html"), 1 << 24).value();
    page = absl::StrReplaceAll(page, {{"</body>", kProbe}});
    if (phone) {
      page = absl::StrReplaceAll(page, {{"&", "&amp;"}, {"\"", "&quot;"}});
      page = absl::StrCat(kPhoneBegin, page, kPhoneEnd);
    }
    EXPECT_TRUE(WriteFileDurably(dir_.File("probed.html"), page).ok());
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--dump-dom", "file://" + dir_.File("probed.html")});
    const CommandResult opened = Chromium(dir_, all);
    EXPECT_EQ(opened.exit_code, 0) << opened.err;
    EXPECT_THAT(opened.err, Not(HasSubstr("CONSOLE")));
    const std::string begin = "<pre id=\"probe\">";
    const size_t from = opened.out.find(begin);
    if (from == std::string::npos) {
      ADD_FAILURE() << "the page has no probe:\n" << opened.err;
      return {};
    }
    const size_t text = from + begin.size();
    const std::string found = opened.out.substr(text, opened.out.find("</pre>", text) - text);
    return json::parse(absl::StrReplaceAll(found, {{"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}}));
  }

  static inline TempDir* compared_ = nullptr;
  TempDir dir_;
};

// One of scaling; 4 of quality, one of the sliced field and two of what is cold; 3 of attention; 2
// each of training and cost; 3 of the data.
constexpr size_t kCharts = 18;

void ExpectCharts(const json& look, double width_max) {
  ASSERT_EQ(look["charts"].size(), kCharts) << look;
  for (const json& chart : look["charts"]) {
    EXPECT_GT(chart["coloured"].get<int>(), 100) << chart;
    EXPECT_GT(chart["width"].get<double>(), 200) << chart;
    EXPECT_LE(chart["width"].get<double>(), width_max) << chart;
  }
  EXPECT_LE(look["needed"].get<int>(), look["width"].get<int>()) << "scrolls sideways";
}

// What grab compare measured of its first GRAB by the binary that has no libtorch.
TEST_F(ReportPageTest, ComparisonTellsWhereGrabLooks) {
  const json attention = json::parse(ReadFile(dir_.File("zoo/attention.json"), 1 << 20).value());
  EXPECT_THAT(attention["model"].get<std::string>(), HasSubstr("grab-seed1/best"));
  EXPECT_EQ(attention["sampled"], attention["targets"]);
  EXPECT_GT(attention["targets"], 100);
  ASSERT_EQ(attention["channels"].size(), 1u);
  const json& channel = attention["channels"][0];
  ASSERT_EQ(channel["self"]["mass"].size(), 2u);
  for (const char* kind : {"position", "time", "action"}) {
    double mass = channel["self"]["mass"][1];
    for (const json& bucket : channel[kind]) mass += bucket["mass"][1].get<double>();
    EXPECT_NEAR(mass, 1.0, 1e-5) << kind;
  }
}

TEST_F(ReportPageTest, DrawsEverythingInEveryForm) {
  if (!HasChromium()) GTEST_SKIP() << "there is no chromium: run scripts/setup --dev";
  EXPECT_THAT(MakeReport(), HasSubstr("3 models"));
  constexpr double kPaperPixels = 180.0 / 25.4 * 96.0;
  struct Form {
    const char* name;
    bool phone;
    const char* scheme;  // as the browser numbers them
    double width_max;
    const char* background;
  };
  for (const Form& form : {Form{"light", false, "1", 640, "rgb(255, 255, 255)"},
                           Form{"dark", false, "0", 640, "rgb(20, 23, 26)"},
                           Form{"phone", true, "0", 380, "rgb(20, 23, 26)"}}) {
    SCOPED_TRACE(form.name);
    const json probe =
        Open(form.phone, {"--window-size=1280,900",
                          absl::StrCat("--blink-settings=preferredColorScheme=", form.scheme)});
    ASSERT_TRUE(probe.is_object());
    ExpectCharts(probe["screen"], form.width_max);
    EXPECT_EQ(probe["screen"]["background"], form.background);
    EXPECT_EQ(probe["models"], json({"dlrm", "trees", "grab"}));
    EXPECT_THAT(probe["head"].get<std::vector<std::string>>(), testing::Contains("streaming"));
    // Boosted trees have no steps.
    ASSERT_EQ(probe["notes"].size(), 2u) << probe["notes"];
    EXPECT_THAT(probe["notes"][0].get<std::string>(), HasSubstr("trees-seed1/log.jsonl is not"));
    // Paper is white and of one width, whatever the screen is; and the screen is as before after
    // it.
    EXPECT_EQ(probe["print"]["charts"].size(), kCharts);
    EXPECT_EQ(probe["print"]["background"], "rgb(255, 255, 255)");
    for (const json& chart : probe["print"]["charts"]) {
      EXPECT_GT(chart["coloured"].get<int>(), 100) << chart;
      EXPECT_NEAR(chart["width"].get<double>(), kPaperPixels, 40) << chart;
    }
    EXPECT_EQ(probe["after"], probe["screen"]);
  }
  const std::string pdf = dir_.File("report.pdf");
  EXPECT_EQ(
      Chromium(dir_, {"--print-to-pdf=" + pdf, "file://" + dir_.File("report.html")}).exit_code, 0);
  EXPECT_EQ(ReadFile(pdf, 1 << 24).value().substr(0, 5), "%PDF-");
}

// A model by a hostile name, without runs, and so a channel and its action: the page shows the
// name, and says what lacks.
TEST_F(ReportPageTest, HostileNamesAreTextAndHolesAreSaid) {
  if (!HasChromium()) GTEST_SKIP() << "there is no chromium: run scripts/setup --dev";
  const std::string path = dir_.File("zoo/comparison.json");
  json comparison = json::parse(ReadFile(path, 1 << 20).value());
  comparison["models"].push_back(comparison["models"][0]);
  comparison["models"][3]["model"] = kHostile;
  comparison["failed"].push_back({{"model", kHostile}, {"seed", 3}, {"error", "out of memory"}});
  ASSERT_TRUE(WriteFileDurably(path, comparison.dump()).ok());
  const std::string attention_path = dir_.File("zoo/attention.json");
  json attention = json::parse(ReadFile(attention_path, 1 << 20).value());
  attention["channels"].push_back(attention["channels"][0]);
  attention["channels"][1]["name"] = attention["channels"][1]["action"][0]["action"] = kHostile;
  ASSERT_TRUE(WriteFileDurably(attention_path, attention.dump()).ok());
  ASSERT_TRUE(RemoveAll(dir_.File("zoo/shards")).ok());
  ASSERT_TRUE(RemoveAll(dir_.File("zoo/scale.json")).ok());
  EXPECT_THAT(MakeReport(), AllOf(HasSubstr("note: shards is not there"), HasSubstr("4 models")));
  const json probe = Open(true, {});
  ASSERT_TRUE(probe.is_object());
  EXPECT_EQ(probe["images"], 0);
  EXPECT_EQ(probe["models"][3], kHostile);
  const auto notes = probe["notes"].get<std::vector<std::string>>();
  EXPECT_THAT(notes, testing::Contains(AllOf(HasSubstr(kHostile), HasSubstr("out of memory"))));
  EXPECT_THAT(notes, testing::Contains(AllOf(HasSubstr(kHostile), HasSubstr("log.jsonl is not"))));
  EXPECT_THAT(notes, testing::Contains(HasSubstr("shards is not there")));
  // 3 of a channel more; that of scaling and those of the data less.
  EXPECT_EQ(probe["screen"]["charts"].size(), kCharts - 1);
  EXPECT_LE(probe["screen"]["needed"].get<int>(), probe["screen"]["width"].get<int>());
}

TEST(Report, NamesTheFolderThatIsNoComparison) {
  const TempDir dir;
  const CommandResult failed = RunCommand(
      {GRAB_BINARY, "report", "--compare", dir.path(), "--out", dir.File("report.html")});
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_THAT(failed.err, AllOf(HasSubstr("comparison.json"), HasSubstr("grab compare")));
  EXPECT_FALSE(Exists(dir.File("report.html")));
}

}  // namespace
}  // namespace grab
