// What no attack may do: call the readers of data sets.
#include "models/data/labelled_images.h"
#include "models/formats/cifar.h"
#include "models/formats/csv.h"
#include "models/formats/idx.h"
#include "models/formats/image_file.h"

namespace afterimage {

void read_data_sets(const std::string& file) {
  load_images(file);
  read_cifar(file, 1, 10);
  read_csv(file);
  read_idx(file);
  read_image(file);
}

}  // namespace afterimage
