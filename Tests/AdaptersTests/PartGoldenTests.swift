import Adapters
import Foundation
import JSONValues
import Layers
import TestSupport
import Tensors
import Testing

/// Adapters of convolutions and embeddings that PEFT saved give its numbers (scripts/goldens/parts.py).
@Suite struct PartGoldenTests {
  private static let fixtures = testDirectory() + "/Fixtures/parts"
  private static let names =
    ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? []).sorted()

  private func directory(_ name: String) -> String { "\(Self.fixtures)/\(name)" }

  /// The model without an adapter, one layer.
  private func root(_ name: String, _ golden: Goldens) throws -> OnePart {
    let own = golden.tensors(prefix: "base.")
    let weight = Parameter(try #require(own["weight"]).cloned())
    let moves = try JSON.read(path: directory(name) + "/layer.json")
    guard let stride = numbers(moves["stride"]) else { return OnePart(Embedding(weight: weight)) }
    return OnePart(
      Convolution(
        DenseKernels(
          weight: weight, bias: own["bias"].map { Parameter($0.cloned()) },
          steps: ConvolutionSteps(
            stride: stride, padding: numbers(moves["padding"]),
            groups: moves["groups"]?.intValue ?? 1))))
  }

  private func numbers(_ json: JSON?) -> [Int]? { json?.arrayValue?.compactMap(\.intValue) }

  @Test func everyMethodOfConvolutionsHasOne() {
    #expect(Self.names.count == 31)
  }

  @Test(arguments: names) func filesOutputsGradientsAndMerging(_ name: String) throws {
    let golden = try Goldens(directory(name) + "/expected.safetensors")
    let root = try root(name, golden)
    let x = golden["x"]
    let plain = root(x).detached()
    let peft = try PeftModel.fromPretrained(root, directory(name), trainable: true)
    let y = root(x)
    expectClose(y.detached(), golden["y"], absolute: 1e-4)
    (y * y).sum().backward()
    let expected = golden.tensors(prefix: "grad.")
    #expect(Set(peft.trainableParameters.map(\.key)) == Set(expected.keys))
    for (key, parameter) in peft.trainableParameters {
      expectClose(
        try #require(parameter.value.gradient), try #require(expected[key]), absolute: 1e-3,
        relative: 1e-4)
    }
    #expect(peft.withAdaptersDisabled { root(x) }.isEqual(to: plain))
    try withTemporaryDirectory { directory in
      try peft.savePretrained(directory)
      try expectSameFiles(directory, self.directory(name))
      let other = try self.root(name, golden)
      _ = try PeftModel.fromPretrained(other, directory)
      #expect(other(x).isEqual(to: y))
    }
    guard name != "lora-grouped" else {
      #expect(throws: AdapterError.self) { try peft.mergeAdapter() }
      return
    }
    try peft.mergeAdapter()
    expectClose(root(x).detached(), golden["merged"], absolute: 1e-4)
    peft.unmergeAdapter()
    expectClose(root(x).detached(), y.detached(), absolute: 0)
    try peft.mergeAndUnload()
    expectClose(root(x).detached(), golden["merged"], absolute: 1e-4)
    #expect(peft.layerStatus.isEmpty)
  }

  /// A fresh adapter of the same configuration changes nothing, where its method promises that.
  @Test(arguments: names) func freshOnesChangeNothing(_ name: String) throws {
    let golden = try Goldens(directory(name) + "/expected.safetensors")
    let root = try root(name, golden)
    let plain = root(golden["x"]).detached()
    let config = try AdapterMethods.configuration(
      json: JSON.read(path: directory(name) + "/adapter_config.json"), path: name)
    let peft = try PeftModel(root, config)
    #expect(!peft.trainableParameters.isEmpty)
    guard name != "hra-point" else { return }
    expectClose(root(golden["x"]).detached(), plain, absolute: 1e-5)
  }
}

/// A model of one part.
private final class OnePart: Module {
  private let part: any Module

  init(_ part: any Module) { self.part = part }

  var children: [(name: String, module: any Module)] { [("part", part)] }

  func callAsFunction(_ x: Tensor) -> Tensor {
    switch part {
    case let convolution as Convolution: convolution(x)
    case let embedding as Embedding: embedding(x)
    default: preconditionFailure("a part of another kind")
    }
  }
}
