#include "audit/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "models/base/error.h"
#include "models/base/files.h"
#include "models/base/json.h"
#include "models/base/npz.h"
#include "models/tangent/deviation.h"
#include "reports/contact_sheet.h"
#include "reports/html.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t most_pictures = 200;  // an attack, so that a report stays small enough to open
constexpr std::size_t sheet_pictures = 50;
constexpr std::uint64_t largest_partial = 1ULL << 30;

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool is_picture(const std::vector<std::int64_t>& shape) {
  return shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3));
}

Picture picture_of(const Tensor& image, const Truth& truth) {
  const Tensor bytes = (image + truth.mean).mul(255).round().clamp(0, 255).to(at::kByte).contiguous();
  const auto* data = bytes.data_ptr<std::uint8_t>();
  return {static_cast<int>(truth.image_shape[1]), static_cast<int>(truth.image_shape[0]),
          truth.image_shape.size() == 3 ? static_cast<int>(truth.image_shape[2]) : 1,
          std::vector<std::uint8_t>(data, data + bytes.numel())};
}

std::string png_of(const Tensor& image, const Truth& truth) { return base64(encode_png(picture_of(image, truth))); }

Status status_of(Conclusion conclusion) {
  switch (conclusion) {
    case Conclusion::ok:
      return Status::ok;
    case Conclusion::not_applicable:
      return Status::not_applicable;
    case Conclusion::inconclusive:
      return Status::inconclusive;
  }
  throw std::logic_error("unknown conclusion");
}

std::vector<Sample> samples_of(const Score& score, const StoredClaim& claim, const Truth& truth,
                               const std::vector<std::string>& labels) {
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < score.matches.size(); ++i) {
    const Match& match = score.matches[i];
    Sample sample{static_cast<std::int64_t>(i), labels[i],  match.distance,
                  match.relative_distance,      match.ssim, std::nullopt,
                  match.reconstructed,          "",         ""};
    if (claim.coefficients.defined() && match.candidate >= 0) {
      sample.coefficient = claim.coefficients[match.candidate].norm().item<double>();
    }
    samples.push_back(sample);
  }
  std::stable_sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return a.relative_distance.value_or(1e300) < b.relative_distance.value_or(1e300);
  });
  if (!is_picture(truth.image_shape)) return samples;
  for (std::size_t k = 0; k < std::min(samples.size(), most_pictures); ++k) {
    const Match& match = score.matches[samples[k].index];
    samples[k].original_png = png_of(truth.training[samples[k].index], truth);
    if (match.candidate >= 0) samples[k].reconstruction_png = png_of(score.clipped[match.candidate], truth);
  }
  return samples;
}

// A report holds no array of more numbers than this; of a longer one it has as many quantiles (the whole of it follows
// from the arrays beside the report).
std::vector<double> thinned(std::vector<double> values) {
  constexpr std::size_t most = 10000;
  if (values.size() <= most) return values;
  std::sort(values.begin(), values.end());
  std::vector<double> quantiles;
  for (std::size_t i = 0; i < most; ++i) quantiles.push_back(values[i * (values.size() - 1) / (most - 1)]);
  return quantiles;
}

void write_claim(const fs::path& file, const StoredClaim& claim) {
  NamedArrays arrays;
  const auto add = [&](const char* name, const Tensor& tensor) {
    if (tensor.defined()) arrays.emplace_back(name, to_array(tensor));
  };
  add("images", claim.images);
  add("confirmed", claim.confirmed);
  add("coefficients", claim.coefficients);
  add("membership_training", claim.membership_training);
  add("membership_control", claim.membership_control);
  if (!arrays.empty()) write_npz(file, arrays);
}

// Everything that decides a finding: a finding may be used again only where all of it is the same.
std::string fingerprint(const Case& subject, const std::string& attack,
                        const std::map<std::string, std::string>& options, const Context& context) {
  std::string text = fmt::format("{}|{}|{}|{}|{}", context.tool().version, context.tool().libtorch, context.seed,
                                 context.threads, attack);
  for (const auto& [name, value] : options) text += fmt::format("|{}={}", name, value);
  for (const auto& input : subject.facts.inputs) text += "|" + input.sha256;
  text += fmt::format("|{}", subject.facts.data.control_samples);
  return sha256_of(text);
}

// What an attack was sure of goes on as such; the rest as candidates.
void hand_on(Handed& handed, const StoredClaim& claim) {
  if (!claim.images.defined() || !claim.confirmed.defined()) return;
  const auto add = [](Tensor& to, const Tensor& images) { to = to.defined() ? at::cat({to, images}) : images; };
  const Tensor sure = at::nonzero(claim.confirmed).squeeze(1), rest = at::nonzero(~claim.confirmed).squeeze(1);
  add(handed.confirmed, claim.images.index_select(0, sure));
  add(handed.candidates, claim.images.index_select(0, rest));
}

fs::path partial_file(const fs::path& out, const std::string& attack) { return out / (attack + ".partial.json"); }

std::optional<Finding> finished_before(const fs::path& out, const std::string& attack, const std::string& print) {
  const auto file = partial_file(out, attack);
  if (!fs::exists(file)) return std::nullopt;
  const Json partial = parse_json(read_file(file, largest_partial), file.string());
  if (!partial.is_object() || partial.value("fingerprint", "") != print || !partial.contains("finding"))
    return std::nullopt;
  return finding_from_json(partial["finding"], file.string());
}

void write_contact_sheet(const Report& report, const Case& subject, const fs::path& out) {
  const auto best =
      std::max_element(report.findings.begin(), report.findings.end(), [](const Finding& a, const Finding& b) {
        return (a.reconstructed ? a.reconstructed->count : -1) < (b.reconstructed ? b.reconstructed->count : -1);
      });
  if (best == report.findings.end() || !best->reconstructed) return;
  write_sheet_of(*best, read_claim(out / (best->attack + ".npz")), subject, out);
}

}  // namespace

void write_sheet_of(const Finding& finding, const StoredClaim& claim, const Case& subject, const fs::path& out) {
  if (!finding.reconstructed || !is_picture(subject.truth.image_shape)) return;
  Generator random = seeded(0);
  const Score score = afterimage::score(Claim{claim.images, claim.confirmed, {}}, subject.truth, random);
  std::vector<std::pair<Picture, Picture>> pairs;
  for (const auto& sample : finding.samples) {
    const auto partner = score.matches[sample.index].candidate;
    if (partner < 0 || pairs.size() == sheet_pictures) continue;
    pairs.emplace_back(picture_of(subject.truth.training[sample.index], subject.truth),
                       picture_of(score.clipped[partner], subject.truth));
  }
  if (!pairs.empty()) write_file(out / "contact-sheet.png", contact_sheet(pairs));
}

StoredClaim read_claim(const fs::path& file) {
  if (!fs::exists(file)) return {};  // an attack that did not apply claims nothing
  const NamedArrays arrays = read_npz(file);
  const auto get = [&](const char* name) {
    const Array* array = find(arrays, name);
    return array == nullptr ? Tensor() : to_tensor(*array);
  };
  return {get("images"), get("confirmed"), get("coefficients"), get("membership_training"), get("membership_control")};
}

void fill_scores(Finding& finding, const StoredClaim& stored, const Truth& truth,
                 const std::vector<std::string>& labels, std::int64_t seed) {
  Claim claim{stored.images, stored.confirmed, {}};
  if (stored.membership_training.defined()) {
    claim.membership = [&](const Tensor& images) {
      return images.is_same(truth.training) ? stored.membership_training : stored.membership_control;
    };
  }
  Generator random = seeded(stage_seed(seed, "scoring"));
  const Score score = afterimage::score(claim, truth, random);
  finding.threshold = score.threshold;
  finding.reconstructed = score.reconstructed;
  finding.control = score.control;
  finding.confirmed.reset();
  if (score.confirmed) finding.confirmed = Confirmed{*score.confirmed, score.confirmed_right.value_or(0)};
  finding.membership = score.membership;
  finding.p_value = score.p_value;
  finding.mean_relative_distance = score.mean_relative_distance;
  finding.mean_ssim = score.mean_ssim;
  finding.member_distances = thinned(score.member_distances);
  finding.control_distances = thinned(score.control_distances);
  finding.samples = samples_of(score, stored, truth, labels);
}

Finding run_attack(const Attack& attack, const Case& subject, const Handed& handed,
                   const std::map<std::string, std::string>& options, const Context& context, const fs::path& out) {
  Generator random = seeded(stage_seed(context.seed, attack.name()));
  const Reconstruction found =
      attack.run(subject.subject, handed, AttackOptions(attack.options(), options), random, *context.progress);
  Finding finding;
  finding.attack = attack.name();
  finding.status = status_of(found.conclusion);
  finding.reason = found.reason;
  finding.iterations = found.iterations;
  finding.loss_initial = found.loss_initial;
  finding.loss_final = found.loss_final;
  finding.relative_loss = found.relative_loss;
  finding.evidence = found.evidence;
  StoredClaim claim{found.claim.images, found.claim.confirmed, found.coefficients, {}, {}};
  if (found.claim.membership) {
    claim.membership_training = found.claim.membership(subject.truth.training);
    claim.membership_control = found.claim.membership(subject.truth.control);
  }
  if (claim.images.defined() || claim.membership_training.defined()) {
    context.progress->stage(attack.name() + ": scoring");
    fill_scores(finding, claim, subject.truth, subject.labels, context.seed);
  }
  write_claim(out / (attack.name() + ".npz"), claim);
  return finding;
}

Deviation deviation_of(const Case& subject) {
  const auto measured = measure_deviation(*subject.subject.network, subject.subject.initial, subject.subject.trained,
                                          subject.truth.training, subject.truth.control);
  Deviation deviation;
  deviation.kernel_distance = measured.kernel_distance;
  deviation.linearization_error = measured.linearization_error;
  deviation.linearization_error_control = measured.linearization_error_control;
  deviation.relative_parameter_change = measured.relative_parameter_change;
  deviation.residual_at_truth = measured.residual_at_truth;
  deviation.residual_at_truth_final = measured.residual_at_truth_final;
  deviation.parameters_per_unknown = measured.parameters_per_unknown;
  deviation.reason =
      "initial_to_infinite and final_to_infinite need the analytic kernel, which this version does not have";
  if (!measured.reason.empty()) deviation.reason += "; " + measured.reason;
  return deviation;
}

void write_truth(const fs::path& file, const Truth& truth, const Tensor& labels) {
  write_npz(file, {{"training", to_array(truth.training)},
                   {"control", to_array(truth.control)},
                   {"mean", to_array(truth.mean)},
                   {"labels", to_array(labels)},
                   {"image_shape", to_array(at::tensor(truth.image_shape, at::kLong))}});
}

std::pair<Truth, std::vector<std::string>> read_truth(const fs::path& file) {
  const NamedArrays arrays = read_npz(file);
  const auto get = [&](const char* name, at::ScalarType dtype) {
    const Array* array = find(arrays, name);
    if (array == nullptr) throw InputError(fmt::format("{}: has no array named {}", file.string(), name));
    return to_tensor(*array).to(dtype);
  };
  Truth truth{get("training", at::kFloat), get("control", at::kFloat), get("mean", at::kFloat), {}};
  const Tensor labels = get("labels", at::kLong), shape = get("image_shape", at::kLong);
  for (const double size : to_doubles(shape)) truth.image_shape.push_back(static_cast<std::int64_t>(size));
  std::int64_t pixels = 1;
  for (const auto size : truth.image_shape) pixels = size > 0 && size <= (1 << 20) ? pixels * size : 0;
  if (truth.training.dim() != 2 || truth.control.dim() != 2 || truth.image_shape.size() > 3 ||
      truth.training.size(1) != pixels || truth.control.size(1) != pixels || truth.mean.numel() != pixels ||
      labels.dim() != 1 || labels.size(0) != truth.training.size(0)) {
    throw InputError(file.string() + ": its arrays do not fit each other");
  }
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < labels.numel(); ++i) texts.push_back(std::to_string(labels[i].item<std::int64_t>()));
  return {truth, texts};
}

Verdict ungated_verdict(const std::vector<Finding>& findings) {
  const auto any = [&](Status status) {
    return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.status == status; });
  };
  return any(Status::inconclusive) || !any(Status::ok) ? Verdict::inconclusive : Verdict::not_gated;
}

Report run_audit(const Case& subject, const AuditRequest& request, const Context& context) {
  const Stopwatch total;
  std::vector<std::string> names = request.attacks;
  if (names.empty()) {
    for (const auto& attack : all_attacks()) names.push_back(attack->name());
  }
  for (const auto& name : names) {
    const Attack& attack = attack_named(name);
    attack.validate(AttackOptions(attack.options(), request.options));
  }
  prepare_output_folder(request.out, request.resume);

  Report report = subject.facts;
  report.tool = context.tool();
  Handed handed;
  std::string before;  // what was run before an attack decides what it is handed
  for (const auto& name : names) {
    const Stopwatch stopwatch;
    const auto print = fingerprint(subject, before + name, request.options, context);
    auto finding = request.resume ? finished_before(request.out, name, print) : std::nullopt;
    if (!finding) {
      finding = run_attack(attack_named(name), subject, handed, request.options, context, request.out);
      write_file(partial_file(request.out, name), Json{{"fingerprint", print}, {"finding", to_json(*finding)}}.dump());
    }
    report.findings.push_back(std::move(*finding));
    hand_on(handed, read_claim(request.out / (name + ".npz")));
    before += name + ",";
    report.timing["attacks"][name] = stopwatch.seconds();
  }
  context.progress->stage("deviation from the tangent kernel");
  report.deviation = deviation_of(subject);
  if (request.policy) {
    report.gate = apply(*request.policy, report);
    report.verdict = verdict_of(*request.policy, *report.gate);
  } else {
    report.verdict = ungated_verdict(report.findings);
  }
  std::vector<std::int64_t> labels;
  for (const auto& label : subject.labels) labels.push_back(std::stoll(label));
  write_truth(request.out / "scoring.npz", subject.truth, at::tensor(labels, at::kLong));
  write_contact_sheet(report, subject, request.out);
  report.timing["seconds"] = total.seconds();
  write_file(request.out / "report.json", to_json(report).dump(1) + "\n");
  write_file(request.out / "report.html", render_html(report));
  for (const auto& name : names) fs::remove(partial_file(request.out, name));
  return report;
}

}  // namespace afterimage
