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
  std::vector<std::string> files;  // that were read; a folder stands for all files in it
  // Of distilled sets only, else undefined: the targets [n, C] to train on in place of the labels', and the mean and
  // scale [d] of the inputs that it was made for.
  Tensor targets = {}, mean = {}, scale = {};
  // The name of each class, where the source has names (sub-folders, labels of a table); empty where no name has that
  // number.
  std::vector<std::string> class_names = {};
  // The names of the d values of rows or sequences, where the source has them; else empty.
  std::vector<std::string> columns = {};
  // How the whole source was read: samples, classes and their counts, and what was told from the file. Printable, a
  // line each; select() keeps them.
  std::vector<std::string> notes = {};

  bool is_sequences() const { return images.dim() == 3 && !columns.empty(); }  // of a table's lines
  std::int64_t size() const { return images.defined() ? images.size(0) : 0; }
  std::vector<std::int64_t> image_shape() const;    // without n
  LabelledImages select(const Tensor& rows) const;  // rows [k] int64
};

// The forms of DATA on the command line.
inline constexpr const char* data_kinds =
    "fashion-mnist, idx:IMAGES,LABELS, npz:FILE, folder:DIR (a sub-folder of PNG or JPEG files for each class), "
    "cifar10:DIR, cifar100:DIR (their binary versions) or csv:FILE (values and a label on each line; "
    "csv:FILE,label=COLUMN,drop=COLUMN/COLUMN says which columns are no values; with sequence=COLUMN,time=COLUMN the "
    "lines are steps of sequences)";

// Throws UsageError when `data` is of no known form, InputError when files are missing or malformed: counts that
// differ, pixels that are NaN, infinite or outside [0, 1] (bytes are divided by 255), labels that are negative or not
// whole.
LabelledImages load_images(const std::string& data, const Preprocessing& preprocessing = {});

// Numbers the classes of `control` as in a source with the class names `names`. Where one of the two has no names, or
// all names of both are their numbers, nothing changes. Throws InputError that names the first class that `names`
// lacks.
void match_classes(LabelledImages& control, const std::vector<std::string>& names);

// Puts the columns of `table`, rows or sequences, in the order of `names`, those of `owner` ("the training set"), where
// both have names. Throws InputError where their names are others, or elapsed times have another divisor.
void match_columns(LabelledImages& table, const std::vector<std::string>& names, const std::string& owner);

// 16 hexadecimal digits of the SHA-256 of an image's pixels, rounded to 8 bits: equal for the same picture from two
// files.
std::string pixel_hash(const Tensor& image);

// TASK of the command line: which labels are used, and the targets for them.
class Task {
 public:
  // "odd-even", "classes:A,B", "groups:2,3|0,1" or "multiclass". Throws UsageError.
  static Task parse(const std::string& text);

  const std::string& text() const { return text_; }
  // Outputs of a network for this task: 1 for the binary ones, else 1 + the largest label.
  std::int64_t outputs(const Tensor& labels) const;
  // Rows [k] of `labels` [n] with classes of the task (classes:A,B leaves others out). Throws InputError when none.
  Tensor rows(const Tensor& labels) const;
  // Throws InputError that names the labels [n] in `file` that are of no class of the task.
  void require_all_of_task(const Tensor& labels, const std::string& file) const;
  // Throws UsageError that names the side of the task that no label of a training set's source is on. multiclass needs
  // two classes.
  void require_sides(const Tensor& labels) const;
  // "the task's class 2 has no image" where `labels` lack some that it names; else empty.
  std::string note_on_absent(const Tensor& labels) const;
  // Targets [n, C], float32: odd +1 and even -1; A -1 and B +1; first group -1, second +1; multiclass: one-hot.
  Tensor targets(const Tensor& labels, std::int64_t outputs) const;

 private:
  enum class Kind { odd_even, two_sets, multiclass };
  std::string text_;
  Kind kind_ = Kind::odd_even;
  std::vector<std::int64_t> minus_, plus_;
};

}  // namespace afterimage
