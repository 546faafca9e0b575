// The readers of each kind of DATA, and what they share. load_images() chooses among them.
#pragma once

#include <string>
#include <vector>

#include "models/data/labelled_images.h"
#include "models/data/preprocessing.h"

namespace afterimage {

// Images without preprocessing; `source` is left empty, and notes are those of the kind of source alone. All throw
// InputError.
LabelledImages load_idx(const std::string& images_file, const std::string& labels_file);
LabelledImages load_npz(const std::string& file);

// The binary version of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html): all training and then all
// test images [n, 32, 32, 3]; of CIFAR-100 the fine labels.
LabelledImages load_cifar10(const std::string& folder);
LabelledImages load_cifar100(const std::string& folder);

// Pictures in one sub-folder per class, classes and files in the order of their names: [n, h, w] where all are grey,
// [n, h, w, 3] where all are coloured. Names that begin with a dot are ignored; sub-folders without files, and
// __MACOSX, which archives leave, are no classes. Preprocessing is done here: pictures need to be of one size only
// after it.
LabelledImages load_folder(const std::string& folder, const Preprocessing& preprocessing);

// A table [n, d] of numbers in [0, 1], or of whole numbers up to 255 that are divided by 255 (as in CSV copies of
// MNIST). `where` is FILE, or FILE and then ",label=COLUMN", ",drop=COLUMN/COLUMN", ",sequence=COLUMN" and
// ",time=COLUMN" (CsvColumns); a file with the whole of it as its name comes first. With the last two, sequences
// [n, T, m] (models/data/sequences.h). Throws UsageError where a column is none.
LabelledImages load_csv(const std::string& where);

// A tensor for `count` images like `first`: float32 [count, ...]. Throws InputError that names `file` where they take
// more than 8 GiB.
Tensor room_for(std::int64_t count, const Tensor& first, const std::string& file);

// Classes of names: the numbers themselves where all names are whole numbers, else their positions among the sorted
// names.
struct NamedClasses {
  std::vector<std::int64_t> of;    // each of the names given
  std::vector<std::string> names;  // LabelledImages::class_names
};
// Throws InputError that names `file` on numbers above 65535.
NamedClasses classes_of(const std::vector<std::string>& names, const std::string& file);

// The classes that `labels` [n] hold, in order.
std::vector<std::int64_t> classes_in(const Tensor& labels);

// Samples and inputs, and classes with their counts: a printable line each.
std::vector<std::string> count_notes(const LabelledImages& images);

// Of classes, folders: how many a note or message names.
inline constexpr std::size_t most_listed = 10;

// Classes [n], int64, of `raw`: [n] or [n, 1] whole numbers from 0 to 65535, or one-hot rows [n, c] of two columns or
// more, of any dtype. Throws InputError that names `file` on anything else.
Tensor checked_labels(const Tensor& raw, std::int64_t images, const std::string& file);

}  // namespace afterimage
