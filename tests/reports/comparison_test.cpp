#include "reports/comparison.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <tuple>

namespace afterimage {
namespace {

ComparisonRun run_of(std::int64_t seed, double accuracy, std::int64_t found, std::int64_t control) {
  ComparisonRun run;
  run.seed = seed;
  run.test_accuracy = accuracy;
  run.test_samples = 1000;
  run.reconstructed = rate_of(found, 50);
  run.control = rate_of(control, 500);
  run.membership.auc = found > 25 ? 0.99 : 0.5;
  run.membership_attacks = 3;
  run.training_images = 50;
  run.control_images = 500;
  return run;
}

ComparisonSetting setting_of(const std::string& name, const std::string& defense, std::vector<ComparisonRun> runs) {
  ComparisonSetting setting;
  setting.name = name;
  setting.defense = defense;
  setting.runs = std::move(runs);
  return setting;
}

DefenseComparison sample() {
  DefenseComparison comparison;
  comparison.seeds = {1, 2};
  comparison.settings.push_back(setting_of("plain", "none", {run_of(1, 0.90, 48, 1), run_of(2, 0.92, 50, 2)}));
  comparison.settings.push_back(setting_of("better", "kip", {run_of(1, 0.88, 0, 0), run_of(2, 0.90, 1, 1)}));
  comparison.settings.push_back(setting_of("worse", "noise", {run_of(1, 0.80, 10, 1), run_of(2, 0.80, 12, 0)}));
  summarize(comparison);
  return comparison;
}

}  // namespace

TEST_CASE("counts add up over seeds, accuracies have mean and interval, and no setting on the front is dominated") {
  const DefenseComparison comparison = sample();
  const auto& [plain, better, worse] = std::tie(comparison.settings[0], comparison.settings[1], comparison.settings[2]);
  CHECK(plain.reconstructed->count == 98);
  CHECK(plain.reconstructed->of == 100);
  CHECK(plain.control->of == 1000);
  CHECK(*plain.p_value < 1e-30);
  CHECK(*better.p_value > 0.05);
  CHECK(*plain.test_accuracy == Approx(0.91));
  CHECK(*plain.test_accuracy_low < 0.91 - 0.1);  // Student's t with one degree of freedom is wide
  CHECK(plain.on_front);                         // the most accurate
  CHECK(better.on_front);                        // leaks least
  CHECK_FALSE(worse.on_front);
  CHECK(*plain.membership_p_value < 1e-20);
  CHECK(*better.membership_p_value == 1);  // the best of three attacks was taken
}

TEST_CASE("p-values over seeds correct for taking the best attack of each run") {
  DefenseComparison once, chosen;
  for (DefenseComparison* comparison : {&once, &chosen}) {
    std::vector<ComparisonRun> runs{run_of(1, 0.9, 3, 1), run_of(2, 0.9, 3, 1), run_of(3, 0.9, 3, 1)};
    for (auto& run : runs) {
      run.membership.auc = 0.56;
      run.membership_attacks = comparison == &once ? 1 : 3;
      run.reconstruction_attacks = comparison == &once ? 1 : 2;
    }
    comparison->settings.push_back(setting_of("plain", "none", std::move(runs)));
    summarize(*comparison);
  }
  // Three attacks in each of three runs could have been chosen in 27 ways, two in 8.
  CHECK(*chosen.settings[0].membership_p_value == Approx(std::min(1.0, 27 * *once.settings[0].membership_p_value)));
  CHECK(*chosen.settings[0].p_value == Approx(std::min(1.0, 8 * *once.settings[0].p_value)));
  CHECK(*once.settings[0].membership_p_value < 1.0 / 27);
  CHECK(*once.settings[0].p_value < 1.0 / 8);
}

TEST_CASE("each setting has one sentence with its cost and leakage beside those without a defence") {
  const DefenseComparison comparison = sample();
  const std::string& better = comparison.settings[1].sentence;
  for (const char* part : {"89.0 %", "undefended 91.0 %", "1 of 100", "undefended 98", "no more than chance"}) {
    CAPTURE(better, part);
    CHECK(better.find(part) != std::string::npos);
  }
  CHECK(comparison.settings[0].sentence.find(", more than chance explains") != std::string::npos);
}

TEST_CASE("with one seed the accuracy's interval is over test images, and a failed run has a reason and no front") {
  DefenseComparison comparison;
  comparison.settings.push_back(setting_of("one", "none", {run_of(1, 0.9, 10, 0)}));
  ComparisonRun failed;
  failed.status = Status::failed;
  failed.reason = "it diverged";
  comparison.settings.push_back(setting_of("failed", "kip", {failed}));
  summarize(comparison);
  CHECK(*comparison.settings[0].test_accuracy_low == Approx(rate_of(900, 1000).ci95_low));
  CHECK_FALSE(comparison.settings[1].on_front);
  CHECK(comparison.settings[1].sentence.find("it diverged") != std::string::npos);
}

TEST_CASE("a bound on epsilon above what a defence claims is said, and one at a smaller delta is not held against it") {
  ComparisonRun run = run_of(1, 0.9, 0, 0);
  run.membership.epsilon_lower_bound = 2.5;
  run.membership.delta = 1e-5;
  const auto sentence = [&](const Json& claimed) {
    run.defense = claimed;
    DefenseComparison comparison;
    comparison.settings.push_back(setting_of("private", "dp-sgd", {run}));
    summarize(comparison);
    return comparison.settings[0].sentence;
  };
  const auto wrong = sentence({{"epsilon", 2.0}, {"delta", 1e-5}});
  CHECK(wrong.find("the bound on epsilon of seed 1, 2.50") != std::string::npos);
  CHECK(wrong.find("above the 2.00 that the defence claims") != std::string::npos);
  CHECK(sentence({{"epsilon", 3.0}, {"delta", 1e-5}}).find("claims") == std::string::npos);
  CHECK(sentence({{"epsilon", 2.0}, {"delta", 1e-3}}).find("claims") == std::string::npos);
  CHECK(sentence({{"epsilon", nullptr}, {"delta", 1e-5}}).find("claims") == std::string::npos);
  CHECK(sentence(Json::object()).find("claims") == std::string::npos);
}

TEST_CASE("a setting with inconclusive audits says that more may leak than was found") {
  DefenseComparison comparison = sample();
  CHECK(comparison.settings[0].sentence.find("inconclusive") == std::string::npos);
  comparison.settings[0].runs[1].status = Status::inconclusive;
  summarize(comparison);
  CHECK(comparison.settings[0].sentence.find("1 of 2 audits ended inconclusive") != std::string::npos);
}

TEST_CASE("a setting with unfinished audits dominates none, and the page says that its count is a lower bound") {
  DefenseComparison comparison = sample();
  const auto cut_off = [&](std::size_t setting) {
    comparison.settings[setting].runs[1].status = Status::inconclusive;
    summarize(comparison);
  };
  cut_off(2);
  CHECK_FALSE(comparison.settings[2].on_front);  // a lower bound above the leakage of another
  CHECK(render_html(comparison).find("at least 22 of 100") != std::string::npos);
  cut_off(1);
  CHECK(comparison.settings[2].on_front);  // "better" may leak as much
  CHECK(comparison.settings[1].on_front);
}

TEST_CASE("a setting without any reconstruction is neither on the front nor dominates another") {
  DefenseComparison comparison = sample();
  for (auto& run : comparison.settings[1].runs) {
    run.test_accuracy = 0.99;
    run.reconstructed.reset();
  }
  summarize(comparison);
  CHECK_FALSE(comparison.settings[1].on_front);
  CHECK(comparison.settings[0].on_front);
}

TEST_CASE("names from a spec are escaped in the page, and the page is the same each time") {
  DefenseComparison comparison = sample();
  comparison.settings[0].name = "</script><script>alert(1)</script>";
  const std::string page = render_html(comparison);
  CHECK(page.find("<script>alert(1)") == std::string::npos);
  CHECK(page == render_html(comparison));
}

TEST_CASE("a comparison read from its JSON is equal to the one that was written, and makes the same page") {
  DefenseComparison comparison = sample();
  ComparisonRun failed;
  failed.seed = 3;
  failed.status = Status::failed;
  failed.reason = "it diverged";
  comparison.settings[2].runs.push_back(failed);
  comparison.settings[0].runs[0].confirmed = Confirmed{40, 39};
  comparison.settings[1].runs[0].defense = {{"epsilon", 8.0}};
  comparison.settings[1].pictures.push_back({"aGVhZA==", "dGFpbA==", 7, 0.25});
  comparison.timing["seconds"] = 1.5;
  const Json document = to_json(comparison);
  const DefenseComparison again = comparison_from_json(Json::parse(document.dump()), "comparison.json");
  CHECK(to_json(again) == document);
  CHECK(render_html(again) == render_html(comparison));
}

TEST_CASE("an invalid comparison, or a field of the wrong type, is refused with the field's path") {
  const Json document = to_json(sample());
  const auto refused = [&](const char* place, const Json& value, const std::string& named) {
    Json spoilt = document;
    spoilt[Json::json_pointer(place)] = value;
    CAPTURE(place);
    CHECK_THROWS_WITH(comparison_from_json(spoilt, "comparison.json"), Catch::Contains(named));
  };
  refused("/schema", "afterimage.report/1", "not a comparison");
  refused("/settings/0/name", 3, "settings[0].name has to be a string");
  refused("/settings/1/runs/0/status", "fine", "settings[1].runs[0].status has to be one of ok");
  refused("/settings/1/test_accuracy/mean", 1.5, "settings[1].test_accuracy.mean has to be a fraction");
  refused("/settings/2/reconstructed/count", 101, "settings[2].reconstructed");
  CHECK_THROWS_WITH(comparison_from_json(Json::array(), "comparison.json"), Catch::Contains("not a comparison"));
}

}  // namespace afterimage
