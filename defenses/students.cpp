#include "defenses/students.h"

#include <fmt/format.h>

#include "defenses/baselines.h"
#include "defenses/kip.h"
#include "defenses/pseudo_subclasses.h"
#include "defenses/student_objectives.h"
#include "models/architectures.h"
#include "models/dense_network.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/last_layer.h"

namespace afterimage {
namespace {

constexpr const char* dense_family = "mlp:";
const std::vector<std::int64_t> smallest_picture = {1, 1};

// What a student is trained on, and how it is built; the same for all methods.
struct StudentSettings {
  std::string name;                // of the defence
  std::string architecture;        // of the student
  std::string images;              // training, public or distilled
  std::int64_t public_images = 0;  // at most
  std::map<std::string, std::string> distillation;
  std::int64_t steps = 0;
};

// The network that was trained on the private images.
struct Teacher {
  std::shared_ptr<const Network> network;
  Parameters trained;
  std::optional<LastLayer> last = {};  // for embeddings
  std::int64_t subclasses = 1;

  Tensor outputs(const Tensor& images) const { return network->evaluate(trained, images); }
  // Of classes [n, C]: one output f is the logit of the second against the first.
  Tensor logits(const Tensor& images) const {
    const Tensor all = outputs(images);
    return all.size(1) == 1 ? at::cat({at::zeros_like(all), all}, 1) : class_outputs(all, subclasses, 2);
  }
  // What goes into the last layer, [n, p].
  Tensor embeddings(const Tensor& images) const {
    if (const DenseNetwork* dense = as_dense(*network)) {
      const auto all = dense->activations(trained, images);
      return all[all.size() - 2];
    }
    return last_layer_features(*network, trained, {last.value().weight, std::nullopt}, images).to(trained.dtype());
  }
  // Of the last layer, [k, p].
  const Tensor& classifier() const { return trained[last.value().weight]; }
};

// Throws UsageError where the architecture does not fit the inputs.
std::shared_ptr<const Network> student_network(const StudentSettings& settings, const Undefended& undefended,
                                               std::int64_t outputs) {
  const bool dense = settings.architecture.starts_with(dense_family);
  return make_network_for(settings.architecture, dense ? undefended.network->parameterization() : "standard",
                          undefended.space.shape, outputs);
}

// Throws UsageError on what shows before any work.
void require_teachable(const StudentSettings& settings, const Undefended& undefended) {
  if (undefended.recipe.loss == LossKind::squared) {
    throw UsageError(
        fmt::format("--loss squared: {} needs a teacher whose outputs are probabilities; use logistic or cross-entropy",
                    settings.name));
  }
  if (settings.images == "public" && !(undefended.others.defined() && undefended.others.size(0) > 0)) {
    throw UsageError(
        fmt::format("{}: images=public: the data has no images of the task beside the training images and those that "
                    "measure the accuracy; use training or distilled",
                    settings.name));
  }
  static_cast<void>(student_network(settings, undefended, undefended.classes()));
}

Teacher taught(const StudentSettings& settings, const Undefended& undefended, Job& job) {
  job.progress.stage(settings.name + ": training the teacher");
  Teacher teacher;
  teacher.network = undefended.network;
  teacher.trained = train(*undefended.network, undefended.initial, undefended.images, undefended.targets,
                          undefended.recipe, job.random, job.progress)
                        .trained;
  return teacher;
}

LastLayer require_embeddings(const StudentSettings& settings, const Undefended& undefended) {
  if (const auto last = last_layer_of(*undefended.network, undefended.initial)) return *last;
  throw UsageError(
      fmt::format("--architecture {}: {} learns from embeddings, what goes into a dense last layer, and this network "
                  "has none, or nothing below it; give mlp:WIDTH,... or convnet:CHANNELS,...",
                  printable(undefended.network->architecture()), settings.name));
}

// [m, d], as the network sees them.
Tensor images_of(const StudentSettings& settings, const Undefended& undefended, Job& job) {
  if (settings.images == "training") return undefended.images;
  if (settings.images == "distilled") {
    return kip_defense().configured(settings.distillation).distill(undefended, job).images;
  }
  return undefended.others.narrow(0, 0, std::min(settings.public_images, undefended.others.size(0)));
}

// In the format of the original targets.
Tensor targets_of(const Tensor& probabilities, std::int64_t columns) {
  return columns == 1 ? probabilities.narrow(1, 1, 1) * 2 - 1 : probabilities;
}

// The first `count` outputs of a network.
Parameters of_first_outputs(const Parameters& parameters, std::int64_t count) {
  auto entries = parameters.entries();
  for (std::size_t i = entries.size() - 2; i < entries.size(); ++i) {
    entries[i].second = entries[i].second.narrow(0, 0, count).clone();
  }
  return Parameters(std::move(entries));
}

// How a student is taught from `images`: what its outputs stand for and what they are to be.
struct Lesson {
  Objective objective;
  std::int64_t outputs = 0, subclasses = 1;  // those that are released; others come after them
  std::int64_t others = 0;
  Tensor probabilities;  // of the classes, that are taught, [m, C]
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();
};

Release student_of(const StudentSettings& settings, const Undefended& undefended, const Teacher& teacher,
                   const Tensor& images, const Lesson& lesson, Job& job) {
  const auto learner = student_network(settings, undefended, lesson.outputs + lesson.others);
  Recipe recipe = undefended.recipe;
  recipe.max_steps = settings.steps;
  recipe.frozen.clear();
  recipe.over_loss = false;
  const Parameters initial = learner->draw_initial(job.random).value();
  job.progress.stage(settings.name + ": training the student");
  Release release;
  release.training = train(*learner, initial, images, lesson.objective, recipe, job.random, job.progress);
  recipe.loss = LossKind::cross_entropy;  // of what is released, as the audit sees it; the evidence says of what
  release.recipe = recipe;
  release.student = Student{student_network(settings, undefended, lesson.outputs), initial, lesson.subclasses};
  if (lesson.others > 0) {
    release.training.trained = of_first_outputs(release.training.trained, lesson.outputs);
    release.student->initial = of_first_outputs(initial, lesson.outputs);
  }
  if (settings.images != "training") {
    release.support.images = images;
    release.support.targets = targets_of(lesson.probabilities, undefended.targets.size(1));
  }
  const auto agreement = [&](const Tensor& some) {
    const Tensor outputs = release.student->network->evaluate(release.training.trained, some);
    const Tensor classes = class_outputs(outputs, lesson.subclasses, 2).argmax(1);
    return (classes == teacher.logits(some).argmax(1)).to(at::kDouble).mean().item<double>();
  };
  release.evidence = lesson.evidence;
  const Tensor classes = teacher.logits(undefended.images).argmax(1);
  release.evidence["teacher"] = {
      {"architecture", teacher.network->architecture()},
      {"parameters", teacher.trained.count()},
      {"train_accuracy", (classes == classes_of(undefended.targets)).to(at::kDouble).mean().item<double>()}};
  release.evidence["student"] = {{"architecture", settings.architecture},
                                 {"parameters", release.training.trained.count()},
                                 {"max_steps", settings.steps}};
  release.evidence["images"] = {{"kind", settings.images}, {"count", images.size(0)}};
  release.evidence["agreement_with_teacher"] = agreement(images);
  return release;
}

std::vector<OptionSpec> student_options() {
  return {{"student", "hidden widths of the student, as in 64,64, or another architecture, as in convnet:8,16", "64,64",
           "WIDTH,...|ARCH"},
          {"images", "that the student learns from: training, public (others of the same source) or distilled (by kip)",
           "training", "training|public|distilled"},
          {"public-images", "public images at most", "1000", "INTEGER"},
          per_class_option(),
          {"distillation-steps", "steps of the distillation", "3000", "INTEGER"},
          {"steps", "of the student's training at most; its other settings are the teacher's", "2000", "INTEGER"}};
}

StudentSettings parse_student(const std::string& name, const OptionValues& options) {
  StudentSettings settings;
  settings.name = name;
  settings.architecture = options.text("student");
  if (settings.architecture.find(':') == std::string::npos) settings.architecture.insert(0, dense_family);
  settings.images = options.one_of("images", {"training", "public", "distilled"});
  settings.public_images = options.whole("public-images", 1, 1000000);
  settings.distillation = {{"per-class", std::to_string(per_class(options))},
                           {"distillation-steps", std::to_string(options.whole("distillation-steps", 1, 10000000))}};
  settings.steps = options.whole("steps", 1, 100000000);
  static_cast<void>(make_network_for(settings.architecture, "standard", smallest_picture, 1));  // checks it
  return settings;
}

struct DistilledSettings {
  StudentSettings student;
  std::string learns;
  double temperature, label_share, embedding_weight, diversity;
  std::int64_t subclasses;
};

DistilledSettings parse_distilled(const OptionValues& options) {
  return {parse_student("distilled-student", options),
          options.one_of("learns", {"probabilities", "labels", "subclasses", "embeddings"}),
          options.number("temperature", 1e-3, 1e3),
          options.number("label-share", 0, 1),
          options.number("embedding-weight", 0, 1e6),
          options.number("diversity", 0, 1e6),
          options.whole("subclasses", 1, 1024)};
}

// A teacher of the same architecture that has subclasses.
Teacher taught_with_subclasses(const DistilledSettings& settings, const Undefended& undefended, Job& job) {
  Teacher teacher;
  teacher.network = make_network_for(undefended.network->architecture(), undefended.network->parameterization(),
                                     undefended.space.shape, undefended.classes() * settings.subclasses);
  job.progress.stage("distilled-student: training a teacher with subclasses");
  const Tensor labels = at::one_hot(classes_of(undefended.targets), undefended.classes()).to(at::kFloat);
  Recipe recipe = undefended.recipe;
  recipe.frozen.clear();
  recipe.over_loss = false;
  // The term by which outputs differ has no end at which it is zero.
  constexpr std::int64_t patience = 500;
  if (recipe.patience == 0) recipe.patience = patience;
  teacher.subclasses = settings.subclasses;
  teacher.trained =
      train(*teacher.network, teacher.network->draw_initial(job.random).value(), undefended.images,
            subclass_objective(labels, settings.subclasses, settings.diversity), recipe, job.random, job.progress)
          .trained;
  return teacher;
}

void check_distilled(const DistilledSettings& settings, const Undefended& undefended) {
  require_teachable(settings.student, undefended);
  if (settings.learns == "embeddings") static_cast<void>(require_embeddings(settings.student, undefended));
}

Release release_distilled(const DistilledSettings& settings, const Undefended& undefended, Job& job) {
  const bool embeddings = settings.learns == "embeddings", subclasses = settings.learns == "subclasses";
  std::optional<LastLayer> last;
  if (embeddings) last = require_embeddings(settings.student, undefended);
  Teacher teacher =
      subclasses ? taught_with_subclasses(settings, undefended, job) : taught(settings.student, undefended, job);
  teacher.last = last;
  const Tensor images = images_of(settings.student, undefended, job), logits = teacher.logits(images);
  Lesson lesson;
  lesson.outputs = undefended.classes();
  lesson.evidence["learns"] = settings.learns;
  lesson.probabilities = at::softmax(logits, 1);
  if (subclasses) {
    lesson.outputs *= settings.subclasses;
    lesson.subclasses = settings.subclasses;
    lesson.evidence["subclasses"] = settings.subclasses;
    lesson.objective = divergence_from(at::softmax(teacher.outputs(images), 1));
    return student_of(settings.student, undefended, teacher, images, lesson, job);
  }
  // Where the images have no labels of their own, the teacher says them.
  const Tensor classes = settings.student.images == "training" ? classes_of(undefended.targets) : logits.argmax(1);
  const Tensor labels = at::one_hot(classes, lesson.outputs).to(at::kFloat);
  const bool labels_alone = settings.learns == "labels";
  if (labels_alone) lesson.probabilities = labels;
  lesson.objective = student_objective(logits, labels, settings.temperature, labels_alone ? 1 : settings.label_share);
  if (embeddings) {
    const Tensor wanted = teacher.embeddings(images), centred = wanted - wanted.mean(0);
    const Tensor scaled = centred / centred.square().mean().sqrt().clamp_min(1e-12);
    lesson.others = scaled.size(1);
    lesson.objective = with_embeddings(lesson.objective, scaled, lesson.outputs, settings.embedding_weight);
  }
  return student_of(settings.student, undefended, teacher, images, lesson, job);
}

struct LelpSettings {
  StudentSettings student;
  PseudoSubclasses::Settings subclasses;
  double temperature;
};

LelpSettings parse_lelp(const OptionValues& options) {
  LelpSettings settings{parse_student("lelp", options),
                        {options.whole("subclasses", 2, 1024), options.number("membership-temperature", 1e-3, 1e3)},
                        options.number("temperature", 1e-3, 1e3)};
  if (settings.subclasses.subclasses % 2 != 0) {
    throw UsageError(fmt::format("subclasses {}: has to be even: each direction and its negative are one",
                                 settings.subclasses.subclasses));
  }
  return settings;
}

// Each class's embeddings, less their mean, vary in fewer directions than they are.
void require_images_for(std::int64_t subclasses, const Undefended& undefended) {
  const Tensor classes = classes_of(undefended.targets);
  for (std::int64_t label = 0; label < undefended.classes(); ++label) {
    const auto count = (classes == label).sum().item<std::int64_t>();
    if (count > subclasses / 2) continue;
    throw UsageError(
        fmt::format("subclasses {}: needs more than {} images of each class, and class {} has {}; ask for "
                    "fewer subclasses, or train on more images",
                    subclasses, subclasses / 2, label, count));
  }
}

void check_lelp(const LelpSettings& settings, const Undefended& undefended) {
  require_teachable(settings.student, undefended);
  static_cast<void>(require_embeddings(settings.student, undefended));
  require_images_for(settings.subclasses.subclasses, undefended);
}

Release release_lelp(const LelpSettings& settings, const Undefended& undefended, Job& job) {
  const LastLayer last = require_embeddings(settings.student, undefended);
  Teacher teacher = taught(settings.student, undefended, job);
  teacher.last = last;
  const PseudoSubclasses subclasses(teacher.embeddings(undefended.images), classes_of(undefended.targets),
                                    undefended.classes(), teacher.classifier(), settings.subclasses, job.random);
  const Tensor images = images_of(settings.student, undefended, job);
  Lesson lesson;
  lesson.subclasses = settings.subclasses.subclasses;
  lesson.outputs = undefended.classes() * lesson.subclasses;
  lesson.evidence["subclasses"] = lesson.subclasses;
  lesson.probabilities = at::softmax(teacher.logits(images) / settings.temperature, 1);
  lesson.objective =
      divergence_from(subclasses.targets(lesson.probabilities, teacher.embeddings(images)).to(at::kFloat));
  return student_of(settings.student, undefended, teacher, images, lesson, job);
}

constexpr const char* student_limits =
    "a student of the same images carries what they taught it; one of public or distilled images what the teacher's "
    "outputs say of them: measured, not bounded";

}  // namespace

Defense distilled_student_defense() {
  Defense defense;
  defense.name = "distilled-student";
  defense.description =
      "releases a smaller network that learned from one trained on the images (knowledge distillation)";
  defense.limits = student_limits;
  defense.options = student_options();
  defense.options.push_back({"learns", "the teacher's probabilities, labels alone, subclasses or embeddings",
                             "probabilities", "probabilities|labels|subclasses|embeddings"});
  defense.options.push_back({"temperature", "that divides both networks' outputs", "4", "NUMBER"});
  defense.options.push_back({"label-share", "of the loss, that of the labels, 0 to 1", "0", "NUMBER"});
  defense.options.push_back({"embedding-weight", "of the embeddings' part of the loss", "1", "NUMBER"});
  defense.options.push_back({"subclasses", "of each class, that the teacher is trained to have", "4", "INTEGER"});
  defense.options.push_back({"diversity", "weight of the term that tells subclasses apart", "0.1", "NUMBER"});
  defense.configure = releasing_by(parse_distilled, release_distilled, check_distilled);
  return defense;
}

Defense lelp_defense() {
  Defense defense;
  defense.name = "lelp";
  defense.description =
      "releases a smaller network that learned linear projections of the embeddings of one trained on the images "
      "(LELP)";
  defense.limits = student_limits;
  defense.options = student_options();
  defense.options.push_back({"subclasses", "of each class, an even number", "4", "INTEGER"});
  defense.options.push_back({"membership-temperature",
                             "of the membership in subclasses, in standard deviations of a projection", "1", "NUMBER"});
  defense.options.push_back({"temperature", "that divides the teacher's class outputs", "1", "NUMBER"});
  defense.configure = releasing_by(parse_lelp, release_lelp, check_lelp);
  return defense;
}

}  // namespace afterimage
