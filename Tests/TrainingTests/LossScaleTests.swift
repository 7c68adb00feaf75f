import Testing
import Training

@Suite struct LossScaleTests {
  @Test(arguments: LossScaleGoldens.walks.indices)
  func `scales follow DeepSpeed's`(index: Int) {
    let (settings, updates, scales) = LossScaleGoldens.walks[index]
    var scale = LossScale(settings)
    for (step, isGood) in updates.enumerated() {
      let goesOn = scale.update(isFinite: isGood)
      guard step < scales.count else {
        #expect(!goesOn, "DeepSpeed ends the run here")
        break
      }
      #expect(goesOn && scale.factor == scales[step], "update \(step) of \(settings)")
    }
    #expect(scale.skipped == updates.filter { !$0 }.count)
  }

  @Test func `a walk that ends is among them`() {
    #expect(LossScaleGoldens.walks.contains { $0.scales.count < $0.updates.count })
    #expect(LossScaleGoldens.walks.contains { $0.scales.max() ?? 0 > $0.settings.initial })
  }

  @Test func `a fixed scale only leaves bad updates out`() {
    var settings = LossScaling()
    (settings.initial, settings.isDynamic) = (128, false)
    var scale = LossScale(settings)
    for isGood in [false, false, true, false] {
      let goesOn = scale.update(isFinite: isGood)
      #expect(goesOn && scale.factor == 128)
    }
    #expect(scale.skipped == 3)
  }
}
