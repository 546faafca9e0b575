#include "audit/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "attacks/solver/capacity.h"
#include "attacks/solver/one_hot_rows.h"
#include "audit/exposure.h"
#include "audit/forecast.h"
#include "audit/hidden_matrices.h"
#include "audit/interrupted.h"
#include "audit/scored.h"
#include "audit/stored.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/folder_lock.h"
#include "models/library_errors.h"
#include "models/tangent/deviation.h"
#include "reports/html.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr double significance = 0.05;  // of all bounds on epsilon in a report together
constexpr const char* no_time = "--time-limit was reached";

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string fingerprint_of(const HandOver& hand_over) {
  std::string text = hand_over.complete ? "complete" : "";
  for (const Tensor* images : {&hand_over.confirmed, &hand_over.candidates}) {
    text += "|" + (images->defined() ? digest_of(*images) : "");
  }
  return text;
}

// Images that the attack confirmed are handed over as confirmed; all others as candidates.
void hand_on(HandOver& hand_over, const StoredClaim& claim) {
  if (!claim.images.defined()) return;
  const auto add = [](Tensor& to, const Tensor& images) { to = to.defined() ? at::cat({to, images}) : images; };
  const Tensor confirmed = claim.confirmed.defined() ? claim.confirmed : at::zeros({claim.images.size(0)}, at::kBool);
  const Tensor sure = at::nonzero(confirmed).squeeze(1), rest = at::nonzero(~confirmed).squeeze(1);
  add(hand_over.confirmed, claim.images.index_select(0, sure));
  add(hand_over.candidates, claim.images.index_select(0, rest));
}

void write_contact_sheet(const Report& report, const AuditInput& input, const fs::path& out) {
  const Finding* best = best_reconstruction(report.findings);
  if (best == nullptr) return;
  write_sheet_of(*best, read_claim(out / (best->attack + ".npz")), input.truth, out);
}

bool lacks_initial(const Subject& subject) {
  const TrainedNetwork* released = subject.trained_network();
  return released != nullptr && !released->knows_initial();
}

MeasuredDeviation measured_deviation(const AuditInput& input) {
  if (lacks_initial(input.subject)) {
    MeasuredDeviation nothing;
    nothing.figures.reason = "the weights before training are not known, and every figure is measured from them";
    return nothing;
  }
  const auto& released = std::get<TrainedNetwork>(input.subject.released);
  MeasuredDeviation measured;
  try {
    measure_deviation(*released.network, released.initial, released.trained, input.truth.training, input.truth.control,
                      measured);
  } catch (const OutOfTime&) {  // what was measured by then is kept
    measured.figures.reason = no_time;
  } catch (const FatalError&) {
    throw;
  } catch (const std::exception& error) {  // an operator without the derivatives that some figure needs
    throw_translated(error);
    measured.figures.reason = reason_of(error);
  }
  return measured;
}

std::optional<Exposure> measured_exposure(const AuditInput& input, const Tensor& coefficients,
                                          const std::vector<Finding>& findings) {
  try {
    return exposure_of(input, coefficients, findings);
  } catch (const OutOfTime&) {
    Exposure nothing;
    nothing.attack = best_reconstruction(findings)->attack;
    nothing.reason = no_time;
    return nothing;
  }
}

Finding without_result(const std::string& attack, Status status, const std::string& reason) {
  Finding finding;
  finding.attack = attack;
  finding.status = status;
  finding.reason = reason;
  return finding;
}

std::optional<std::string> too_large(const std::vector<Forecast>& forecasts, const std::string& attack,
                                     const std::optional<double>& limit) {
  const auto own = std::find_if(forecasts.begin(), forecasts.end(), [&](const auto& f) { return f.attack == attack; });
  if (!limit || own == forecasts.end() || own->bytes <= *limit) return std::nullopt;
  return fmt::format("not started: it needs about {} of memory, and --memory-limit is {}", bytes_text(own->bytes),
                     bytes_text(*limit));
}

// Or no more than a single attack finds by chance.
bool found_nothing(const Finding& finding) {
  return finding.status == Status::ok && finding.reconstructed && !leaks(finding, 1);
}

// Finding nothing means little where the parameters do not determine the images: some images may leak nevertheless, and
// an attacker who knows more about them may succeed.
std::optional<std::string> beyond_capacity(const AuditInput& input, const Finding& finding) {
  const TrainedNetwork* released = input.subject.trained_network();
  if (!found_nothing(finding) || released == nullptr) return std::nullopt;
  const Capacity capacity = capacity_of(*released);
  const std::int64_t images = input.truth.training.size(0);
  if (static_cast<double>(images) <= capacity.images()) return std::nullopt;
  return fmt::format(
      "beyond capacity: the {} parameters that training changed determine {} of {} unknowns each, and {} were trained "
      "on; other images explain the change equally well",
      capacity.equations, capacity.images_text(), capacity.unknowns, images);
}

// Where control images are claimed as exactly as any can be, no training image can count by the rule: tables of few
// different rows.
std::optional<std::string> without_power(const Finding& finding) {
  if (!found_nothing(finding) || !finding.threshold || *finding.threshold >= exact_distance) return std::nullopt;
  return fmt::format(
      "control images are among what is claimed (the nearest percent of them within {:.2g}), so that training images "
      "cannot be told from them by distance; there may be few different images of this kind",
      *finding.threshold);
}

// The control set may be too small for the lowest false-positive rates.
std::optional<std::string> unresolved_rates(const Finding& finding, std::int64_t control) {
  if (!finding.membership || finding.membership->tpr_at_fpr_0_001) return std::nullopt;
  return fmt::format("{} control images are too few for membership at a false-positive rate of {}", control,
                     finding.membership->tpr_at_fpr_0_01 ? "0.001" : "0.01 or less");
}

// What is confirmed, but what no image can be, whatever attack confirmed it.
Tensor possible_of_confirmed(const Claim& claim, const ImageSpace& space) {
  return claim.confirmed.defined() ? claim.confirmed.logical_and(are_possible(space, claim.images)) : claim.confirmed;
}

struct Scored {
  Finding finding;
  StoredClaim claim;
};

// One attack, scored, continued from the state in `store`.
Scored scored_attack(const ChosenAttack& chosen, const AuditInput& input, const HandOver& hand_over,
                     const BoundRequest& bound, const Context& context, StateStore& store) {
  const Attack& attack = chosen.attack;
  if (lacks_initial(input.subject) && !attack.works_without_initial) {
    return {without_result(attack.name, Status::not_applicable,
                           "the weights before training are not known, which this attack needs"),
            {}};
  }
  Generator random = seeded(stage_seed(context.seed, attack.name));
  Job job{random, *context.progress, store};
  const Reconstruction found = chosen.configured.run(input.subject, hand_over, job);
  Finding finding;
  finding.attack = attack.name;
  finding.status = found.status;
  finding.reason = found.reason;
  finding.iterations = found.iterations;
  finding.loss_initial = found.loss_initial;
  finding.loss_final = found.loss_final;
  finding.relative_loss = found.relative_loss;
  finding.complete = found.complete;
  finding.evidence = found.evidence;
  if (found.status != Status::not_applicable && !found.complete && context.progress->out_of_time()) {
    finding.status = Status::inconclusive;
    finding.reason = out_of_time_text;
  }
  StoredClaim claim{
      found.claim.images, possible_of_confirmed(found.claim, input.subject.space), found.coefficients, {}, {}};
  if (found.claim.membership) {
    Generator order = seeded(stage_seed(context.seed, attack.name + ": pool"));
    const MembershipScores scores = membership_scores(found.claim, input.truth, order);
    claim.membership_training = scores.training;
    claim.membership_control = scores.control;
    if (found.scoring_evidence) finding.evidence.update(*found.scoring_evidence);
  }
  if (claim.images.defined() || claim.membership_training.defined()) {
    context.progress->stage(attack.name + ": scoring");
    fill_scores(finding, claim, input.truth, input.labels, context.seed,
                input.same_classes ? std::optional(bound) : std::nullopt);
  }
  if (const auto reason = beyond_capacity(input, finding)) {
    finding.status = Status::inconclusive;
    finding.reason = *reason;
  }
  if (const auto reason = without_power(finding)) {
    finding.status = Status::inconclusive;
    finding.reason = *reason;
  }
  if (finding.status == Status::ok && !input.doubt.empty()) {
    finding.status = Status::inconclusive;
    finding.reason = input.doubt;
  }
  if (finding.reason.empty()) {
    finding.reason = unresolved_rates(finding, input.truth.control.size(0)).value_or("");
  }
  return {std::move(finding), std::move(claim)};
}

// The attacks of one audit, in turn: each gets what those before it found.
class Attacks {
 public:
  Attacks(const AuditInput& input, const AuditRequest& request, const Context& context, std::vector<Forecast> forecasts)
      : input_(input),
        request_(request),
        context_(context),
        forecasts_(std::move(forecasts)),
        leftovers_(request.out),
        bound_{request.delta, input.by_coin, 1 - significance / static_cast<double>(attacks_of(request).size())},
        audited_(fingerprint_of(input) + fmt::format("|{}|{}|{}", bound_.delta, bound_.by_coin, bound_.confidence)) {}

  // Leaves what the attack claims, and how it ended, in NAME.npz.
  Finding next(const ChosenAttack& chosen) {
    const std::string& name = chosen.attack.name;
    const auto fingerprint = fingerprint_of(audited_, hand_over_, name, request_.options, context_);
    std::optional<Finding> kept;
    if (request_.resume) kept = leftovers_.finding(name, fingerprint, input_.truth.training.size(0));
    Finding finding = kept ? *kept : new_finding(chosen, fingerprint);
    const StoredClaim claim = read_claim(claim_file(name));
    if (kept) require_images(*kept, claim);
    hand_on(hand_over_, claim);
    hand_over_.complete = hand_over_.complete || finding.complete;
    return finding;
  }

 private:
  fs::path claim_file(const std::string& name) const { return request_.out / (name + ".npz"); }

  void require_images(const Finding& kept, const StoredClaim& claim) const {
    if (claim.images.defined() || (!kept.reconstructed && kept.samples.empty())) return;
    throw InputError(fmt::format(
        "{}: has no images, but the kept finding counts some; delete {}.partial.json beside it, and the attack is run "
        "again",
        claim_file(kept.attack).string(), kept.attack));
  }

  Finding new_finding(const ChosenAttack& chosen, const std::string& fingerprint) const {
    const std::string& name = chosen.attack.name;
    const auto written = [&](Scored scored) {
      scored.claim.status = scored.finding.status;
      write_claim(claim_file(name), scored.claim);
      return std::move(scored.finding);
    };
    if (const auto reason = too_large(forecasts_, name, request_.memory_limit)) {
      return written({without_result(name, Status::inconclusive, *reason), {}});
    }
    FileStateStore store(leftovers_.state_file(name), fingerprint, request_.resume);
    Finding finding = written(attempt(chosen, store));
    // With --resume an attack that failed or was cut short is run again.
    const bool is_done = finding.status != Status::failed && !context_.progress->out_of_time();
    if (is_done) leftovers_.keep_finding(finding, fingerprint);
    return finding;
  }

  // A fault in one attack is a finding, and the others go on; a FatalError ends the audit.
  Scored attempt(const ChosenAttack& chosen, StateStore& store) const {
    try {
      return with_own_errors([&] { return scored_attack(chosen, input_, hand_over_, bound_, context_, store); });
    } catch (const FatalError&) {
      throw;
    } catch (const OutOfTime& error) {
      return {without_result(chosen.attack.name, Status::inconclusive, error.what()), {}};
    } catch (const NotApplicable& error) {
      return {without_result(chosen.attack.name, Status::not_applicable, error.what()), {}};
    } catch (const std::exception& error) {
      return {without_result(chosen.attack.name, Status::failed, reason_of(error)), {}};
    }
  }

  const AuditInput& input_;
  const AuditRequest& request_;
  const Context& context_;
  std::vector<Forecast> forecasts_;
  Leftovers leftovers_;
  BoundRequest bound_;  // the confidence holds for the largest bound of all attacks
  std::string audited_;
  HandOver hand_over_;
};

}  // namespace

std::string fingerprint_of(const AuditInput& input) {
  std::string text;
  for (const auto& file : input.facts.inputs) text += "|" + file.sha256;
  text += fmt::format("|{}|{}", input.facts.data.control_samples, input.facts.data.task);
  // A checkpoint may hold several state dicts, so the file's hash alone does not tell which was read.
  if (const TrainedNetwork* released = input.subject.trained_network()) {
    for (const Parameters* parameters : {&released->initial, &released->trained}) {
      for (const auto& [name, tensor] : parameters->entries()) text += "|" + digest_of(tensor);
    }
  }
  text += "|" + digest_of(input.truth.training) + "|" + digest_of(input.targets);
  if (const InfiniteNetwork* infinite = input.subject.infinite_network()) {
    for (const auto& layer : infinite->kernel.layers()) {
      text +=
          fmt::format("|{}|{}|{}|{}", layer.weight_variance, layer.bias_variance, layer.weight_gain, layer.bias_gain);
    }
  }
  return sha256_of(text);
}

std::string fingerprint_of(const std::string& subject, const HandOver& hand_over, const std::string& attack,
                           const std::map<std::string, std::string>& options, const Context& context) {
  return sha256_of(fingerprint_text(context, attack, options) + "|" + subject + fingerprint_of(hand_over));
}

Finding run_attack(const ChosenAttack& chosen, const AuditInput& input, const HandOver& hand_over,
                   const Context& context, const fs::path& out, StateStore& store) {
  Scored scored = scored_attack(chosen, input, hand_over, {.by_coin = input.by_coin}, context, store);
  word(input.facts.data, scored.finding);
  write_claim(out / (chosen.attack.name + ".npz"), scored.claim);
  return std::move(scored.finding);
}

Deviation deviation_of(const AuditInput& input) { return measured_deviation(input).figures; }

Verdict ungated_verdict(const std::vector<Finding>& findings) {
  const auto any = [&](Status status) {
    return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.status == status; });
  };
  const bool unclear = any(Status::inconclusive) || any(Status::failed) || !any(Status::ok);
  return unclear ? Verdict::inconclusive : Verdict::not_gated;
}

ChosenAttack::ChosenAttack(const Attack& chosen, const std::map<std::string, std::string>& given)
    : attack(chosen), configured(chosen.configured(given)) {}

std::vector<ChosenAttack> attacks_of(const AuditRequest& request) {
  std::vector<std::string> names = request.attacks;
  if (names.empty()) {
    for (const auto& attack : all_attacks()) names.push_back(attack.name);
  }
  std::vector<ChosenAttack> attacks;
  for (const auto& name : names) {
    if (std::count(names.begin(), names.end(), name) > 1) {
      throw UsageError(fmt::format("--attacks: {} is named more than once; name each attack once", name));
    }
    attacks.emplace_back(attack_named(name), request.options);
  }
  return attacks;
}

Report run_audit(const AuditInput& input, const AuditRequest& request, const Context& context) {
  const Stopwatch total;
  const std::vector<ChosenAttack> chosen = attacks_of(request);
  const auto forecasts = request.memory_limit ? forecast(input, request, context) : std::vector<Forecast>{};
  const OutputFolder folder(request.out, request.resume, longest_step);
  const Leftovers leftovers(request.out);
  leftovers.take_over();
  leftovers.require_same_inputs(input.facts.inputs);

  if (request.time_limit) context.progress->end_after(std::chrono::duration<double>(*request.time_limit));
  Report report = input.facts;
  report.tool = context.tool();
  Attacks attacks(input, request, context, forecasts);
  for (const auto& attack : chosen) {
    const Stopwatch stopwatch;
    report.findings.push_back(attacks.next(attack));
    report.timing["attacks"][attack.attack.name] = stopwatch.seconds();
  }
  context.progress->stage("deviation from the tangent kernel");
  const MeasuredDeviation deviation = measured_deviation(input);
  report.deviation = deviation.figures;
  if (const auto* released = input.subject.trained_network()) report.model.connectivity = hidden_matrices(*released);
  report.exposure = measured_exposure(input, deviation.coefficients, report.findings);
  if (request.policy) {
    report.gate = apply(*request.policy, report);
    report.verdict = verdict_of(*request.policy, *report.gate);
  } else {
    report.verdict = ungated_verdict(report.findings);
  }
  std::vector<std::int64_t> labels;
  for (const auto& label : input.labels) labels.push_back(std::stoll(label));
  write_truth(request.out / "scoring.npz", input.truth, at::tensor(labels, at::kLong));
  write_contact_sheet(report, input, request.out);
  word(report);
  report.timing["seconds"] = total.seconds();
  write_file(request.out / "report.json", to_json(report).dump(1) + "\n");
  write_file(request.out / "report.html", render_html(report));
  leftovers.clear();
  return report;
}

}  // namespace afterimage
