import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct DifferentiableFunctionTests {
  /// x * y with a derivative written by hand.
  static func product(_ x: Tensor, _ y: Tensor) -> Tensor {
    differentiable("product", [x, y]) { inputs in
      let (x, y) = (inputs[0], inputs[1])
      return (x * y, { gradient in [gradient * y, gradient * x] })
    }
  }

  static func input(_ shape: [Int], seed: UInt64) -> Tensor {
    Tensor.randomNormal(shape, dtype: .float64, generator: Generator(seed: seed))
  }

  @Test func `a hand-written derivative agrees with finite differences`() {
    expectGradientsMatchFiniteDifferences(of: [
      Self.input([3, 4], seed: 1), Self.input([3, 4], seed: 2),
    ]) { Self.product($0[0], $0[1]).tanh() }
  }

  @Test func `it composes with recorded operators on both sides`() {
    let x = Self.input([2, 2], seed: 3)
    x.requiresGradient = true
    let y = Self.product(x.exponential(), x.sine()).sum()
    y.backward()
    let expected = withoutGradients {
      x.exponential() * x.sine() + x.exponential() * x.cosine()
    }
    expectClose(x.gradient ?? x, expected)
  }

  @Test func `several outputs get their own gradients and nil where unused`() {
    let x = Self.input([3], seed: 4)
    x.requiresGradient = true
    var seen: [Bool] = []
    let outputs = differentiable("pair", [x]) { inputs in
      (
        [inputs[0] * 2, inputs[0] * 3],
        { gradients in
          seen = gradients.map { $0 != nil }
          return [gradients[1].map { $0 * 3 }]
        }
      )
    }
    outputs[1].sum().backward()
    #expect(seen == [false, true])
    expectClose(x.gradient ?? x, Tensor([3, 3, 3] as [Double]))
  }

  @Test func `nothing is recorded without gradients`() {
    let x = Self.input([3], seed: 5)
    #expect(!Self.product(x, x).requiresGradient)
    x.requiresGradient = true
    #expect(!withoutGradients { Self.product(x, x) }.requiresGradient)
    #expect(Self.product(x, x).requiresGradient)
  }

  @Test func `the pullback is freed after backward and with a graph that nobody walked`() {
    final class Token {}
    func run(backward: Bool) -> Bool {
      weak var watched: Token?
      let x = Self.input([3], seed: 6)
      x.requiresGradient = true
      do {
        let token = Token()
        watched = token
        let y: Tensor = differentiable("token", [x]) { inputs in
          let output = inputs[0] * 2
          // Captures its own output: a cycle unless outputs are new handles.
          return (
            output,
            { gradient in
              _ = (token, output); return [gradient * 2]
            }
          )
        }
        if backward { y.sum().backward() }
      }
      return watched == nil
    }
    #expect(run(backward: true))
    #expect(run(backward: false))
  }

  /// In a process of its own: other tests take and give memory too.
  @Test func `memory does not grow over a thousand training steps`() async {
    await #expect(processExitsWith: .success) {
      for fast in [false, true] {
        let weight = Tensor.randomNormal([256, 256], generator: Generator(seed: 8))
        weight.requiresGradient = true
        let x = Tensor.randomNormal([128, 256], generator: Generator(seed: 9))
        func step() {
          let loss = DifferentiableFunctionTests.product(x.linear(weight).silu(), x).sum() * 1e-4
          loss.backward()
          withoutGradients {
            if let gradient = weight.gradient { _ = weight.addInPlace(gradient, scale: -1e-3) }
          }
          weight.gradient = nil
        }
        func steps(_ count: Int) { for _ in 0..<count { step() } }
        func run(_ count: Int) {
          if fast { Runtime.withFastProducts { steps(count) } } else { steps(count) }
        }
        run(50)
        let before = try DifferentiableFunctionTests.residentBytes()
        run(1000)
        let growth = try DifferentiableFunctionTests.residentBytes() - before
        // One leaked activation a step would be 128 kB x 1000 = 131 MB.
        precondition(growth < 16 << 20, "fast products \(fast): grew by \(growth) bytes")
      }
    }
  }

  /// Resident set size of this process in bytes, from /proc.
  fileprivate static func residentBytes() throws -> Int {
    let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(
      separator: " ")
    return (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
}
