import Foundation
import Layers
import Optimizers
import Tensors
import Testing

#if os(Linux)
  /// What a step needs besides parameter, gradient and state, in a process of its own.
  @Suite struct StepMemoryTests {
    /// A line of /proc/self/status in bytes.
    private static func status(_ key: String) -> Int {
      let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
      let line = text.split(separator: "\n").first { $0.hasPrefix(key) }
      return (line?.split(separator: " ").compactMap { Int($0) }.first ?? 0) * 1024
    }

    @Test func `a step makes no tensors`() async {
      await #expect(processExitsWith: .success) {
        for (rule, bits) in [(UpdateRule.lamb, 8), (.adEMAMix, 8), (.adamW, 32)] {
          let parameter = Parameter(Tensor.zeros([4096, 4096]).fillNormalInPlace())
          parameter.value.gradient = Tensor.zeros([4096, 4096]).fillNormalInPlace()
          let optimizer = try FusedOptimizer(
            [("w", parameter)], FusedOptimizerConfiguration(rule, stateBits: bits))
          for _ in 0..<2 {
            // Makes what is resident now the peak.
            guard let file = fopen("/proc/self/clear_refs", "w") else {
              preconditionFailure("/proc/self/clear_refs cannot be written: nothing was measured")
            }
            fputs("5", file)
            fclose(file)
            let before = Self.status("VmRSS")
            precondition(before > 128 << 20)
            optimizer.step(learningRate: 1e-3)
            let more = Self.status("VmHWM") - before
            precondition(more < 4 << 20, "\(rule): \(more) bytes more than the 67 MB of a tensor")
          }
        }
      }
    }
  }
#endif
