import Collectives
import Testing

/// A ring's cost and its fit.
@Suite struct AllReduceCostTests {
  static let known = AllReduceCost(latency: 40e-6, secondsPerByte: 0.5e-9)

  static func samples(noise: [Double] = [0]) -> [AllReduceCost.Sample] {
    var found: [AllReduceCost.Sample] = []
    for processes in [2, 3, 4] {
      for bytes in [4096, 65536, 1 << 20, 1 << 24] {
        let exact = known.seconds(bytes: bytes, processes: processes)
        let factor = 1 + noise[found.count % noise.count]
        found.append(.init(processes: processes, bytes: bytes, seconds: exact * factor))
      }
    }
    return found
  }

  /// 2 (N - 1) messages of 1 / N of the bytes.
  @Test func isThatOfARing() {
    #expect(Self.known.seconds(bytes: 1_000_000, processes: 1) == 0)
    let four = Self.known.seconds(bytes: 1_000_000, processes: 4)
    #expect(abs(four - (6 * 40e-6 + 1.5 * 1e6 * 0.5e-9)) < 1e-12)
  }

  @Test func isFoundAgain() throws {
    let found = try #require(AllReduceCost(fitting: Self.samples()))
    #expect(abs(found.latency / Self.known.latency - 1) < 1e-9)
    #expect(abs(found.secondsPerByte / Self.known.secondsPerByte - 1) < 1e-9)
    #expect(found.worstError(of: Self.samples()) < 1e-9)
  }

  @Test func staysNearWithNoise() throws {
    let samples = Self.samples(noise: [0.1, -0.1, 0.05, -0.05, 0])
    let found = try #require(AllReduceCost(fitting: samples))
    #expect(abs(found.latency / Self.known.latency - 1) < 0.15)
    #expect(abs(found.secondsPerByte / Self.known.secondsPerByte - 1) < 0.15)
    #expect(found.worstError(of: samples) < 0.25)
  }

  /// Neither number is below 0, and what does not tell them apart is no fit.
  @Test func hasLimits() throws {
    let falling = [(4096, 1e-3), (1 << 20, 0.9e-3)].map {
      AllReduceCost.Sample(processes: 2, bytes: $0.0, seconds: $0.1)
    }
    let flat = try #require(AllReduceCost(fitting: falling))
    #expect(flat.secondsPerByte == 0 && flat.latency > 0)
    let alike = (0..<3).map { _ in AllReduceCost.Sample(processes: 2, bytes: 64, seconds: 1e-3) }
    #expect(AllReduceCost(fitting: alike) == nil)
    #expect(AllReduceCost(fitting: []) == nil)
  }
}
