/// Made by torch 2.13.0 in float64; see OptimizerTests for the run.
enum AdamWGolden {
  static let afterThreeSteps: [Double] = [
    0.7015196749902496, -2.2941981611111455, 2.692210409697177,
  ]
}
