import Adapters
import Layers
import Models
import Quantization
import TestSupport
import Tensors
import Testing

/// Blocks that are closed memory while no pass is at them: whoever reads one then ends the process.
private final class ClosedBlocks: BlockSource {
  struct Failure: Error {}

  private var blocks: [Int: (memory: ReservedMemory, copy: [UInt8])] = [:]
  private var open: Set<Int> = []
  /// The most blocks that were there at once.
  private(set) var most = 0
  /// Blocks in the order in which they were fetched.
  var fetched: [Int] = []
  private(set) var outside = 0
  /// The fetch after which nothing can be brought.
  var limit = Int.max

  func take(_ tensors: [Tensor], of block: Int) {
    let layout = PackedLayout(tensors)
    let memory = ReservedMemory(count: layout.byteCount)
    var copy = [UInt8](repeating: 0, count: layout.byteCount)
    copy.withUnsafeMutableBytes { layout.copyBytes(0..<layout.byteCount, to: $0) }
    layout.move(to: memory.tensor)
    blocks[block] = (memory, copy)
  }

  func takeOutside(_ tensors: [Tensor]) {
    outside += tensors.count
  }

  func fetch(_ block: Int) {
    fetched.append(block)
    open.insert(block)
    most = max(most, open.count)
  }

  func await(_ block: Int) throws {
    guard let (memory, copy) = blocks[block] else { return }
    memory.open()
    guard fetched.count <= limit else { throw Failure() }
    memory.tensor(at: 0, shape: [copy.count], dtype: .uint8).withUnsafeMutableBytes {
      $0.copyBytes(from: copy)
    }
  }

  func drop(_ block: Int) {
    blocks[block]?.memory.close()
    open.remove(block)
  }

  func expose(_ block: Int) { blocks[block]?.memory.open() }

  var isShared: Bool { false }

  func loses(_ tensor: Tensor) -> Bool { blocks.values.contains { $0.memory.holds(tensor) } }

  var isEmpty: Bool { open.isEmpty }
}

/// Takes the gradients of each block's parameters when the pass has left it, as a message would.
private final class TakenGradients: BlockSource {
  private let parameters: [[Parameter]]
  private(set) var taken: [Parameter: Tensor] = [:]
  /// Blocks in the order in which they were left.
  private(set) var left: [Int] = []

  init(_ parameters: [[Parameter]]) { self.parameters = parameters }

  func passedBack(_ block: Int) {
    left.append(block)
    for parameter in parameters[block] {
      guard let gradient = parameter.value.gradient else { continue }
      taken[parameter] = gradient
      parameter.value.gradient = nil
    }
  }

  func take(_ tensors: [Tensor], of block: Int) {}
  func takeOutside(_ tensors: [Tensor]) {}
  func fetch(_ block: Int) {}
  func await(_ block: Int) {}
  func drop(_ block: Int) {}
  func expose(_ block: Int) {}
  var isShared: Bool { false }
  func loses(_ tensor: Tensor) -> Bool { false }
}

/// Passes over blocks that come and go give the bits of those over blocks that stay.
@Suite struct BlockResidencyTests {
  private static var tiny: TinyModel { TinyModel { $0.layerCount = 4 } }

  /// Loss and gradients of an adapter; with a source of blocks held for making it where it needs that.
  private func numbers(
    _ directory: String, _ configuration: any AdapterConfiguration, _ blocks: ClosedBlocks?,
    dtype: DType = .float32, quantization: QuantizationOptions? = nil, again: Bool = false,
    fused: Bool = false
  ) throws -> (loss: Tensor, gradients: [Tensor?]) {
    let model = try AutoModelForCausalLM.fromPretrained(
      directory, dtype: dtype, quantization: quantization, blocks: blocks)
    if blocks == nil {
      // Decompositions round in the last digits by where a matrix begins: there at a multiple of 64 bytes
      // too, as a block's memory has it.
      for (_, parameter) in model.parameters() where !parameter.isTrainable {
        parameter.value.takeMemory(of: parameter.value.cloned())
      }
    }
    let peft: PeftModel<DecoderForCausalLM>
    if let residency = model.model.residency, configuration.readsBlocks {
      peft = try residency.holdingAll {
        let peft = try PeftModel(model, configuration)
        residency.giveBack(peft.trainableParameters.map(\.parameter))
        return peft
      }
    } else {
      peft = try PeftModel(model, configuration)
    }
    disturb(peft)
    blocks?.fetched = []
    model.model.checkpointsActivations = again
    model.model.usesFusedLayers = fused
    let loss = model.summedLoss(sixTokens, labels: sixTokens.ids)
    loss.backward()
    try model.model.residency?.check()
    return (loss, peft.trainableParameters.map { $0.parameter.value.gradient })
  }

  private func expectSame(
    _ found: (loss: Tensor, gradients: [Tensor?]), _ plain: (loss: Tensor, gradients: [Tensor?]),
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(found.loss.isEqual(to: plain.loss), sourceLocation: sourceLocation)
    #expect(found.gradients.count == plain.gradients.count, sourceLocation: sourceLocation)
    for (a, b) in zip(found.gradients, plain.gradients) {
      #expect((a == nil) == (b == nil), sourceLocation: sourceLocation)
      if let a, let b { #expect(a.isEqual(to: b), sourceLocation: sourceLocation) }
    }
  }

  @Test(arguments: ContractCases.all) func everyMethod(_ sample: ContractCase) throws {
    try withTemporaryDirectory { directory in
      // The cases' experts are of this size.
      try TinyModel().write(to: directory)
      for again in [false, true] {
        let blocks = ClosedBlocks()
        let plain = try numbers(directory, sample.configuration, nil, again: again)
        expectSame(try numbers(directory, sample.configuration, blocks, again: again), plain)
        #expect(blocks.isEmpty)
        #expect(plain.gradients.contains { $0 != nil })
      }
    }
  }

  /// When the pass has left a block, the gradients of what is trained in it alone are whole, whatever the
  /// method: none comes later.
  @Test(arguments: ContractCases.all) func gradientsAreWhole(_ sample: ContractCase) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      for (again, fused) in [(false, false), (false, true), (true, false)] {
        func model() throws -> PeftModel<DecoderForCausalLM> {
          let peft = try PeftModel(
            AutoModelForCausalLM.fromPretrained(directory), sample.configuration)
          disturb(peft)
          peft.base.model.checkpointsActivations = again
          peft.base.model.usesFusedLayers = fused
          return peft
        }
        func run(_ peft: PeftModel<DecoderForCausalLM>) {
          let loss = peft.base.summedLoss(sixTokens, labels: sixTokens.ids)
          (peft.penalty().map { loss + $0 } ?? loss).backward()
        }
        let (plain, peft) = (try model(), try model())
        run(plain)
        let decoder = peft.base.model
        var places: [Parameter: Set<Int>] = [:]
        for (number, block) in decoder.blocks.enumerated() {
          for (_, parameter) in block.parameters() {
            places[parameter, default: []].insert(number)
          }
        }
        let source = TakenGradients(
          decoder.blocks.indices.map { block in
            peft.trainableParameters.map(\.parameter).filter { places[$0] == [block] }
          })
        let residency = BlockResidency()
        residency.trained = source
        decoder.residency = decoder.blocks.isEmpty ? nil : residency
        run(peft)
        try residency.check()
        #expect(
          source.left == source.left.sorted(by: >) && Set(source.left).count == source.left.count)
        for (expected, found) in zip(plain.trainableParameters, peft.trainableParameters) {
          let parameter = found.parameter
          // Taken, or not in one block alone.
          if source.taken[parameter] != nil {
            #expect(parameter.value.gradient == nil, "\(found.key)")
          }
          let gradient = source.taken[parameter] ?? parameter.value.gradient
          let wanted = expected.parameter.value.gradient
          #expect((gradient == nil) == (wanted == nil), "\(found.key)")
          if let gradient, let wanted { #expect(gradient.isEqual(to: wanted), "\(found.key)") }
        }
      }
    }
  }

  private static let formats: [WeightFormat?] = [
    nil, .int8(threshold: 6), .fourBit(.nf4, blockSize: 64, doubleQuantization: false),
    .fourBit(.nf4, blockSize: 64, doubleQuantization: true),
  ]

  @Test(arguments: formats, [false, true]) func everyFormat(_ format: WeightFormat?, isGPT2: Bool)
    throws
  {
    try withTemporaryDirectory { directory in
      var tiny = Self.tiny
      tiny.isGPT2 = isGPT2
      try tiny.write(to: directory)
      let quantization = format.map { QuantizationOptions($0) }
      let lora = LoRAConfig(targetModules: .allLinear)
      for dtype in [DType.float32, .bfloat16] {
        for (again, fused) in [(false, false), (false, true), (true, true)] {
          let blocks = ClosedBlocks()
          let plain = try numbers(
            directory, lora, nil, dtype: dtype, quantization: quantization, again: again,
            fused: fused)
          let found = try numbers(
            directory, lora, blocks, dtype: dtype, quantization: quantization, again: again,
            fused: fused)
          expectSame(found, plain)
          // Forth and back, each block brought once in each direction, the last one once.
          #expect(blocks.fetched == [0, 1, 2, 3, 2, 1, 0])
          #expect(blocks.most == 2 && blocks.isEmpty)
          // Embeddings and the last norm; GPT-2's positions and a bias besides.
          #expect(blocks.outside == (isGPT2 ? 4 : 2))
        }
      }
    }
  }

  /// Blocks below the first adapter are not brought for the backward pass.
  @Test func upperBlocksOnly() throws {
    try withTemporaryDirectory { directory in
      try Self.tiny.write(to: directory)
      var lora = LoRAConfig(targetModules: .allLinear)
      lora.selection.layersToTransform = [2, 3]
      let blocks = ClosedBlocks()
      expectSame(
        try numbers(directory, lora, blocks), try numbers(directory, lora, nil))
      #expect(blocks.fetched == [0, 1, 2, 3, 2])
    }
  }

  /// An error in the middle of either pass is told behind it, and no further block is asked for.
  @Test(arguments: [2, 6]) func failure(_ limit: Int) throws {
    try withTemporaryDirectory { directory in
      try Self.tiny.write(to: directory)
      let blocks = ClosedBlocks()
      blocks.limit = limit
      #expect(throws: ClosedBlocks.Failure.self) {
        try numbers(directory, LoRAConfig(targetModules: .allLinear), blocks)
      }
      // The one that failed was asked for together with none, or with the one behind it.
      #expect(blocks.fetched.count <= limit + 2)
    }
  }

  /// Without a block's memory the same numbers are generated as with it.
  @Test func generation() throws {
    try withTemporaryDirectory { directory in
      try Self.tiny.write(to: directory)
      func text(_ blocks: ClosedBlocks?) throws -> [[Int]] {
        let model = try AutoModelForCausalLM.fromPretrained(directory, blocks: blocks)
        model.model.usesStepKernels = false
        defer { model.model.residency?.end() }
        return try model.generate(prompts: [sixIDs], maximumNewTokens: 8, endOfTextIDs: [])
      }
      #expect(try text(ClosedBlocks()) == text(nil))
    }
  }
}
