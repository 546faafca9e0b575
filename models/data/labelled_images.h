// Labelled images from any source that the command line can name, and the tasks made of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/data/preprocessing.h"
#include "models/tensor.h"

namespace afterimage {

struct LabelledImages {
  Tensor images;                   // [n, h, w], [n, h, w, c] or [n, d], float32 in [0, 1]
  Tensor labels;                   // [n], int64 classes
  std::string source;              // as named on the command line, e.g. "fashion-mnist"
  std::vector<std::string> files;  // that were read; a folder for all that are in it
  // Of a distilled set, else undefined: targets [n, C] to train on in place of the labels, and the mean and scale [d]
  // of the inputs that it was made for.
  Tensor targets = {}, mean = {}, scale = {};

  std::int64_t size() const { return images.defined() ? images.size(0) : 0; }
  std::vector<std::int64_t> image_shape() const;    // without n
  LabelledImages select(const Tensor& rows) const;  // rows [k] int64
};

// The values of --data.
inline constexpr const char* data_kinds =
    "fashion-mnist, idx:IMAGES,LABELS, npz:FILE, folder:DIR (a sub-folder of PNG or JPEG files for each class), "
    "cifar10:DIR, cifar100:DIR (their binary versions) or csv:FILE (values and a label on each line)";

// Throws UsageError when it names no known kind, InputError when files are missing or malformed: counts that differ,
// pixels that are NaN, infinite or outside [0, 1] (bytes are divided by 255), labels that are negative or not whole.
LabelledImages load_images(const std::string& data, const Preprocessing& preprocessing = {});

// 16 hexadecimal digits of the SHA-256 of an image's pixels, rounded to 8 bits: equal for the same picture from two
// files.
std::string pixel_hash(const Tensor& image);

// The value of --task: which labels there are and what a network is to output for them.
class Task {
 public:
  // "odd-even", "classes:A,B", "groups:2,3|0,1" or "multiclass". Throws UsageError.
  static Task parse(const std::string& text);

  const std::string& text() const { return text_; }
  // Outputs of a network for this task: 1 for the binary ones, else 1 + the largest label.
  std::int64_t outputs(const Tensor& labels) const;
  // Rows [k] of `labels` [n] that belong to the task (classes:A,B leaves others out). Throws InputError when none does.
  Tensor rows(const Tensor& labels) const;
  // Targets [n, C], float32: odd +1 and even -1; A -1 and B +1; first group -1, second +1; multiclass: one-hot.
  Tensor targets(const Tensor& labels, std::int64_t outputs) const;

 private:
  enum class Kind { odd_even, two_sets, multiclass };
  std::string text_;
  Kind kind_ = Kind::odd_even;
  std::vector<std::int64_t> minus_, plus_;
};

}  // namespace afterimage
