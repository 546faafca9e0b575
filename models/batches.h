// The rows of a training set that each step is made with.
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/tensor.h"

namespace afterimage {

// Batches in random order, with each image once per epoch; the last of an epoch may be smaller. A batch of 0 is all
// images. The generator has to outlive them.
class Batches {
 public:
  Batches(std::int64_t images, std::int64_t batch, Generator& random)
      : images_(images), batch_(batch > 0 ? batch : images), random_(random) {}

  bool whole() const { return batch_ >= images_; }
  // [m] int64.
  Tensor next() {
    if (!order_.defined() || at_ >= images_) {
      order_ = at::randperm(images_, random_, at::kLong);
      at_ = 0;
    }
    const std::int64_t count = std::min(batch_, images_ - at_);
    at_ += count;
    return order_.narrow(0, at_ - count, count);
  }

 private:
  std::int64_t images_, batch_, at_ = 0;
  Generator& random_;
  Tensor order_;
};

}  // namespace afterimage
