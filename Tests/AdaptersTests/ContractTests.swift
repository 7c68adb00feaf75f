import Adapters
import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// What every adapter method must do.
@Suite struct ContractTests {
  private let batch = sixTokens
  private let labels = sixTokens.ids

  /// Losses before and after each of a few steps down the gradient's signs.
  private func losses(_ peft: PeftModel<DecoderForCausalLM>, step: Double) -> [Double] {
    func loss() -> Tensor { peft.base.summedLoss(batch, labels: labels) }
    var found: [Double] = []
    for _ in 0..<20 {
      let now = loss()
      found.append(now.item())
      now.backward()
      withoutGradients {
        for (_, parameter) in peft.trainableParameters {
          guard let gradient = parameter.value.gradient else { continue }
          _ = parameter.value.addInPlace(gradient.sign(), scale: -step)
          parameter.value.gradient = nil
        }
      }
    }
    return found + [loss().item()]
  }

  @Test func everyMethodHasACase() {
    let covered = Set(ContractCases.all.map { type(of: $0.configuration).type })
    #expect(covered == Set(AdapterMethods.types))
  }

  @Test(arguments: ContractCases.all) func identityAtTheStart(_ sample: ContractCase) throws {
    try withModel { _, model in
      let plain = logits(model)
      _ = try PeftModel(model, sample.configuration)
      let difference = (logits(model) - plain).absolute().max().item()
      #expect(sample.isIdentity ? difference < sample.identityError : difference > 1e-4)
    }
  }

  @Test(arguments: ContractCases.all) func disabledItIsTheBase(_ sample: ContractCase) throws {
    try withModel { _, model in
      let plain = logits(model)
      let peft = try PeftModel(model, sample.configuration)
      disturb(peft)
      let adapted = logits(model)
      #expect((adapted - plain).absolute().max().item() > 1e-4)
      #expect(peft.withAdaptersDisabled { logits(model) }.isEqual(to: plain))
      #expect(logits(model).isEqual(to: adapted))
      #expect(try peft.unload().logits(batch).isEqual(to: plain))
    }
  }

  @Test(arguments: ContractCases.all) func onlyItsParametersGetGradients(
    _ sample: ContractCase
  ) throws {
    try withModel { _, model in
      let peft = try PeftModel(model, sample.configuration)
      disturb(peft)
      model.summedLoss(batch, labels: labels).backward()
      let own = Set(peft.trainableParameters.map(\.parameter))
      #expect(!own.isEmpty)
      for (key, parameter) in peft.trainableParameters {
        guard !sample.isUnused(key) else {
          #expect(parameter.value.gradient == nil, "\(key)")
          continue
        }
        let gradient = try #require(parameter.value.gradient, "\(key)")
        #expect(gradient.isAllFinite, "\(key)")
      }
      for (path, parameter) in model.parameters() where !own.contains(parameter) {
        #expect(parameter.value.gradient == nil, "\(path)")
      }
      // The same with blocks computed again.
      let before = peft.trainableParameters.map { $0.parameter.value.gradient?.cloned() }
      for (_, parameter) in peft.trainableParameters { parameter.value.gradient = nil }
      model.model.checkpointsActivations = true
      model.summedLoss(batch, labels: labels).backward()
      for (gradient, (key, parameter)) in zip(before, peft.trainableParameters)
      where !sample.isUnused(key) {
        expectClose(
          try #require(parameter.value.gradient, "\(key)"), try #require(gradient),
          absolute: 1e-5, relative: 1e-4)
      }
    }
  }

  /// A few steps down the gradient make the loss fall, and leave the base's weights alone.
  @Test(arguments: ContractCases.all) func trains(_ sample: ContractCase) throws {
    try withModel { _, model in
      let peft = try PeftModel(model, sample.configuration)
      let own = Set(peft.trainableParameters.map(\.parameter))
      let frozen = model.parameters().filter { !own.contains($0.parameter) }
        .map { ($0.parameter, $0.parameter.value.cloned()) }
      let found = losses(peft, step: sample.step)
      #expect(found[20] < 0.99 * found[0], "\(found)")
      for (parameter, value) in frozen { #expect(parameter.value.isEqual(to: value)) }
    }
  }

  @Test(arguments: ContractCases.all) func mergedItIsTheSame(_ sample: ContractCase) throws {
    try withModel { _, model in
      let plain = logits(model)
      let peft = try PeftModel(model, sample.configuration)
      disturb(peft)
      let adapted = logits(model)
      guard let error = sample.mergeError else {
        #expect(throws: AdapterError.self) { try peft.mergeAdapter() }
        #expect(throws: AdapterError.self) { try peft.mergeAndUnload() }
        #expect(logits(model).isEqual(to: adapted))
        return
      }
      try peft.mergeAdapter(safely: true)
      let merged = logits(model)
      expectClose(merged, adapted, absolute: error)
      // Once more changes nothing; disabled it is the base.
      try peft.mergeAdapter()
      #expect(logits(model).isEqual(to: merged))
      #expect(peft.withAdaptersDisabled { logits(model) }.isEqual(to: plain))
      peft.unmergeAdapter()
      #expect(logits(model).isEqual(to: adapted))
      expectClose(logits(try peft.mergeAndUnload(safely: true)), adapted, absolute: error)
      let extra = Set(model.parameters().map(\.path))
        .subtracting(try tinyModel().parameters().map(\.path))
      #expect(extra.isEmpty, "\(extra)")
    }
  }

  private func bytes(_ path: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path))
  }

  @Test(arguments: ContractCases.all) func savedAndOpenedItIsTheSame(
    _ sample: ContractCase
  ) throws {
    try withModel { directory, model in
      let peft = try PeftModel(model, sample.configuration)
      disturb(peft)
      let adapted = logits(model)
      try peft.savePretrained(directory + "/adapter")
      let other = try AutoModelForCausalLM.fromPretrained(directory)
      let opened = try PeftModel.fromPretrained(other, directory + "/adapter", trainable: true)
      guard sample.fileError == 0 else {
        expectClose(logits(other), adapted, absolute: sample.fileError)
        return
      }
      #expect(logits(other).isEqual(to: adapted))
      // Saved once more it is the same file, whatever the adapter is called.
      try opened.renameAdapter("default", to: "another")
      try opened.savePretrained(directory + "/again")
      for name in ["adapter_config.json", "adapter_model.safetensors"] {
        #expect(
          try bytes(directory + "/adapter/" + name) == bytes(directory + "/again/" + name),
          "\(name)")
      }
      #expect(logits(other).isEqual(to: adapted))
    }
  }

  @Test(arguments: ContractCases.all) func configurationsReadWhatTheyWrite(
    _ sample: ContractCase
  ) throws {
    let json = sample.configuration.json
    let again = try AdapterMethods.configuration(json: json, path: "x")
    #expect(again.json == json)
    var object = try #require(json.objectValue)
    object["from_the_future"] = "yes"
    expectRefusal("from_the_future") {
      try AdapterMethods.configuration(json: .object(object), path: "x")
    }
    object["from_the_future"] = nil as JSON?
    object["peft_type"] = "FUTURE"
    #expect(throws: AdapterError.self) {
      try AdapterMethods.configuration(json: .object(object), path: "x")
    }
  }

  @Test(arguments: ContractCases.all) func dropoutActsInTrainingOnly(_ sample: ContractCase) throws
  {
    try withModel { _, model in
      let peft = try PeftModel(model, sample.configuration)
      disturb(peft)
      let still = logits(model)
      #expect(logits(model).isEqual(to: still))
      peft.context.isTraining = true
      #expect(logits(model).isEqual(to: still) != sample.hasDropout)
      peft.context.isTraining = false
      #expect(logits(model).isEqual(to: still))
    }
  }

  @Test(arguments: ContractCases.all) func severalAdapters(_ sample: ContractCase) throws {
    try withModel { _, model in
      let plain = logits(model)
      let peft = try PeftModel(model, sample.configuration)
      disturb(peft)
      let first = logits(model)
      try peft.addAdapter("other", sample.configuration, seed: 5)
      #expect(logits(model).isEqual(to: first))
      try peft.setAdapter(["other"], trainable: true)
      disturb(peft)
      let second = logits(model)
      #expect(!second.isEqual(to: plain))
      try peft.setAdapter(["default"])
      #expect(logits(model).isEqual(to: first))
      try peft.setAdapter(["other"])
      #expect(logits(model).isEqual(to: second))
      try peft.deleteAdapter("default")
      #expect(logits(model).isEqual(to: second))
      try peft.deleteAdapter("other")
      #expect(logits(model).isEqual(to: plain))
    }
  }

  /// Beside weights of half precision the adapter is in float32, and outputs are the base's type.
  @Test(arguments: ContractCases.all) func halfPrecision(_ sample: ContractCase) throws {
    let dense = try tinyModel()
    // Over the same numbers, as some methods start from a decomposition of them.
    for (_, parameter) in dense.parameters() {
      parameter.value = parameter.value.to(.bfloat16).to(.float32)
    }
    disturb(try PeftModel(dense, sample.configuration))
    let wanted = logits(dense)
    try withModel(dtype: .bfloat16) { _, model in
      let peft = try PeftModel(model, sample.configuration)
      for (key, parameter) in peft.adapterParameters() where parameter.value.dtype.isFloatingPoint {
        #expect(parameter.value.dtype == (sample.hasBaseType ? .bfloat16 : .float32), "\(key)")
      }
      disturb(peft)
      let found = logits(model)
      #expect(found.dtype == .bfloat16)
      #expect(found.shape == wanted.shape && found.isAllFinite)
      let error = ((found.to(.float32) - wanted).norm() / wanted.norm()).item()
      // Where a rounded weight may start anywhere, the outputs are still of the size of the others.
      #expect(error < (sample.startsAlike ? 0.1 : 2), "\(error)")
    }
  }

  private static let formats: [WeightFormat] = [
    .int8(threshold: 6), .fourBit(.nf4, blockSize: 64, doubleQuantization: true),
  ]

  @Test(arguments: ContractCases.all, formats)
  func trainsOnQuantizedBases(_ sample: ContractCase, _ format: WeightFormat) throws {
    try withModel(quantization: QuantizationOptions(format)) { _, model in
      let peft = try PeftModel(model, sample.configuration)
      let found = losses(peft, step: sample.step)
      // Not to the end for methods whose steps of equal length go too far.
      #expect((found.min() ?? 0) < 0.99 * found[0], "\(found)")
    }
  }

  /// Merged anew into codes it is what quantising the merged numbers gives, bit for bit.
  @Test(arguments: ContractCases.all.filter { $0.mergeError != nil }, formats)
  func mergesIntoCodes(_ sample: ContractCase, _ format: WeightFormat) throws {
    var expected: Tensor?
    for requantizing in [false, true] {
      try withModel(quantization: QuantizationOptions(format)) { _, model in
        let codes = model.modules().filter { $0.module.storedCount > 0 }.map(\.path)
        let peft = try PeftModel(model, sample.configuration)
        disturb(peft)
        try peft.mergeAndUnload(safely: true, requantizing: requantizing)
        if !requantizing { model.quantize(QuantizationOptions(format)) }
        #expect(model.modules().filter { $0.module.storedCount > 0 }.map(\.path) == codes)
        let found = logits(model)
        if let expected { #expect(found.isEqual(to: expected)) } else { expected = found }
      }
    }
  }

  /// On weights of 8 and 4 bits: the same promises.
  @Test(arguments: ContractCases.all, formats)
  func quantizedBases(_ sample: ContractCase, _ format: WeightFormat) throws {
    try withModel(quantization: QuantizationOptions(format)) { _, model in
      let plain = logits(model)
      let peft = try PeftModel(model, sample.configuration)
      let start = (logits(model) - plain).absolute().max().item()
      #expect(
        !sample.isIdentity || start < (format.name == "int8" ? sample.int8IdentityError : 1e-5),
        "\(start)")
      disturb(peft)
      let loss = model.summedLoss(batch, labels: labels)
      loss.backward()
      for (key, parameter) in peft.trainableParameters where !sample.isUnused(key) {
        #expect(parameter.value.gradient?.isAllFinite == true, "\(key)")
      }
      let adapted = logits(model)
      #expect(peft.withAdaptersDisabled { logits(model) }.isEqual(to: plain))
      guard sample.mergeError != nil else { return }
      let merged = logits(try peft.mergeAndUnload(safely: true))
      let error = ((merged - adapted).norm() / adapted.norm()).item()
      // Whole-number activations are still rounded while the adapter is apart.
      #expect(error < (format.name == "int8" ? 0.05 : 1e-4), "\(error)")
    }
  }
}
