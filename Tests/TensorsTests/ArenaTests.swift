import Synchronization
import Tensors
import Testing

/// The memory of large tensors is theirs alone while they live, and used again afterwards.
@Suite struct ArenaTests {
  /// Tensors of many sizes that come and go on several threads hold what was written to them.
  @Test func tensorsDoNotOverlap() {
    let wrong = Mutex(0)
    Runtime.parallelFor(0..<4, grain: 1) { range in
      var random = SystemRandomNumberGenerator()
      for worker in range {
        var kept: [(tensor: Tensor, value: Float)] = []
        for round in 0..<300 {
          let value = Float(worker * 1000 + round)
          let count = Int.random(in: 1...600_000, using: &random)
          kept.append((.full([count], Double(value), dtype: .float32), value))
          guard kept.count > 12 || round == 299 else { continue }
          for _ in 0..<(round == 299 ? kept.count : 6) {
            let (tensor, value) = kept.remove(at: Int.random(in: 0..<kept.count, using: &random))
            let numbers = tensor.array(of: Float.self)
            let isIntact = numbers.first == value && numbers.allSatisfy { $0 == value }
            if !isIntact { wrong.withLock { $0 += 1 } }
          }
        }
      }
    }
    #expect(wrong.withLock { $0 } == 0)
  }

  @Test(arguments: [1, 65_535, 65_536, 65_537, 1_000_003, 8_388_608])
  func memoryBeginsAtAMultipleOf64(count: Int) {
    for _ in 0..<3 {
      let tensor = Tensor.zeros([count], dtype: .float32)
      let address = tensor.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
      #expect(address % 64 == 0)
    }
  }

  /// What was handed to the system comes back as memory like any other.
  @Test func releasedMemoryCanBeUsed() {
    let count = 16 << 20
    var first: Tensor? = .full([count], 3, dtype: .float32)
    #expect(first?.sum().item() == Double(3 * count))
    first = nil
    // Other tests may take it at the same time; a whole 64 MB they do not.
    #expect(Runtime.releaseFreeMemory() > 0)
    let second = Tensor.full([count], 2, dtype: .float32)
    #expect(second.sum().item() == Double(2 * count))
  }
}
