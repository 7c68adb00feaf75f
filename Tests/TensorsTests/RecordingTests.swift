import Foundation
import Synchronization
import Tensors
import Testing

@Suite struct RecordingTests {
  private struct Failure: Error {}

  @Test func operatorsInTheirScopes() throws {
    let x = Tensor((0..<6).map(Float.init), shape: [2, 3])
    let (result, recording) = recorded {
      withScope(.phase, "all") {
        withScope(.layer, "first") { x.matrixProduct(x.transposed()) }
      }
    }
    #expect(result.array(of: Float.self) == [5, 14, 14, 50])
    let events = recording.events
    #expect(events.prefix(2).map(\.name) == ["all", "first"])
    #expect(events.prefix(2).map(\.parent) == [nil, 0])
    let product = try #require(events.first { $0.name == "aten::mm" })
    #expect(product.kind == .operator)
    #expect(product.shapes == [[2, 3], [3, 2]])
    #expect(product.operations == 2 * 2 * 3 * 2)
    // Parts lie in what they are part of, which comes before them.
    for (index, event) in events.enumerated() {
      guard let parent = event.parent else { continue }
      #expect(parent < index)
      #expect(events[parent].time.lowerBound <= event.time.lowerBound)
      #expect(events[parent].time.upperBound >= event.time.upperBound)
    }
  }

  @Test func memoryOfTensors() {
    let size = 1 << 16
    let (kept, recording) = recorded {
      withScope(.phase, "all") {
        let kept = withScope(.phase, "kept") { Tensor.zeros([size], dtype: .float32) }
        withScope(.phase, "passing") { _ = Tensor.zeros([2 * size], dtype: .float32) }
        return kept
      }
    }
    #expect(kept.count == size)
    let all = recording.events[0]
    #expect(all.heldBefore == 0 && all.heldAfter == 4 * size && all.heldMost == 12 * size)
    func held(_ name: String) -> Int {
      recording.events.first { $0.name == name }.map { $0.heldAfter - $0.heldBefore } ?? -1
    }
    #expect(held("kept") == 4 * size && held("passing") == 0)
    #expect(recording.events.reduce(0) { $0 + $1.allocatedBytes } == 12 * size)
    #expect(recording.events.reduce(0) { $0 + $1.freedBytes } == 8 * size)
  }

  /// A node of the backward pass says by its number in which part of the forward pass it was made.
  @Test func nodesOfTheBackwardPass() throws {
    let x = Tensor([Float(1), 2, 3])
    x.requiresGradient = true
    let (_, recording) = recorded {
      let y = withScope(.layer, "square") { (x * x).sum() }
      let z = withScope(.layer, "own") {
        differentiable("Tripled", [y]) { inputs in (inputs[0] * 3, { [$0 * 3] }) }
      }
      withScope(.phase, "back") { z.backward() }
    }
    #expect(x.gradient?.array(of: Float.self) == [6, 12, 18])
    let events = recording.events
    func layer(_ node: RecordedEvent) -> String? {
      events.first { event in
        event.kind == .layer && node.node.map { event.madeNodes.contains($0) } == true
      }?.name
    }
    let nodes = events.filter { $0.kind == .node }
    #expect(Set(nodes.filter { layer($0) == "own" }.map(\.name)) == ["Tripled"])
    #expect(nodes.filter { layer($0) == "square" }.count >= 2)
    // Operators of the pullback are parts of its node.
    let own = try #require(events.firstIndex { $0.kind == .node && $0.name == "Tripled" })
    #expect(events.contains { $0.parent == own && $0.name == "aten::mul" })
    #expect(events.contains { $0.kind == .function && $0.name == "Tripled" })
  }

  @Test func nothingOutsideOfARecording() {
    var isNamed = false
    func name() -> String {
      isNamed = true
      return "part"
    }
    #expect(withScope(.layer, name()) { 3 } == 3)
    #expect(!isNamed)
    let (result, recording) = recorded { withScope(.layer, name()) { 4 } }
    #expect(result == 4 && isNamed && recording.events.map(\.name) == ["part"])
  }

  @Test func errorsEndItToo() {
    do {
      _ = try recorded { try withScope(.phase, "broken") { throw Failure() } }
      Issue.record("the error got lost")
    } catch { #expect(error is Failure) }
    let (_, recording) = recorded { withScope(.phase, "whole") {} }
    #expect(recording.events.map(\.name) == ["whole"])
  }

  @Test func threadsOnTheirOwn() {
    let found = Mutex<[Int: [String]]>([:])
    DispatchQueue.concurrentPerform(iterations: 4) { number in
      let (_, recording) = recorded {
        for step in 0..<20 {
          withScope(.phase, "\(number).\(step)") { _ = Tensor.zeros([64], dtype: .float32) }
        }
      }
      let names = recording.events.filter { $0.kind == .phase }.map(\.name)
      found.withLock { $0[number] = names }
    }
    for number in 0..<4 {
      #expect(found.withLock { $0[number] } == (0..<20).map { "\(number).\($0)" })
    }
  }
}
