// Times single functions of quantisation and prints medians in seconds as one JSON object, under the
// names that Benchmarks/peers/quantization.py prints for the peer.
//
//   QuantizationBenchmark [REPEATS]      a weight of 2048 x 2048 and 512 tokens, float32
import Foundation
import Layers
import Quantization
import Tensors

/// Medians of times by name.
final class Stopwatch {
  private let repeats: Int
  private(set) var medians: [(name: String, seconds: Double)] = []

  init(repeats: Int) { self.repeats = repeats }

  /// Adds the median time of a function; two runs before it do not count.
  func time<Result>(_ name: String, _ body: () -> Result) {
    var seconds: [Double] = []
    for round in -2..<repeats {
      let start = DispatchTime.now().uptimeNanoseconds
      let result = body()
      let end = DispatchTime.now().uptimeNanoseconds
      withExtendedLifetime(result) {}
      if round >= 0 { seconds.append(Double(end - start) * 1e-9) }
    }
    medians.append((name, seconds.sorted()[seconds.count / 2]))
  }
}

let stopwatch = Stopwatch(
  repeats: CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 15)
func run(_ stopwatch: Stopwatch) {
  let weight = Tensor.randomNormal([2048, 2048], generator: Generator(seed: 0)) * 0.02
  let x = Tensor.randomNormal([512, 2048], generator: Generator(seed: 1))
  let row = x.narrowed(0, 0..<1)

  stopwatch.time("quantize_8bit") { BlockwiseCodes(quantizing: weight, blockSize: 256) }
  let codes8 = BlockwiseCodes(quantizing: weight, blockSize: 256)
  stopwatch.time("dequantize_8bit") { codes8.dequantized() }
  stopwatch.time("quantize_nf4") { FourBitCodes(quantizing: weight) }
  let codes4 = FourBitCodes(quantizing: weight)
  stopwatch.time("dequantize_nf4") { codes4.dequantized() }
  stopwatch.time("quantize_rows") { RowCodes(quantizing: x, threshold: 6) }

  Runtime.usesFastProducts = true
  stopwatch.time("linear_float32") { x.linear(weight) }
  let int8 = Linear8bit(quantizing: weight, threshold: 6)
  stopwatch.time("int8_forward_threshold_6") { int8(x) }
  stopwatch.time("int8_forward_1_token") { int8(row) }
  let plain = Linear8bit(quantizing: weight, threshold: 0)
  stopwatch.time("int8_forward_threshold_0") { plain(x) }
  let nf4 = Linear4bit(quantizing: weight, doubleQuantization: true)
  stopwatch.time("nf4_forward") { nf4(x) }
  stopwatch.time("nf4_forward_1_token") { nf4(row) }
  for rows in [4, 8, 16, 32] {
    let some = x.narrowed(0, 0..<rows)
    stopwatch.time("nf4_forward_\(rows)_tokens") { nf4(some) }
  }

  let source = Tensor.zeros([1 << 24], dtype: .float32)
  let target = Tensor.zeros([1 << 24], dtype: .float32)
  stopwatch.time("copy_64_megabytes") { target.copyInPlace(from: source) }
}

withoutGradients { run(stopwatch) }
print(
  "{" + stopwatch.medians.map { "\"\($0.name)\": \($0.seconds)" }.joined(separator: ", ")
    + ", \"threads\": \(Runtime.threadCount)}")
