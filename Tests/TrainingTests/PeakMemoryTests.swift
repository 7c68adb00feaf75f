import Testing
import Training

@Suite struct PeakMemoryTests {
  @Test func `the peak is plausible and never falls`() {
    let before = PeakMemory.bytes
    #expect(before > 1 << 20 && before < 1 << 44)
    let block = [UInt8](repeating: 1, count: before + 64 << 20)
    #expect(block.last == 1)
    #expect(PeakMemory.bytes >= block.count)
  }
}
