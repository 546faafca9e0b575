// The kinds of --data, a file each, and what they share. `load_images` chooses among them.
#pragma once

#include <string>
#include <vector>

#include "models/data/labelled_images.h"
#include "models/data/preprocessing.h"

namespace afterimage {

// Images without preprocessing; `source` is left empty. All throw InputError.
LabelledImages load_idx(const std::string& images_file, const std::string& labels_file);
LabelledImages load_npz(const std::string& file);

// The binary version of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html): all training and then all
// test images [n, 32, 32, 3]; of CIFAR-100 the fine labels.
LabelledImages load_cifar10(const std::string& folder);
LabelledImages load_cifar100(const std::string& folder);

// Pictures in one sub-folder a class, classes and files in the order of their names: [n, h, w] where all are grey,
// [n, h, w, 3] where all are coloured. Names that begin with a dot are skipped. Preprocessing is done here, since
// pictures need be of one size only after it.
LabelledImages load_folder(const std::string& folder, const Preprocessing& preprocessing);

// A table [n, d] of numbers in [0, 1], or of whole numbers up to 255 that are divided by 255 (as in CSV copies of
// MNIST). The first line may be a header; the label is in the column that it calls "label", else in the last one.
LabelledImages load_csv(const std::string& file);

// Room for `count` images like `first`: float32 [count, ...]. Throws InputError that names `file` where they take more
// than 8 GiB.
Tensor room_for(std::int64_t count, const Tensor& first, const std::string& file);

// Classes of names: the numbers themselves where all names are whole numbers, else ranks among the sorted names. Throws
// InputError that names `file` on numbers above 65535.
std::vector<std::int64_t> classes_of(const std::vector<std::string>& names, const std::string& file);

// Classes [n], int64, of `raw`: [n] whole numbers from 0 to 65535, or one-hot rows [n, c], of any dtype. Throws
// InputError that names `file` on anything else.
Tensor checked_labels(const Tensor& raw, std::int64_t images, const std::string& file);

}  // namespace afterimage
