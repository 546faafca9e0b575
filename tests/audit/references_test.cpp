// Reference models through the program: trained with a run, handed in, and refused.
#include <catch2/catch.hpp>

#include "models/formats/npz.h"
#include "models/tensor.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string training =
    "train --quiet --data fashion-mnist --task multiclass --architecture mlp:64 --loss cross-entropy --optimizer adam "
    "--batch 20 --steps 60 ";

}  // namespace

TEST_CASE("references are trained on images that are in no other set, and tell members that the loss alone does not") {
  const Folder folder;
  const std::string out = folder / "run";
  REQUIRE(run(training + "--samples 60 --mean public --references 4 --out " + out).code == 0);
  const auto rows_of = [](const std::string& file) {
    const NamedArrays arrays = read_npz(file);
    return to_tensor(*find(arrays, "images")).to(at::kFloat).flatten(1);
  };
  const Tensor theirs = rows_of(out + "/references/trained-on.npz"), ours = rows_of(out + "/training-set.npz");
  CHECK(theirs.size(0) > 60);
  CHECK(at::cdist(theirs, ours).min().item<double>() > 1e-3);

  const std::string audit = " --quiet --attacks loss,lira,rmia --out ";
  REQUIRE(run("audit " + out + audit + (folder / "report")).code == 0);
  const auto report = json_in(folder / "report/report.json");
  const double loss = finding_of(report, "loss")["membership"]["auc"];
  for (const char* attack : {"lira", "rmia"}) {
    const auto& finding = finding_of(report, attack);
    CHECK(finding["evidence"]["references"] == 4);
    CHECK(finding["membership"]["auc"].get<double>() > loss + 0.05);
  }
  int references = 0;
  for (const auto& input : report["inputs"]) references += input["role"] == "reference" ? 1 : 0;
  CHECK(references == 4);
  // Neither control set nor background holds what the references saw.
  CHECK(at::cdist(theirs, to_tensor(*find(read_npz(folder / "report/scoring.npz"), "control"))).min().item<double>() >
        1e-3);
  CHECK(run("verify " + (folder / "report/report.json")).code == 0);

  // A reference that is handed in joins those of the run.
  const std::string other = folder / "other";
  REQUIRE(run(training + "--samples 60 --mean public --seed 9 --out " + other).code == 0);
  REQUIRE(run("audit " + out + " --reference " + other + "/trained.safetensors" + audit + (folder / "five")).code == 0);
  const auto five = json_in(folder / "five/report.json");
  CHECK(finding_of(five, "rmia")["evidence"]["references"] == 5);
}

TEST_CASE("references of another shape, of the network itself, or of too few images are refused") {
  const Folder folder;
  const std::string plain = trained_run(folder, "plain");
  const auto refused = [&](const std::string& arguments, int code, const std::string& because) {
    const std::string out = folder / "out";
    const Result result = run(arguments + " --out " + out);
    CAPTURE(arguments, result.err);
    CHECK(result.code == code);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(because) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(out));
  };
  const std::string audit = "audit " + plain + " --quiet --attacks rmia --reference ";
  refused(audit + plain + "/trained.safetensors", 4, "the weights that are audited");
  refused(audit + plain + "/training-set.npz", 4, "training-set.npz");
  refused(audit + (folder / "missing.pt"), 4, "missing.pt");
  refused(training + "--samples 2500 --references 2", 2, "--references: each is trained on 2500 images");
  refused(training + "--samples 60 --references 0", 2, "--references");
}

}  // namespace afterimage::test
