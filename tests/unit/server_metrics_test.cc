// The text that Prometheus reads, of values that are read when it asks (src/server/metrics.h): kind
// and labels word for word, since dashboards and alerts are written against them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/metrics.h"

namespace grab {
namespace {

using testing::HasSubstr;

TEST(MetricsTest, ReadingsHaveTheirKindAndAreReadAnew) {
  Metrics metrics({"click"});
  double users = 3.0;
  double hits = 7.0;
  metrics.AddGauge("grab_users", "Users", {{}, [&] { return users; }});
  metrics.AddCounter("grab_hits_total", "Hits", {{}, [&] { return hits; }});
  EXPECT_THAT(metrics.Text(), HasSubstr("# HELP grab_users Users\n"
                                        "# TYPE grab_users gauge\n"
                                        "grab_users 3\n"
                                        "# HELP grab_hits_total Hits\n"
                                        "# TYPE grab_hits_total counter\n"
                                        "grab_hits_total 7\n"));
  users = 2.0;
  hits = 8.0;
  EXPECT_THAT(metrics.Text(), HasSubstr("\ngrab_users 2\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("\ngrab_hits_total 8\n"));
}

// Prometheus refuses a text in which a family appears twice.
TEST(MetricsTest, OneNameIsOneFamily) {
  Metrics metrics({"click"});
  metrics.AddGauge("grab_step", "Step", {{{"arm", "a"}}, [] { return 1.0; }});
  metrics.AddGauge("grab_other", "Between", {{}, [] { return 9.0; }});
  metrics.AddGauge("grab_step", "Step", {{{"arm", "b"}}, [] { return 2.0; }});
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("# TYPE grab_step gauge\n"
                              "grab_step{arm=\"a\"} 1\n"
                              "grab_step{arm=\"b\"} 2\n"));
  EXPECT_EQ(text.find("# TYPE grab_step"), text.rfind("# TYPE grab_step"));
}

TEST(MetricsDeathTest, ACounterIsCalledOne) {
  Metrics metrics({"click"});
  EXPECT_DEATH(metrics.AddCounter("grab_hits", "Hits", {{}, [] { return 1.0; }}), "_total");
}

}  // namespace
}  // namespace grab
