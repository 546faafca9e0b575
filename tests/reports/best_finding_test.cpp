// Which of several findings a report states first.
#include <catch2/catch.hpp>

#include "reports/report.h"

namespace afterimage {
namespace {

Finding that_found(std::int64_t count, std::int64_t of) {
  Finding finding;
  finding.reconstructed = rate_of(count, of);
  return finding;
}

Finding that_tells(double auc) {
  Finding finding;
  finding.membership = Membership{};
  finding.membership->auc = auc;
  return finding;
}

}  // namespace

TEST_CASE("the best reconstruction has the largest rate, not the most images or the smallest distance") {
  std::vector<Finding> findings = {that_found(10, 100), that_found(3, 4), that_found(2, 3)};
  findings[0].mean_relative_distance = 0.01;
  findings[0].p_value = 1e-9;
  findings[0].mean_ssim = 0.99;
  findings[0].membership = Membership{};
  findings[0].membership->auc = 1;
  findings[1].mean_relative_distance = 0.4;
  findings[1].p_value = 0.5;
  findings[1].status = Status::inconclusive;  // reconstructed images count even where an attack was inconclusive
  CHECK(best_reconstruction(findings) == &findings[1]);
}

TEST_CASE("the best membership has the largest area, not the highest rate at one point of the curve") {
  std::vector<Finding> findings = {that_tells(0.8), that_tells(0.9), that_tells(0.1)};
  findings[0].membership->tpr_at_fpr_0_01 = 0.7;
  findings[0].membership->advantage = 0.7;
  findings[0].reconstructed = rate_of(5, 5);
  findings[1].membership->tpr_at_fpr_0_01 = 0.1;
  findings[1].membership->advantage = 0.5;
  CHECK(best_membership(findings) == &findings[1]);
}

TEST_CASE("a leak is what chance does not explain over all attacks, or an image that was confirmed rightly") {
  Finding finding = that_found(2, 20);
  finding.p_value = 0.03;
  CHECK(leaks(finding, 1));
  CHECK_FALSE(leaks(finding, 2));
  const std::vector<Finding> two = {finding, that_found(0, 20), that_tells(0.9)};
  CHECK(attacks_with_images(two) == 2);
  CHECK(found_leak(two) == nullptr);
  CHECK(found_leak({finding}) != nullptr);
  finding.confirmed = Confirmed{1, 1};
  CHECK(leaks(finding, 2));
  finding.confirmed = Confirmed{1, 0};
  CHECK_FALSE(leaks(finding, 2));
  Finding none = that_found(0, 20);
  none.p_value = 0.0;
  CHECK_FALSE(leaks(none, 1));
}

TEST_CASE("telling members by more than chance is a leak, however it was measured") {
  Report report;
  report.data.samples = 20;
  report.data.control_samples = 200;
  report.findings = {that_tells(0.5), that_tells(0.9)};
  CHECK(found_members(report) == &report.findings[1]);
  report.findings[1].membership->auc = 0.62;  // p = 0.04
  CHECK(found_members(report) == nullptr);
  report.data.samples = 2000;
  CHECK(found_members(report) == &report.findings[1]);
  report.data.control_samples = 0;
  CHECK(found_members(report) == nullptr);
}

TEST_CASE("of equal findings the first is the best") {
  const std::vector<Finding> found = {that_found(1, 4), that_found(2, 4), that_found(1, 2), that_found(50, 100)};
  CHECK(best_reconstruction(found) == &found[1]);
  const std::vector<Finding> told = {that_tells(0.6), that_tells(0.75), that_tells(0.75)};
  CHECK(best_membership(told) == &told[1]);
}

TEST_CASE("a finding without counts is never the best, and one that found nothing is if there is no better") {
  const std::vector<Finding> findings = {Finding(), that_tells(0.2), Finding(), that_found(0, 20)};
  CHECK(best_reconstruction(findings) == &findings[3]);
  CHECK(best_membership(findings) == &findings[1]);
  const std::vector<Finding> none = {Finding(), Finding()};
  CHECK(best_reconstruction(none) == nullptr);
  CHECK(best_membership(none) == nullptr);
  CHECK(best_reconstruction({}) == nullptr);
  CHECK(best_membership({}) == nullptr);
}

}  // namespace afterimage
