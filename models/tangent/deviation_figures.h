// The figures of the deviation from the tangent kernel (docs/methods.md, section 5), apart from the tensors that they
// are measured with.
#pragma once

#include <array>
#include <string>

#include "models/foundations/figure.h"

namespace afterimage {

// theta_0 and theta_f are the weights before and after training, h = theta_f - theta_0, f_lin the network linearized at
// theta_0, N images of d pixels, P parameters.
struct Deviation {
  Number kernel_distance;              // 1 - <K_0, K_f> / (||K_0|| ||K_f||), Frobenius, on the training images
  Number initial_to_infinite;          // the same distance from K_0 to the analytic kernel of infinite width
  Number final_to_infinite;            // from K_f
  Number linearization_error;          // ||f(x; theta_f) - f_lin(x)|| / ||f(x; theta_f)|| on the training images
  Number linearization_error_control;  // on the control images
  Number relative_parameter_change;    // ||h|| / ||theta_0||
  // ||h - sum a phi||^2 / ||h||^2 at the training images with the best coefficients: what bounds any attack with these
  // features. Tangents at both ends.
  Number residual_at_truth;
  Number residual_at_truth_final;  // tangents at the trained end alone
  Number parameters_per_unknown;   // P / (d N)
  std::string reason;              // why any of the above is missing
};

inline constexpr auto deviation_figures = std::to_array<Figure<Deviation>>({
    {"kernel_distance", &Deviation::kernel_distance, Unit::number, "Kernel distance",
     "between the tangent kernels before and after training. 0: training did not move the kernel, and tangent attacks "
     "work best; 1: the two kernels have nothing in common"},
    {"initial_to_infinite", &Deviation::initial_to_infinite, Unit::number, "Kernel distance, start to infinite width",
     "between the kernel before training and the analytic one of infinite width"},
    {"final_to_infinite", &Deviation::final_to_infinite, Unit::number, "Kernel distance, end to infinite width",
     "between the kernel after training and the analytic one of infinite width"},
    {"linearization_error", &Deviation::linearization_error, Unit::number, "Linearization error",
     "relative difference between the outputs on training images and those of the linearized network"},
    {"linearization_error_control", &Deviation::linearization_error_control, Unit::number,
     "Linearization error, control images", "the same on images that were not trained on"},
    {"relative_parameter_change", &Deviation::relative_parameter_change, Unit::number, "Relative parameter change",
     "norm of the change of the parameters over their norm before training"},
    {"residual_at_truth", &Deviation::residual_at_truth, Unit::number, "Residual at the training images",
     "share of the parameters' change that even the true training images leave unexplained, with tangents at both ends "
     "of training: no attack on these features can be expected to explain more"},
    {"residual_at_truth_final", &Deviation::residual_at_truth_final, Unit::number,
     "Residual at the training images, trained end", "the same with tangents at the trained weights alone"},
    {"parameters_per_unknown", &Deviation::parameters_per_unknown, Unit::number, "Parameters per unknown",
     "parameters divided by the number of pixels of all training images; above 1 the parameters can determine every "
     "pixel"},
});

}  // namespace afterimage
