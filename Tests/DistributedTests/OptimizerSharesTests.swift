import Checkpoints
import Distributed
import Foundation
import Layers
import Optimizers
import Tensors
import TestSupport
import Testing

/// Shares that fit together, and those that do not.
@Suite struct OptimizerSharesTests {
  /// Three shares of AdamW's state for one parameter, which a test changes before they are written.
  private struct Checkpoint {
    static let shape = [3, 300]
    var shares: [[(name: String, tensor: Tensor)]]
    /// Of the third share.
    var shapes = #"{"w":[3,300]}"#
    /// Number that each share says it has.
    var numbers = [1, 2, 3]
    /// What the common file says.
    var count = "3"
    let directory: String

    init(_ directory: String) {
      self.directory = directory
      shares = [0..<256, 256..<768, 768..<900].map { range in
        [
          ("w@\(range.lowerBound).exp_avg", Tensor(range.map { Float($0) })),
          ("w@\(range.lowerBound).exp_avg_sq", Tensor(range.map { Float(-$0) })),
          ("step", Tensor([Int64(7)])),
        ]
      }
    }

    func path(_ name: String) -> String { directory + "/" + name }

    func write() throws {
      try SafetensorsWriter.save(
        path(OptimizerFiles.common), tensors: [("generator", Tensor([Int64(1)]))],
        metadata: [("shares", count)])
      for (rank, tensors) in shares.enumerated() {
        try SafetensorsWriter.save(
          path(OptimizerFiles.share(rank, of: shares.count)), tensors: tensors,
          metadata: [
            ("share", "\(numbers[rank])"), ("shares", "\(shares.count)"),
            ("shapes", rank == 2 ? shapes : #"{"w":[3,300]}"#),
          ])
      }
    }

    func load(shape: [Int] = shape, name: String = "w") throws -> AdamW {
      let optimizer = AdamW([(name, Parameter(.zeros(shape)))], AdamWConfiguration())
      let common = try SafetensorsFile(path: path(OptimizerFiles.common))
      try #require(try OptimizerShares(directory: directory, common: common))
        .load(into: optimizer)
      return optimizer
    }
  }

  private func with(_ body: (inout Checkpoint) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      var checkpoint = Checkpoint(directory)
      try body(&checkpoint)
    }
  }

  /// Changes the shares, writes them and expects that they are refused.
  private func refuse(
    _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
    change: (inout Checkpoint) -> Void = { _ in },
    after: (Checkpoint) throws -> Void = { _ in }
  ) throws {
    try with { checkpoint in
      change(&checkpoint)
      try checkpoint.write()
      try after(checkpoint)
      expectRefusal(parts: parts, sourceLocation: sourceLocation) { try checkpoint.load() }
    }
  }

  @Test func whole() throws {
    try with { checkpoint in
      try checkpoint.write()
      let state = try checkpoint.load().state
      #expect(state.map(\.name) == ["w.exp_avg", "w.exp_avg_sq", "step"])
      #expect(state[0].tensor.shape == Checkpoint.shape)
      #expect(state[0].tensor.array(of: Float.self) == (0..<900).map { Float($0) })
      #expect(state[1].tensor.array(of: Float.self) == (0..<900).map { Float(-$0) })
      #expect(state[2].tensor.item() == 7)
    }
  }

  /// A state whose memory is in another order than its elements.
  @Test func transposed() throws {
    try with { checkpoint in
      try checkpoint.write()
      let parameter = Parameter(Tensor.zeros([300, 3]).transposed())
      let optimizer = AdamW([("w", parameter)], AdamWConfiguration())
      #expect(!optimizer.state[0].tensor.isContiguous)
      let common = try SafetensorsFile(path: checkpoint.path(OptimizerFiles.common))
      try #require(try OptimizerShares(directory: checkpoint.directory, common: common))
        .load(into: optimizer)
      let found = optimizer.state[0].tensor.contiguous().array(of: Float.self)
      #expect(found == (0..<900).map { Float($0) })
    }
  }

  /// Without shares there are none to read.
  @Test func none() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/" + OptimizerFiles.common
      try SafetensorsWriter.save(path, tensors: [("step", Tensor([Int64(7)]))])
      let common = try SafetensorsFile(path: path)
      #expect(try OptimizerShares(directory: directory, common: common) == nil)
    }
  }

  @Test func files() throws {
    let second = "optimizer-00002-of-00003.safetensors"
    try refuse("lacks \(second)", "3 shares", after: { try remove($0, second) })
    try refuse(
      "optimizer-00001-of-00002.safetensors", "one of 3",
      after: {
        try FileManager.default.copyItem(
          atPath: $0.path(second), toPath: $0.path("optimizer-00001-of-00002.safetensors"))
      })
    try refuse("lacks optimizer-00001-of-00004.safetensors", change: { $0.count = "4" })
    try refuse("metadata shares", "many", change: { $0.count = "many" })
    // Another's share under this name.
    try refuse(second, "metadata share", "expected 2", change: { $0.numbers[1] = 1 })
    try refuse(
      second, "not a valid safetensors file",
      after: { try Data("short".utf8).write(to: URL(fileURLWithPath: $0.path(second))) })
    // The whole state, and shares of another checkpoint beside it.
    try with { checkpoint in
      try checkpoint.write()
      try SafetensorsWriter.save(
        checkpoint.path(OptimizerFiles.common), tensors: [("step", Tensor([Int64(7)]))])
      expectRefusal("optimizer-00001-of-00003.safetensors", "has the whole state") {
        try checkpoint.load()
      }
    }
  }

  private func remove(_ checkpoint: Checkpoint, _ name: String) throws {
    try FileManager.default.removeItem(atPath: checkpoint.path(name))
  }

  @Test func slices() throws {
    let files = (1...3).map { "optimizer-0000\($0)-of-00003.safetensors" }
    func rename(_ share: Int, _ name: String) -> (inout Checkpoint) -> Void {
      { $0.shares[share][0].name = name }
    }
    try refuse(
      "elements 256 to 511 of w.exp_avg", files[0], files[1],
      change: rename(1, "w@512.exp_avg"))
    try refuse(
      files[1], "w@0.exp_avg", "elements from 256 on", files[0], change: rename(1, "w@0.exp_avg"))
    try refuse("elements 0 to 255 of w.exp_avg", change: { $0.shares[0].removeFirst() })
    try refuse("elements 768 to 899 of w.exp_avg", change: { $0.shares[2].removeFirst() })
    try refuse(
      files[2], "up to 899", "up to 999",
      change: { $0.shares[2][0].tensor = Tensor((0..<232).map { Float($0) }) })
    try refuse(
      files[1], "type and rows",
      change: { $0.shares[1][0].tensor = Tensor.zeros([512], dtype: .uint8) })
    try refuse(files[0], "named by its first element", change: rename(0, "w.exp_avg"))
    // Steps of another checkpoint.
    try refuse(
      files[2], "step", "the same as in \(files[1])",
      change: { $0.shares[2][2].tensor = Tensor([Int64(8)]) })
    try refuse(files[2], "the shape of \"w\"", change: { $0.shapes = #"{"w":[900]}"# })
    try refuse(files[2], "lacks the shapes", change: { $0.shapes = "[]" })
  }

  @Test func otherOptimisers() throws {
    try with { checkpoint in
      try checkpoint.write()
      expectRefusal("w.exp_avg", "[3, 300]", "[300, 3]") { try checkpoint.load(shape: [300, 3]) }
      expectRefusal("v.exp_avg", "is missing") { try checkpoint.load(name: "v") }
    }
  }
}
