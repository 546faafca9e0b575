#include "audit/stored.h"

#include <fmt/format.h>

#include "models/formats/npz.h"
#include "models/foundations/error.h"

namespace afterimage {

namespace fs = std::filesystem;

namespace {

std::optional<Status> status_in(const NamedArrays& arrays, const fs::path& file) {
  const Array* array = find(arrays, "status");
  if (array == nullptr) return std::nullopt;
  constexpr int last = static_cast<int>(Status::failed);
  const bool one = array->dtype == DType::i8 && array->elements() == 1;
  const int number = one ? to_tensor(*array).item<int>() : -1;
  if (number < 0 || number > last) {
    throw InputError(fmt::format("{}: status has to be one int8 from 0 to {}", file.string(), last));
  }
  return static_cast<Status>(number);
}

}  // namespace

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
  if (claim.status) add("status", at::full({1}, static_cast<int>(*claim.status), at::kChar));
  if (arrays.empty()) {
    fs::remove(file);
  } else {
    write_npz(file, arrays);
  }
}

StoredClaim read_claim(const fs::path& file) {
  if (!fs::exists(file)) return {};  // an attack that claims nothing has no file
  const NamedArrays arrays = read_npz(file);
  const auto get = [&](const char* name) {
    const Array* array = find(arrays, name);
    return array == nullptr ? Tensor() : to_tensor(*array);
  };
  return {get("images"),
          get("confirmed"),
          get("coefficients"),
          get("membership_training"),
          get("membership_control"),
          status_in(arrays, file)};
}

void require_fitting(const StoredClaim& claim, const Truth& truth, const fs::path& file) {
  const auto require = [&](bool holds, const char* array, const std::string& wanted) {
    if (!holds) throw InputError(fmt::format("{}: {} has to be {}", file.string(), array, wanted));
  };
  const auto numbers = [](const Tensor& tensor) {
    return at::isFloatingType(tensor.scalar_type()) && !tensor.isnan().any().item<bool>();
  };
  const auto scores = [&](const Tensor& tensor, const Tensor& images, const char* array) {
    if (tensor.defined()) {
      require(tensor.dim() == 1 && tensor.size(0) == images.size(0) && numbers(tensor), array,
              fmt::format("a number for each of {} images", images.size(0)));
    }
  };
  require(claim.membership_training.defined() == claim.membership_control.defined(), "membership",
          "given for training and for control images");
  scores(claim.membership_training, truth.training, "membership_training");
  scores(claim.membership_control, truth.control, "membership_control");
  require(claim.images.defined() || (!claim.confirmed.defined() && !claim.coefficients.defined()), "images",
          "there where there are confirmed or coefficients");
  if (!claim.images.defined()) return;
  require(claim.images.dim() == 2 && claim.images.size(1) == truth.training.size(1) && numbers(claim.images), "images",
          fmt::format("rows of {} numbers", truth.training.size(1)));
  const std::int64_t count = claim.images.size(0);
  if (claim.confirmed.defined()) {
    require(
        claim.confirmed.dim() == 1 && claim.confirmed.size(0) == count && claim.confirmed.scalar_type() == at::kBool,
        "confirmed", fmt::format("a truth value for each of {} images", count));
  }
  if (claim.coefficients.defined()) {
    require(claim.coefficients.dim() == 2 && claim.coefficients.size(0) == count &&
                at::isFloatingType(claim.coefficients.scalar_type()),
            "coefficients", fmt::format("a row of numbers for each of {} images", count));
  }
}

void write_truth(const fs::path& file, const Truth& truth, const Tensor& labels) {
  // What is no picture is scored as rows.
  const auto shape = truth.space.named ? std::vector<std::int64_t>{truth.space.dimension()} : truth.space.shape;
  NamedArrays arrays = {{"training", to_array(truth.training)},
                        {"control", to_array(truth.control)},
                        {"mean", to_array(truth.space.mean)},
                        {"labels", to_array(labels)},
                        {"image_shape", to_array(at::tensor(shape, at::kLong))}};
  if (truth.space.scale.defined()) arrays.emplace_back("scale", to_array(truth.space.scale));
  write_npz(file, arrays);
}

std::pair<Truth, std::vector<std::string>> read_truth(const fs::path& file) {
  const NamedArrays arrays = read_npz(file);
  const auto get = [&](const char* name, at::ScalarType dtype) {
    const Array* array = find(arrays, name);
    if (array == nullptr) throw InputError(fmt::format("{}: has no array named {}", file.string(), name));
    return to_tensor(*array).to(dtype);
  };
  Truth truth{get("training", at::kFloat), get("control", at::kFloat), {{}, get("mean", at::kFloat)}};
  ImageSpace& space = truth.space;
  const Tensor labels = get("labels", at::kLong), shape = get("image_shape", at::kLong);
  for (const double size : to_doubles(shape)) space.shape.push_back(static_cast<std::int64_t>(size));
  std::int64_t pixels = 1;
  for (const auto size : space.shape) pixels = size > 0 && size <= (1 << 20) ? pixels * size : 0;
  if (truth.training.dim() != 2 || truth.control.dim() != 2 || space.shape.size() > 3 ||
      truth.training.size(1) != pixels || truth.control.size(1) != pixels || space.mean.numel() != pixels ||
      labels.dim() != 1 || labels.size(0) != truth.training.size(0)) {
    throw InputError(file.string() + ": its arrays do not fit together");
  }
  if (find(arrays, "scale") != nullptr) {
    space.scale = get("scale", at::kFloat);
    if (space.scale.sizes() != space.mean.sizes() || !(space.scale > 0).all().item<bool>()) {
      throw InputError(file.string() + ": its scale has to be one number above zero for each pixel");
    }
  }
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < labels.numel(); ++i) texts.push_back(std::to_string(labels[i].item<std::int64_t>()));
  return {truth, texts};
}

}  // namespace afterimage
