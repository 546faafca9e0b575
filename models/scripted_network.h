// Any network in a TorchScript archive, traced or scripted, convolutional or not.
//
// Parameters have the module's own names; the statistics of batch normalisation and all other buffers are those of the
// archive, in inference mode. Images [n, d] of this project lie row by row as [h, w] or [h, w, c]; the module gets
// [n, c, h, w], with c = 1 for [h, w], or [n, d] where it does not accept that. Derivatives are those of autograd.
#pragma once

#include <memory>
#include <vector>

#include "models/recorded_network.h"
#include "models/script.h"

namespace afterimage {

class ScriptedNetwork final : public RecordedNetwork {
 public:
  static constexpr std::string_view family = "torchscript:";

  // Loads the archive and tries it: each image has to give `outputs` numbers that depend neither on other images nor on
  // chance. `architecture` is its name in messages and reports. Throws InputError.
  ScriptedNetwork(const std::filesystem::path& archive, std::string architecture, std::vector<std::int64_t> input_shape,
                  std::int64_t outputs);

  std::string unsmoothed() const override { return script_->unsmoothed(); }

  // Null: an archive does not say how its weights were drawn.
  std::optional<Parameters> draw_initial(Generator&) const override { return std::nullopt; }
  // The archive's own weights.
  const Parameters& archived() const { return script_->parameters(); }
  Recorded recorded() const override;
  // Buffers and second names of a tensor may be in the file; they are left out.
  Parameters arranged(const Parameters& parameters, const std::string& file) const override;

 private:
  enum class Layout { pictures, flat };

  void find_layout();
  void require_plain_function() const;

  std::shared_ptr<const Script> script_;
  std::vector<std::int64_t> input_shape_;
  Layout layout_ = Layout::pictures;
};

}  // namespace afterimage
